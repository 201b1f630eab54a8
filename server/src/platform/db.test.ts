import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { DataDirFixture, query } from '../../test/data-dir-fixture.ts';
import { createTestDatabase, type TestDatabase } from '../../test/database.ts';
import { standInForCitus } from '../../test/fakes/citus-stand-in.ts';
import type { OrganizationId } from '../ids.ts';
import { type Clock, systemClock } from './clock.ts';
import { isFaultOfValues } from './database-failure.ts';
import { type Database, openDatabase, sql } from './db.ts';
import { AppError } from './errors.ts';
import { createLog } from './log.ts';
import { superuser } from './postgres/cluster.ts';

let test: TestDatabase;
let db: Database;
const organizations = Array.from({ length: 5 }, () => randomUUID() as string as OrganizationId);
const log = createLog({ level: 'silent' });

beforeAll(async () => {
  test = await createTestDatabase();
  // Few connections, so that they change hands all the time.
  db = openDatabase({ connection: test.connection, poolSize: 3, statementTimeoutMs: 5_000, log });
  for (const [index, id] of organizations.entries()) {
    await db.system.execute(
      sql`insert into organizations (id, name, created_at, updated_at) values (${id}, ${`o${index}`}, now(), now())`,
    );
  }
});
afterAll(async () => {
  await db.close();
  await test.close();
});

/** What a statement without any predicate sees: exactly one organization, if row security holds. */
const seen = (id: OrganizationId) => db.tenant(id).many<{ id: string }>(sql`select id from organizations`);

describe('a tenant', () => {
  it('is nobody else, however connections change hands', async () => {
    const asked = Array.from({ length: 1_000 }, (_value, index) => organizations[index % 5]!);
    const answers = await Promise.all(asked.map(id => seen(id)));
    for (const [index, rows] of answers.entries()) expect(rows).toEqual([{ id: asked[index] }]);
  });

  it('is nobody else after a transaction of another was rolled back, or a statement failed', async () => {
    for (const id of [...organizations, ...organizations]) {
      const other = organizations.find(each => each !== id)!;
      const rolledBack = db.tenant(other).transaction(async tx => {
        await tx.execute(sql`select 1`);
        throw new Error('changed my mind');
      });
      await expect(rolledBack).rejects.toThrow('changed my mind');
      await expect(db.tenant(other).many(sql`select 1 / 0`)).rejects.toThrow('division by zero');
      expect(await seen(id)).toEqual([{ id }]);
    }
  });

  it('may not write for another', async () => {
    const [one, two] = organizations as [OrganizationId, OrganizationId];
    const forged = db.tenant(one).execute(sql`
      insert into server_groups (organization_id, id, name, created_at, updated_at)
      values (${two}, ${randomUUID()}, 'forged', now(), now())`);
    await expect(forged).rejects.toThrow('row-level security');
  });
});

describe('where the database has Citus', () => {
  let distributed: TestDatabase;
  beforeAll(async () => {
    distributed = await createTestDatabase();
    await standInForCitus(distributed);
  });
  afterAll(() => distributed.close());

  const whom = sql<{ who: string; isWithin: boolean }>`
    select current_setting('opsfleet.organization') as who, now() < statement_timestamp() as "isWithin"`;

  it('each statement is in a transaction that says for whom', async () => {
    const asked = Array.from({ length: 300 }, (_value, index) => organizations[index % 5]!);
    const answers = await Promise.all(asked.map(id => distributed.db.tenant(id).one(whom)));
    for (const [index, answer] of answers.entries())
      expect(answer).toEqual({ who: asked[index], isWithin: true });
    expect(await distributed.db.system.one(whom)).toEqual({ who: '*', isWithin: true });
    expect(await distributed.db.system.transaction(tx => tx.one(whom))).toEqual({ who: '*', isWithin: true });
  });

  it('a statement that fails changes nothing, and the next one is not of its transaction', async () => {
    const { system } = distributed.db;
    const twice = sql`insert into organizations (id, name, created_at, updated_at)
      select ${organizations[0]}, 'twice', now(), now() from generate_series(1, 2)`;
    await expect(system.execute(twice)).rejects.toThrow('duplicate key');
    expect(await system.many(sql`select id from organizations`)).toEqual([]);
  });
});

describe('a transaction', () => {
  it('is all or nothing', async () => {
    const work = db.system.transaction(async tx => {
      await tx.execute(sql`update organizations set name = name || '!'`);
      await tx.execute(sql`select 1 / 0`);
    });
    await expect(work).rejects.toThrow('division by zero');
    const names = await db.system.many<{ name: string }>(sql`select name from organizations order by name`);
    expect(names.map(({ name }) => name)).toEqual(['o0', 'o1', 'o2', 'o3', 'o4']);
  });
});

describe('values', () => {
  it('come back as they are: a bigint that fits, money as text, null as null', async () => {
    const row = await db.system.one(sql`
      select 9007199254740991::bigint as big, 0.004::numeric(18, 6) as money, null::text as nothing,
             '{"a": [1]}'::jsonb as json`);
    expect(row).toEqual({ big: 9007199254740991, money: '0.004000', nothing: null, json: { a: [1] } });
  });

  it('refuse a bigint that would lose its last digits', async () => {
    await expect(db.system.one(sql`select 9007199254740993::bigint as big`)).rejects.toThrow(RangeError);
  });

  it('never become part of the statement', async () => {
    const hostile = `'; drop table organizations; --`;
    expect(await db.system.one(sql`select ${hostile}::text as text`)).toEqual({ text: hostile });
  });

  it('are counted: one row is not two and not none', async () => {
    await expect(db.system.one(sql`select 1 where false`)).rejects.toThrow('got none');
    await expect(db.system.maybeOne(sql`select generate_series(1, 2)`)).rejects.toThrow('got 2');
  });
});

describe('a database that is away', () => {
  it('is said to be, with when to try again, and is used again when it is back', async () => {
    const victim = db.system.one<{ pid: number }>(sql`select pg_backend_pid() as pid, pg_sleep(30)`);
    const ended = expect(victim).rejects.toMatchObject({ code: 'unavailable', retryAfterSeconds: 5 });
    const find = sql<{ ended: boolean }>`
      select pg_terminate_backend(pid) as ended from pg_stat_activity
      where query like '%pg_sleep(30)%' and pid <> pg_backend_pid() and datname = current_database()`;
    await expect.poll(async () => (await db.system.many(find)).length).toBeGreaterThan(0);
    await ended;
    expect(await db.system.one(sql`select 1 as one`)).toEqual({ one: 1 });
  });

  it('is an AppError also where nobody listens', async () => {
    const nowhere = openDatabase({
      connection: { host: '/nonexistent', port: 1 },
      poolSize: 1,
      statementTimeoutMs: 1_000,
      log,
    });
    await expect(nowhere.system.one(sql`select 1`)).rejects.toBeInstanceOf(AppError);
    await nowhere.close();
  });

  it('is one that is a standby, until it is promoted', async () => {
    const fixture = await DataDirFixture.create();
    const clusterOf = join(fixture.dataDir, 'pgdata');
    try {
      await (await fixture.start()).stop();
      await writeFile(join(clusterOf, 'standby.signal'), '');
      const postgres = await fixture.start();
      const { connection } = postgres;
      const standby = openDatabase({ connection, poolSize: 1, statementTimeoutMs: 5_000, log });
      await expect(standby.system.one(sql`select 1`)).rejects.toMatchObject({
        code: 'unavailable',
        message: 'The database takes no writes: it is a standby.',
      });
      await query(postgres, 'select pg_promote()', superuser);
      expect(await standby.system.one(sql`select 1 as one`)).toEqual({ one: 1 });
      await standby.close();
    } finally {
      await fixture.remove();
    }
  });

  it('is asked again for a connection where it has none left, after a pause that chance makes', async () => {
    const { superuser: user, database: elsewhere } = inject('postgres');
    const limit = async (connections: number): Promise<void> => {
      const client = new pg.Client({ ...test.connection, user, database: elsewhere });
      await client.connect();
      await client.query(`alter database ${test.connection.database} connection limit ${connections}`);
      await client.end();
    };
    const pausesMs: number[] = [];
    const clock: Clock = {
      now: () => new Date(0),
      // Time stands still until there is room, after the third pause.
      monotonicMs: () => (pausesMs.length < 3 ? 0 : systemClock.monotonicMs()),
      async sleep(ms, signal) {
        if (pausesMs.length === 3) return systemClock.sleep(ms, signal);
        if (pausesMs.push(ms) === 3) await limit(-1);
      },
    };
    const late = openDatabase({
      connection: test.connection,
      poolSize: 1,
      statementTimeoutMs: 1_000,
      log,
      clock,
    });
    await limit(0);
    expect(await late.system.one(sql`select 1 as one`)).toEqual({ one: 1 });
    for (const [index, pauseMs] of pausesMs.entries()) expect(pauseMs).toBeLessThan(100 * 2 ** index);
    await late.close();
  });

  it('is no fault of the values: a refused password makes what is to be stored wait', async () => {
    const refused = openDatabase({
      connection: { ...test.connection, database: 'no_such_database' },
      poolSize: 1,
      statementTimeoutMs: 1_000,
      log,
    });
    const error = await refused.system.one(sql`select 1`).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: 'unavailable', message: 'The database refuses us.' });
    expect(isFaultOfValues(error)).toBe(false);
    const noTable = await db.system.many(sql`select from nowhere`).catch((caught: unknown) => caught);
    expect(isFaultOfValues(noTable)).toBe(false);
    const wrongValue = await db.system.many(sql`select ${'x'}::uuid`).catch((caught: unknown) => caught);
    expect(isFaultOfValues(wrongValue)).toBe(true);
    await refused.close();
  });
});
