import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { Client } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/database.ts';
import { addOrganization } from '../../test/fleet.ts';
import type { OrganizationId, ServerId } from '../ids.ts';
import { systemClock } from '../platform/clock.ts';
import { sql } from '../platform/db.ts';
import { createLog } from '../platform/log.ts';
import { type EventFacts, type Position, parsePosition, type StoredEvent } from './event.ts';
import { createEventFeed, type EventFeed } from './feed.ts';
import { append } from './outbox.ts';
import { adoptRestoredEvents, endOfFeed, readFeed, readFeedOf, startOfFeed } from './store.ts';

let database: TestDatabase;
let organizationId: OrganizationId;
let other: OrganizationId;

beforeAll(async () => {
  database = await createTestDatabase();
  organizationId = await addOrganization(database.db);
  other = await addOrganization(database.db);
});
afterAll(() => database.close());
beforeEach(() => database.db.system.execute(sql`delete from events`));

const event = (name: string): EventFacts => ({
  type: 'server.deleted',
  subject: randomUUID() as ServerId,
  data: { name },
});
const nameOf = (stored: StoredEvent): string => (stored.data as { name: string }).name;
const start: Position = { xid: 0n, id: 0 };
const add = (name: string, who = organizationId): Promise<void> =>
  database.db.tenant(who).transaction(tx => append(tx, new Date(), [event(name)]));

/** So many events after a position. Upkeep of the database itself may hold them back for a moment. */
async function read(after: Position, count: number): Promise<StoredEvent[]> {
  for (;;) {
    const events = await readFeed(database.db.system, after, 10);
    if (events.length >= count) return events;
  }
}

/** A transaction that has appended an event and is still open. */
async function openTransaction(name: string): Promise<{ commit(): Promise<void> }> {
  const client = new Client(database.connection);
  await client.connect();
  await client.query("select set_config('opsfleet.organization', $1, false)", [organizationId]);
  await client.query('begin');
  await client.query(
    `insert into events (created_at, organization_id, type, subject_id, data)
     values (now(), $1, 'server.deleted', $2, $3)`,
    [organizationId, randomUUID(), { name }],
  );
  return {
    async commit() {
      await client.query('commit');
      await client.end();
    },
  };
}

describe('reading', () => {
  const { superuser, user, database: elsewhere } = inject('postgres');
  /** Somebody's transaction that has a number and goes on. */
  async function runTransaction(connection: { user: string; database: string }): Promise<Client> {
    const client = new Client({ ...database.connection, ...connection });
    await client.connect();
    await client.query('begin');
    await client.query('select pg_current_xact_id()');
    return client;
  }

  it('waits for an older transaction before it shows what a newer one committed first', async () => {
    const slow = await openTransaction('slow');
    await add('quick');
    expect(await readFeed(database.db.system, start, 10)).toEqual([]);
    await slow.commit();
    expect((await read(start, 2)).map(nameOf)).toEqual(['slow', 'quick']);
  });

  it.each([
    ['alone on the server', () => null],
    ['beside one that goes on and on', () => runTransaction({ user, database: elsewhere })],
  ])('tells each event once, in one order, however transactions overlap, %s', async (_where, beside) => {
    const foreign = await beside();
    const order = fc.integer({ min: 2, max: 5 }).chain(count =>
      fc.record({
        commits: fc.shuffledSubarray([...Array(count).keys()], { minLength: count, maxLength: count }),
        batch: fc.integer({ min: 1, max: 3 }),
      }),
    );
    await fc.assert(
      fc.asyncProperty(order, async ({ commits, batch }) => {
        await database.db.system.execute(sql`delete from events`);
        const open: Awaited<ReturnType<typeof openTransaction>>[] = [];
        for (const index of commits.keys()) open.push(await openTransaction(String(index)));
        const seen: StoredEvent[] = [];
        const readOn = async (): Promise<void> => {
          seen.push(...(await readFeed(database.db.system, seen.at(-1)?.position ?? start, batch)));
        };
        for (const index of commits) {
          await open[index]!.commit();
          await readOn();
        }
        while (seen.length < commits.length) await readOn();
        expect(seen.map(nameOf)).toEqual([...commits.keys()].map(String));
      }),
      { numRuns: 15 },
    );
    await foreign?.end();
  });

  it.each([user, superuser])('does not wait for a transaction of %s in another database', async role => {
    const foreign = await runTransaction({ user: role, database: elsewhere });
    await add('ours');
    expect((await readFeed(database.db.system, start, 10)).map(nameOf)).toEqual(['ours']);
    const end = await endOfFeed(database.db.system);
    await add('after');
    expect((await readFeed(database.db.system, end, 10)).map(nameOf)).toEqual(['after']);
    await foreign.end();
  });

  it.each([user, superuser])('waits for any transaction of %s in its own database', async role => {
    const { database: own } = database.connection;
    const foreign = await runTransaction({ user, database: elsewhere });
    const slow = await runTransaction({ user: role, database: own });
    await add('quick');
    expect(await readFeed(database.db.system, start, 10)).toEqual([]);
    await slow.query('commit');
    await slow.end();
    expect((await readFeed(database.db.system, start, 10)).map(nameOf)).toEqual(['quick']);
    await foreign.end();
  });

  it('leaves out what was rolled back', async () => {
    const failing = database.db.tenant(organizationId).transaction(async tx => {
      await append(tx, new Date(), [event('undone')]);
      throw new Error('undone');
    });
    await expect(failing).rejects.toThrow('undone');
    await add('kept');
    expect((await read(start, 1)).map(nameOf)).toEqual(['kept']);
  });

  it('shows an organization its own events only', async () => {
    await add('mine');
    await add('theirs', other);
    const [first, second] = await read(start, 2);
    const mine = (until: StoredEvent) =>
      readFeedOf(database.db.tenant(organizationId), { after: start, until: until.position, limit: 10 });
    expect((await mine(second!)).map(nameOf)).toEqual(['mine']);
    expect(await mine({ ...first!, position: { ...first!.position, id: 0 } })).toEqual([]);
  });

  it('knows where the feed starts and ends', async () => {
    expect(await startOfFeed(database.db.system)).toBeNull();
    await add('first');
    const [first] = await read(start, 1);
    const end = await endOfFeed(database.db.system);
    expect(await readFeed(database.db.system, end, 10)).toEqual([]);
    await add('second');
    expect((await read(end, 1)).map(nameOf)).toEqual(['second']);
    expect(await startOfFeed(database.db.system)).toEqual(first!.position);
  });

  it('moves events of a restored database, whose transactions lie in the future, before the new ones', async () => {
    for (const name of ['a', 'b']) await add(name);
    await database.db.system.execute(sql`update events set xid = '9000000000000'`);
    expect(await readFeed(database.db.system, start, 10)).toEqual([]);
    expect(await adoptRestoredEvents(database.db.system)).toBe(2);
    await add('new');
    expect((await read(start, 3)).map(nameOf)).toEqual(['a', 'b', 'new']);
    expect(await adoptRestoredEvents(database.db.system)).toBe(0);
  });
});

describe('a position', () => {
  it.each(['', '1', '1-', '-1', '1-2-3', 'a-1', '1-1e3', '99999999999999999999-1', '1-9999999999999999'])(
    'is not %j',
    text => expect(parsePosition(text)).toBeNull(),
  );

  it('survives being written', () => {
    expect(parsePosition('12-34')).toEqual({ xid: 12n, id: 34 });
  });
});

describe('the feed of a process', () => {
  /** A running feed, and a way to wait for so many events. */
  async function follow(): Promise<{ feed: EventFeed; next(count: number): Promise<string[]> }> {
    const log = createLog({ level: 'silent' });
    const feed = createEventFeed({ db: database.db, clock: systemClock, log });
    await feed.start();
    const names: string[] = [];
    let wake = (): void => undefined;
    feed.subscribe(events => {
      names.push(...events.map(nameOf));
      wake();
    });
    return {
      feed,
      async next(count) {
        while (names.length < count) {
          await new Promise<void>(resolve => {
            wake = resolve;
          });
        }
        return names.splice(0, count);
      },
    };
  }

  it('begins with what is committed after its start', async () => {
    await add('before');
    const { feed, next } = await follow();
    await add('after');
    feed.announce();
    expect(await next(1)).toEqual(['after']);
    await feed.stop();
  });

  it('hears of events that another process announces, and reads them also where nobody announces', async () => {
    const [one, two] = [await follow(), await follow()];
    await add('announced');
    one.feed.announce();
    expect(await two.next(1)).toEqual(['announced']);
    await add('not announced');
    expect(await two.next(1)).toEqual(['not announced']);
    expect(await one.next(2)).toEqual(['announced', 'not announced']);
    await Promise.all([one.feed.stop(), two.feed.stop()]);
  });

  it('goes on with the others when a listener fails', async () => {
    const { feed, next } = await follow();
    feed.subscribe(() => {
      throw new Error('a listener of ours is broken');
    });
    for (const name of ['one', 'two']) {
      await add(name);
      feed.announce();
    }
    expect(await next(2)).toEqual(['one', 'two']);
    await feed.stop();
  });

  it('reads on after its connection was cut', async () => {
    const { feed, next } = await follow();
    await database.db.system
      .execute(sql`
        select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()`)
      .catch(() => 0);
    await add('afterwards');
    expect(await next(1)).toEqual(['afterwards']);
    await feed.stop();
  });
});
