import { describe, expect, inject, it } from 'vitest';
import { createTestDatabase } from '../../test/database.ts';
import { createFakeClock } from '../../test/fakes/clock.ts';
import { systemClock } from './clock.ts';
import { sql } from './db.ts';
import { createLog } from './log.ts';
import { createWatch, type Look, lookAt } from './silence.ts';

/** A watch over one connection, a statement on it, and what the database says when it is asked. */
function begin() {
  const clock = createFakeClock();
  const known = { found: { working: new Set<number>() } as Look, looks: 0, severed: 0, away: 0, bytes: 0 };
  const watch = createWatch({
    clock,
    log: createLog({ level: 'silent' }),
    async look() {
      known.looks += 1;
      return known.found;
    },
    onAway: () => void (known.away += 1),
  });
  const watched = { pid: 7, bytesRead: () => known.bytes, sever: () => void (known.severed += 1) };
  const answer = Promise.withResolvers<string>();
  const statement = watch.over(watched, answer.promise);
  return { clock, known, watch, watched, answer, statement };
}

describe('a connection that is silent', () => {
  it('is given up within two seconds where the database does not answer either', async () => {
    const { clock, known } = begin();
    known.found = 'away';
    await clock.advance(1_000);
    expect(known).toMatchObject({ looks: 1, severed: 1, away: 1 });
  });

  it('is waited for as long as its backend works', async () => {
    const { clock, known, answer, statement } = begin();
    known.found = { working: new Set([7]) };
    await clock.advance(60_000);
    expect(known.severed).toBe(0);
    answer.resolve('here');
    expect(await statement).toBe('here');
  });

  it('is given up where its backend does nothing and the answer is not here a moment later', async () => {
    const { clock, known } = begin();
    await clock.advance(600);
    expect(known).toMatchObject({ looks: 1, severed: 0 });
    await clock.advance(200);
    expect(known).toMatchObject({ looks: 2, severed: 1 });
  });

  it('is kept where the answer came in that moment', async () => {
    const { clock, known, answer, statement } = begin();
    await clock.advance(600);
    answer.resolve('here');
    await statement;
    await clock.advance(10_000);
    expect(known).toMatchObject({ looks: 1, severed: 0 });
  });

  it('is kept where the database only says that it cannot take another connection', async () => {
    const { clock, known } = begin();
    known.found = 'there';
    await clock.advance(10_000);
    expect(known.severed).toBe(0);
  });

  it('is none as long as anything comes, however long the answer is', async () => {
    const { clock, known } = begin();
    for (let count = 0; count < 100; count += 1) {
      known.bytes += 1_000;
      await clock.advance(400);
    }
    expect(known).toMatchObject({ looks: 0, severed: 0 });
    await clock.advance(400);
    expect(known.looks).toBe(1);
  });

  it('is kept where its answer begins while the database is asked', async () => {
    const { clock, known } = begin();
    await clock.advance(600);
    expect(known.looks).toBe(1);
    known.bytes += 1;
    await clock.advance(400);
    expect(known).toMatchObject({ looks: 1, severed: 0 });
  });

  it('is not blamed for the time in which we were held up ourselves', async () => {
    const { clock, known, answer, statement } = begin();
    clock.stall(60_000);
    await clock.advance(100);
    expect(known.looks).toBe(0);
    answer.resolve('here');
    expect(await statement).toBe('here');
  });

  it('is not the one that answers all the time', async () => {
    const { clock, known, watch, watched, answer, statement } = begin();
    answer.resolve('here');
    await statement;
    for (let count = 0; count < 20; count += 1) {
      const next = Promise.withResolvers<void>();
      const running = watch.over(watched, next.promise);
      await clock.advance(400);
      next.resolve();
      await running;
    }
    expect(known.looks).toBe(0);
  });
});

/** The transaction has been cancelled, so its commit is a rollback. */
const expectRolledBack = async (work: Promise<unknown>): Promise<void> => void (await work);

it('looks at what the database is doing: backends that work, and not those that wait for us', async () => {
  const database = await createTestDatabase();
  try {
    await expectRolledBack(
      database.db.system.transaction(async tx => {
        const { pid } = await tx.one<{ pid: number }>(sql`select pg_backend_pid() as pid`);
        const idle = await lookAt(database.connection, systemClock);
        expect(idle).not.toBe('away');
        expect((idle as { working: Set<number> }).working).not.toContain(pid);
        const sleeping = tx.execute(sql`select pg_sleep(60)`).catch((error: Error) => error.message);
        await expect
          .poll(async () => [
            ...((await lookAt(database.connection, systemClock)) as { working: Set<number> }).working,
          ])
          .toContain(pid);
        await database.db.system.execute(sql`select pg_cancel_backend(${pid})`);
        expect(await sleeping).toMatch(/canceling/);
      }),
    );
  } finally {
    await database.close();
  }
});

it('finds a database that is not there away, and one that refuses us there', async () => {
  const { host, port, user } = inject('postgres');
  expect(await lookAt({ host: '/nonexistent', port: 1, user, database: 'x' }, systemClock)).toBe('away');
  expect(await lookAt({ host, port, user, database: 'no_such_database' }, systemClock)).toBe('there');
});
