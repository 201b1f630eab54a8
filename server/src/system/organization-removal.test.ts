import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { startTestApp } from '../../test/app.ts';
import { createTestDatabase, type TestDatabase } from '../../test/database.ts';
import { interruptDetach } from '../../test/fakes/interrupted-detach.ts';
import { killed, killedForAllAfter } from '../../test/fakes/killed-database.ts';
import { addServer, healthCheck, sumUpHealth, sumUpMetrics } from '../../test/fleet.ts';
import { fillOrganization, rowsOf, tablesThatMention, tenantTables } from '../../test/tenants.ts';
import { insertHealthChecks } from '../health/history.ts';
import { newId, type OrganizationId, type ServerId } from '../ids.ts';
import { deleteOrganization } from '../organizations/deletion-store.ts';
import { systemClock } from '../platform/clock.ts';
import { type Database, sql } from '../platform/db.ts';
import { ensurePartitionsFor } from '../retention/maintain.ts';
import { defaultRetention } from '../retention/retention.ts';
import { deleteServers } from '../servers/deletion-store.ts';
import { removeOrganizations } from './organization-removal.ts';

let database: TestDatabase;
let db: Database;
let template: OrganizationId;
let id: OrganizationId;
let before: Record<string, string>;

beforeAll(async () => {
  database = await createTestDatabase();
  db = database.db;
  const app = await startTestApp({ database });
  await fillOrganization(app, 'template');
  template = await app.organization('template');
  await app.close();
  before = await rowsOf(db, template);
  await ensureSeptember();
});
afterAll(() => database.close());
beforeEach(async () => {
  id = await copyOfTemplate();
});

/** The place of checks that a test adds. */
const ensureSeptember = (): Promise<unknown> =>
  ensurePartitionsFor(db.system, {
    table: 'server_health_checks',
    instants: [new Date('2031-09-10')],
    now: new Date('2031-09-10'),
    policy: { interval: 'month', retention: defaultRetention },
  });

/** Another organization with the same in every table. */
async function copyOfTemplate(): Promise<OrganizationId> {
  const copy = newId<OrganizationId>(Date.now());
  const first = ['organizations', 'api_tokens', 'data_keys', 'managed_servers', 'server_groups'];
  const tables = (await tenantTables(db)).map(({ table }) => table);
  const inOrder = [...first, ...tables.filter(table => !first.includes(table))];
  await db.system.transaction(async tx => {
    for (const table of inOrder) {
      const own =
        table === 'organizations'
          ? sql`jsonb_build_object('id', ${copy}::uuid, 'name', ${copy}::text)`
          : sql`jsonb_build_object('organization_id', ${copy}::uuid)`;
      const owner = table === 'organizations' ? sql`id` : sql`organization_id`;
      await tx.execute(sql`
        insert into ${sql.id(table)} select r.* from ${sql.id(table)} t
        cross join lateral jsonb_populate_record(t, ${own}) r where t.${owner} = ${template}`);
    }
  });
  return copy;
}

const addChecks = (of: ServerId, count: number): Promise<number> =>
  db.system.execute(sql`
    insert into server_health_checks (organization_id, server_id, timestamp, status, reason)
    select ${id}, ${of}, '2031-09-10'::timestamptz + i * interval '1 second', 'healthy', 'ok'
    from generate_series(1, ${count}::int) i`);

const remove = (on: Database = db, stopping = new AbortController().signal): Promise<number> =>
  removeOrganizations({ db: on, clock: systemClock, feed: { announce: () => undefined }, stopping });

const moveBack = (column: 'deleted_at' | 'cleared_at', minutes: number): Promise<number> =>
  db.system.execute(sql`
    update organizations set ${sql.id(column)} = ${sql.id(column)} - ${minutes}::int * interval '1 minute' where id = ${id}`);

/** Deleted, so long ago that nobody adds anything any more. */
async function markDeleted(): Promise<void> {
  expect(await deleteOrganization(db.system, id, new Date())).not.toBeNull();
  await moveBack('deleted_at', 2);
}

const isCleared = async (): Promise<boolean> =>
  (await db.system.many(sql`select from organizations where id = ${id} and cleared_at is not null`))
    .length === 1;

async function expectNothingLeft(): Promise<void> {
  expect(await tablesThatMention(db.system, id)).toEqual([]);
  expect(await rowsOf(db, template)).toEqual(before);
}

const eventsOf = async (): Promise<string[]> =>
  (
    await db.system.many(sql<{ type: string }>`
      select type from events where organization_id = ${id} order by xid, id`)
  ).map(({ type }) => type);

/** The database, telling how many rows each statement touched that an organization's removal made. */
function counted(): { db: Database; rows: number[] } {
  const rows: number[] = [];
  const tenant: Database['tenant'] = organizationId => {
    const own = db.tenant(organizationId);
    return {
      ...own,
      transaction: work =>
        own.transaction(tx =>
          work({
            ...tx,
            async execute(query) {
              const touched = await tx.execute(query);
              rows.push(touched);
              return touched;
            },
          }),
        ),
    };
  };
  return { db: { ...db, tenant }, rows };
}

test('a history of ten thousand rows goes in parts that are small', async () => {
  await addChecks(await addServer(db, id), 10_000);
  await markDeleted();
  const { db: watched, rows } = counted();
  await remove(watched);
  expect(Math.max(...rows)).toBe(2_000);
  expect(await isCleared()).toBe(true);
});

test('servers go first, some at a time, each with an event, and wait in no queue', async () => {
  const servers: ServerId[] = [];
  for (let count = 0; count < 250; count += 1) servers.push(await addServer(db, id));
  await markDeleted();
  const sizes: number[] = [];
  const watching: Database = {
    ...db,
    tenant: organizationId => {
      const own = db.tenant(organizationId);
      return {
        ...own,
        async transaction(work) {
          const done = await own.transaction(work);
          const [left] = await db.system.many(sql<{ servers: number; queued: number; events: number }>`
            select (select count(*)::int from managed_servers where organization_id = ${id}) as servers,
              (select count(*)::int from deleted_servers where organization_id = ${id} and server_id = any(${servers}::uuid[])) as queued,
              (select count(*)::int from events where organization_id = ${id} and type = 'server.deleted') as events`);
          expect([left!.queued, left!.events + left!.servers]).toEqual([0, 251]);
          sizes.push(left!.servers);
          return done;
        },
      };
    },
  };
  await remove(watching);
  expect([...new Set(sizes)]).toEqual([51, 0]);
});

test('killed before any statement, however often, it leaves nothing in the end', async () => {
  await addServer(db, id);
  await markDeleted();
  const killedAfter = async (steps: number): Promise<boolean> => {
    const failure = await remove(killedForAllAfter(db, steps)).then(
      () => null,
      (error: unknown) => error,
    );
    if (failure !== null && failure !== killed) throw failure;
    return failure !== null;
  };
  let steps = 0;
  while (await killedAfter(steps)) steps += 1;
  // Of each table a turn, how to plan, a look and a commit.
  expect(steps).toBeGreaterThan(3 * (await tenantTables(db)).length);
  expect(await tablesThatMention(db.system, id)).toEqual(['events', 'organizations']);
  await moveBack('cleared_at', 61);
  for (steps = 0; await killedAfter(steps); ) steps += 1;
  expect(steps).toBeGreaterThan(3 * (await tenantTables(db)).length);
  await expectNothingLeft();
}, 60_000);

test('killed in the middle of the first pass, the next one goes on from there, wherever that was', async () => {
  const { length: tables } = await tenantTables(db);
  // Four statements to a table: each of the four, over all tables.
  for (let steps = 4; steps < 4 * tables; steps += 9) {
    id = await copyOfTemplate();
    await markDeleted();
    await expect(remove(killedForAllAfter(db, steps))).rejects.toBe(killed);
    await remove();
    expect(await tablesThatMention(db.system, id)).toEqual(['events', 'organizations']);
    await moveBack('cleared_at', 61);
    await remove();
    await expectNothingLeft();
  }
}, 60_000);

test('several processes at once take turns, and it is done once', async () => {
  await addChecks(await addServer(db, id), 5_000);
  await markDeleted();
  const both = async (): Promise<void> => {
    await Promise.all([remove(), remove(), remove()]);
  };
  while (!(await isCleared())) await both();
  expect(await eventsOf()).toEqual(expect.arrayContaining(['organization.deleted', 'server.deleted']));
  expect((await eventsOf()).filter(type => type === 'server.deleted')).toHaveLength(2);
  await moveBack('cleared_at', 61);
  while ((await tablesThatMention(db.system, id)).length > 0) await both();
  await expectNothingLeft();
});

test('where another process is at it, nothing is done, and nothing is waited for', async () => {
  await markDeleted();
  await db.system.transaction(async tx => {
    await tx.execute(sql`select pg_advisory_xact_lock(7700006)`);
    expect(await remove()).toBe(0);
  });
  expect(await isCleared()).toBe(false);
  expect(await remove()).toBeGreaterThan(0);
});

test('what one who was recognised still adds in the first minute goes too, and what statements add in the hour after', async () => {
  await deleteOrganization(db.system, id, new Date());
  await remove();
  const late = await addServer(db, id);
  await remove();
  expect(await tablesThatMention(db.system, late)).toEqual(['events']);
  expect(await isCleared()).toBe(false);
  await moveBack('deleted_at', 2);
  await remove();
  expect(await isCleared()).toBe(true);
  await addChecks(late, 2);
  await moveBack('cleared_at', 59);
  expect(await remove()).toBe(0);
  expect(await eventsOf()).not.toEqual([]);
  await moveBack('cleared_at', 2);
  await remove();
  await expectNothingLeft();
});

test('a server that is found at the last look has its event, and an hour for others to read it', async () => {
  await markDeleted();
  await remove();
  const late = await addServer(db, id);
  await moveBack('cleared_at', 61);
  await remove();
  expect(await tablesThatMention(db.system, late)).toEqual(['events']);
  expect(await isCleared()).toBe(false);
  await remove();
  expect(await isCleared()).toBe(true);
  await moveBack('cleared_at', 61);
  await remove();
  await expectNothingLeft();
});

test('rows are found in partitions on their own, and in what is being brought back', async () => {
  const own = 'server_health_checks_2031_09';
  await addChecks(await addServer(db, id), 10);
  await db.system.execute(sql`alter table server_health_checks detach partition ${sql.id(own)}`);
  await db.system.execute(sql`
    create table server_health_checks_2019_01 (like server_health_checks including defaults including constraints)`);
  await db.system.execute(sql`insert into server_health_checks_2019_01 select * from ${sql.id(own)}`);
  await markDeleted();
  await remove();
  expect(await tablesThatMention(db.system, id)).toEqual(['events', 'organizations']);
  await db.system.execute(sql`drop table server_health_checks_2019_01`);
  await db.system.execute(sql`
    alter table server_health_checks attach partition ${sql.id(own)} for values from ('2031-09-01') to ('2031-10-01')`);
});

test('rows are found in a partition of which a detach was interrupted', async () => {
  const own = 'server_health_checks_2031_09';
  await addChecks(await addServer(db, id), 10);
  await interruptDetach(database, own);
  await markDeleted();
  await remove();
  expect(await tablesThatMention(db.system, id)).toEqual(['events', 'organizations']);
  await ensureSeptember();
});

test('a table that nobody has heard of is found too, and what refers to it goes first', async () => {
  await db.system.execute(sql`
    create table added (organization_id uuid, kind text, id int, primary key (organization_id, kind, id))`);
  await db.system.execute(sql`
    create table added_later (
      organization_id uuid, id int, kind text, added int, primary key (organization_id, id),
      foreign key (organization_id, kind, added) references added)`);
  await db.system.execute(sql`create table added_settings (organization_id uuid primary key, value text)`);
  for (const of of [id, template]) {
    await db.system.execute(sql`insert into added select ${of}, 'kind', i from generate_series(1, 2500) i`);
    await db.system.execute(
      sql`insert into added_later select ${of}, i, 'kind', i from generate_series(1, 2500) i`,
    );
    await db.system.execute(sql`insert into added_settings values (${of}, 'value')`);
  }
  await markDeleted();
  await remove();
  expect(await tablesThatMention(db.system, id)).toEqual(['events', 'organizations']);
  expect(await tablesThatMention(db.system, template)).toEqual(
    expect.arrayContaining(['added', 'added_later', 'added_settings']),
  );
  for (const table of ['added_settings', 'added_later', 'added'])
    await db.system.execute(sql`drop table ${sql.id(table)}`);
});

test('one that fails keeps no other from its turn, and is not taken for done', async () => {
  await markDeleted();
  const failing = id;
  id = await copyOfTemplate();
  await markDeleted();
  const fault = new Error('the database refuses that');
  let failures = 0;
  const faulty: Database = {
    ...db,
    tenant: organizationId => {
      const own = db.tenant(organizationId);
      return {
        ...own,
        transaction(work) {
          if (organizationId !== failing || failures > 0) return own.transaction(work);
          failures += 1;
          return Promise.reject(fault);
        },
      };
    },
  };
  await expect(remove(faulty)).rejects.toBe(fault);
  expect(await isCleared()).toBe(true);
  id = failing;
  expect(await isCleared()).toBe(false);
  await remove();
  expect(await isCleared()).toBe(true);
});

test('nothing is summed up of what waits to be removed, nor stored of what comes hours later', async () => {
  const at = new Date(Date.now() - 7_200_000);
  const [{ id: server } = { id: '' as ServerId }] = await db.system.many(sql<{ id: ServerId }>`
    select id from managed_servers where organization_id = ${id}`);
  const check = healthCheck({ organizationId: id, serverId: server }, at);
  expect(await insertHealthChecks(db.system, [check])).toBe(1);
  await markDeleted();
  await db.tenant(id).transaction(tx => deleteServers(tx, 10));
  await db.system.execute(sql`delete from server_health_5m where organization_id = ${id}`);
  await sumUpHealth(db);
  await sumUpMetrics(db);
  expect(await db.system.many(sql`select from server_health_5m where organization_id = ${id}`)).toEqual([]);
  await remove();
  await moveBack('cleared_at', 61);
  await remove();
  for (const isFirstTry of [true, false])
    expect(await insertHealthChecks(db.system, [check], isFirstTry)).toBe(0);
  await sumUpHealth(db);
  await expectNothingLeft();
});

test('a process that stops leaves the rest to the next one', async () => {
  await markDeleted();
  const stopping = AbortSignal.abort();
  expect(await remove(db, stopping)).toBe(0);
  expect(await isCleared()).toBe(false);
});
