import { Client } from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/database.ts';
import { interruptDetach } from '../../test/fakes/interrupted-detach.ts';
import { newId, type OrganizationId, type ServerId } from '../ids.ts';
import { metricEntries } from '../metrics/metric.ts';
import { type Queryable, sql } from '../platform/db.ts';
import { ensurePartitions, ensurePartitionsFor, isMissingPartition, partitionsOf } from './maintain.ts';
import { type PartitionedTable, type PartitionInterval, partitionedTables } from './partitions.ts';
import { defaultRetention } from './retention.ts';

let database: TestDatabase;
const a = { organizationId: newId<OrganizationId>(0), serverId: newId<ServerId>(0) };
const b = { organizationId: newId<OrganizationId>(0), serverId: newId<ServerId>(0) };

beforeAll(async () => {
  database = await createTestDatabase();
  for (const { organizationId, serverId } of [a, b]) {
    await database.db.system.execute(sql`
      insert into organizations (id, name, created_at, updated_at) values (${organizationId}, ${organizationId}, now(), now())`);
    await database.db.system.execute(sql`
      insert into managed_servers (organization_id, id, name, hostname, api_url, api_token_hash, created_at,
                                   updated_at, slot, health_since)
      values (${organizationId}, ${serverId}, 'web-1', 'web-1', 'https://web-1', '', now(), now(), 0, now())`);
  }
});
afterAll(() => database.close());

const nothing = { created: [], reattached: [], finalized: [], replaced: [] };

function check(on: Queryable, at: string, of = a): Promise<number> {
  return on.execute(sql`
    insert into server_health_checks (organization_id, server_id, timestamp, status, reason)
    values (${of.organizationId}, ${of.serverId}, ${at}, 'healthy', 'ok')`);
}

const ensureAt = (
  now: string,
  tables: readonly PartitionedTable[] = ['server_health_checks'],
  interval: PartitionInterval = 'month',
) => ensurePartitions(database.db.system, { now: new Date(now), interval, tables });

async function tableOf(timestamp: string): Promise<string> {
  const row = await database.db.system.one(sql<{ table: string }>`
    select tableoid::regclass::text as table from server_health_checks
    where timestamp = ${timestamp} and organization_id = ${a.organizationId}`);
  return row.table;
}

test('every table gets the current month and the next three, once', async () => {
  const { created } = await ensureAt('2031-06-15T00:00:00Z', partitionedTables);
  expect(created).toHaveLength(4 * partitionedTables.length);
  expect(created.filter(name => name.startsWith('events'))).toEqual([
    'events_2031_06',
    'events_2031_07',
    'events_2031_08',
    'events_2031_09',
  ]);
  expect(await ensureAt('2031-06-15T00:00:00Z', partitionedTables)).toEqual(nothing);
  expect((await ensureAt('2031-07-01T00:00:00Z', ['events'])).created).toEqual(['events_2031_10']);
});

test('ten seconds before the turn of the year the rows of January already have their place', async () => {
  await ensureAt('2032-12-31T23:59:50Z');
  await check(database.db.system, '2032-12-31T23:59:59.999Z');
  await check(database.db.system, '2033-01-01T00:00:00.000Z');
  expect(await tableOf('2032-12-31T23:59:59.999Z')).toBe('server_health_checks_2032_12');
  expect(await tableOf('2033-01-01T00:00:00.000Z')).toBe('server_health_checks_2033_01');
});

test('29 February belongs to February', async () => {
  await ensureAt('2036-02-29T12:00:00Z');
  await check(database.db.system, '2036-02-29T23:59:59.999Z');
  expect(await tableOf('2036-02-29T23:59:59.999Z')).toBe('server_health_checks_2036_02');
});

test('processes that start at once share the work and do not fail', async () => {
  const all = await Promise.all(
    Array.from({ length: 4 }, () => ensureAt('2038-01-01T00:00:00Z', partitionedTables)),
  );
  const created = all.flatMap(changes => changes.created);
  expect(created.filter(name => name.includes('_2038_'))).toHaveLength(4 * partitionedTables.length);
  expect(new Set(created)).toHaveProperty('size', created.length);
});

test('a partition that exists keeps its rows and is not touched', async () => {
  await ensureAt('2039-01-01T00:00:00Z');
  await check(database.db.system, '2039-01-10T00:00:00Z');
  const oid = sql`select 'server_health_checks_2039_01'::regclass::oid, relfilenode from pg_class
                  where relname = 'server_health_checks_2039_01'`;
  const before = await database.db.system.one(oid);
  expect((await ensureAt('2038-12-15T00:00:00Z')).created).toEqual(['server_health_checks_2038_12']);
  expect(await database.db.system.one(oid)).toEqual(before);
  expect(await tableOf('2039-01-10T00:00:00Z')).toBe('server_health_checks_2039_01');
});

test('a partition has the keys and checks of its parent', async () => {
  await ensureAt('2041-01-01T00:00:00Z', partitionedTables);
  await check(database.db.system, '2041-01-02T00:00:00Z');
  await expect(check(database.db.system, '2041-01-02T00:00:00Z')).rejects.toMatchObject({ code: '23505' });
  const cpu = database.db.system.execute(sql`
    insert into server_metrics_aggregated (organization_id, server_id, timestamp, period, cpu_percent)
    values (${a.organizationId}, ${a.serverId}, '2041-01-01T00:00:00Z', '1m', 101)`);
  await expect(cpu).rejects.toMatchObject({ code: '23514' });
  expect(await cpu.catch(isMissingPartition)).toBe(false);
});

const counts = metricEntries.map(([field]) => sql.ref(`${field}_count`));

test.each(partitionedTables)('naming a partition of %s shows no other tenant', async table => {
  await ensureAt('2042-01-01T00:00:00Z', partitionedTables);
  const at = '2042-01-01T00:00:00Z';
  for (const { organizationId, serverId } of [a, b]) {
    const summed = sql`(organization_id, server_id, timestamp, newest_id, newest_created_at, samples, ${sql.join(counts)})
      values (${organizationId}, ${serverId}, ${at}, 1, ${at}, 1, ${sql.join(counts.map(() => sql`0`))})`;
    const summedUp = sql`values (${organizationId}, ${serverId}, ${at}, 1, 0, 0, 0, 0, 30000, 0, 0, 0, 0, 0, null, null, '{}', '{}')`;
    const columns = {
      server_health_5m: summedUp,
      server_health_15m: summedUp,
      server_health_1h: summedUp,
      server_health_1d: summedUp,
      server_metrics_5m: summed,
      server_metrics_15m: summed,
      server_metrics_1h: summed,
      server_metrics_1d: summed,
      server_health_checks: sql`(organization_id, server_id, timestamp, status, reason)
        values (${organizationId}, ${serverId}, ${at}, 'healthy', 'ok')`,
      server_metrics_aggregated: sql`(organization_id, server_id, timestamp, period)
        values (${organizationId}, ${serverId}, ${at}, '1m')`,
      events: sql`(organization_id, created_at, type, subject_id, data)
        values (${organizationId}, ${at}, 'server.added', ${serverId}, '{}')`,
    };
    await database.db.system.execute(sql`insert into ${sql.id(table)} ${columns[table]}`);
  }
  const rows = sql<{ organization_id: string }>`select organization_id from ${sql.id(`${table}_2042_01`)}`;
  expect(await database.db.system.many(rows)).toHaveLength(2);
  expect(await database.db.tenant(a.organizationId).many(rows)).toEqual([
    { organization_id: a.organizationId },
  ]);
  const client = new Client(database.connection);
  await client.connect();
  expect((await client.query(`select from ${table}_2042_01`)).rowCount).toBe(0);
  await client.end();
});

test('a query for a month reads the partition of that month alone', async () => {
  await ensureAt('2043-01-01T00:00:00Z');
  const plan = await database.db.tenant(a.organizationId).many(sql<{ 'QUERY PLAN': string }>`
    explain select * from server_health_checks
    where organization_id = ${a.organizationId} and server_id = ${a.serverId}
      and timestamp >= '2043-02-01T00:00:00Z' and timestamp < '2043-03-01T00:00:00Z'`);
  const scanned = plan
    .map(row => row['QUERY PLAN'])
    .join('\n')
    .match(/server_health_checks_\d{4}_\d{2}\b/g);
  expect(new Set(scanned)).toEqual(new Set(['server_health_checks_2043_02']));
});

test('partitions are made while others read and write the table', async () => {
  await ensureAt('2044-01-01T00:00:00Z');
  await database.db.system.transaction(async tx => {
    await check(tx, '2044-01-01T00:00:00Z');
    await tx.many(sql`select from server_health_checks where timestamp = '2044-01-01T00:00:00Z'`);
    expect((await ensureAt('2045-01-01T00:00:00Z')).created).toHaveLength(4);
    await check(tx, '2044-01-02T00:00:00Z');
  });
  expect(await check(database.db.system, '2045-01-01T00:00:00Z')).toBe(1);
});

test('partitions are made while a writer that has changed a server goes on to add history', async () => {
  await ensureAt('2050-01-01T00:00:00Z');
  await database.db.system.transaction(async tx => {
    await tx.execute(sql`update managed_servers set revision = revision + 1 where id = ${a.serverId}`);
    expect((await ensureAt('2051-01-01T00:00:00Z')).created).toHaveLength(4);
    expect(await check(tx, '2050-01-01T00:00:00Z')).toBe(1);
  });
});

test('a writer whose row has no partition gets one made and writes again', async () => {
  const at = '2046-05-05T00:00:00Z';
  const failure = await check(database.db.system, at).catch((error: unknown) => error);
  expect(isMissingPartition(failure)).toBe(true);
  const now = new Date('2046-06-20T00:00:00Z');
  const rows = {
    table: 'server_health_checks',
    instants: [new Date(at)],
    now,
    policy: { interval: 'month', retention: defaultRetention },
  } as const;
  expect(await ensurePartitionsFor(database.db.system, rows)).toEqual({
    ok: true,
    changes: {
      ...nothing,
      created: ['checks', '5m', '15m', '1h', '1d'].map(of => `server_health_${of}_2046_05`),
    },
  });
  expect(await check(database.db.system, at)).toBe(1);
  expect(await ensurePartitionsFor(database.db.system, rows)).toEqual({ ok: true, changes: nothing });
});

test('a time that a remote server made up makes no partition', async () => {
  const tables = sql`select count(*) from pg_class`;
  const before = await database.db.system.one(tables);
  const now = new Date('2047-06-01T00:00:00Z');
  for (const instant of [
    '1970-01-01T00:00:00Z',
    '2047-07-02T00:00:00Z',
    '9999-12-31T00:00:00Z',
    'nonsense',
  ]) {
    const rows = {
      table: 'events',
      instants: [new Date(instant)],
      now,
      policy: { interval: 'day', retention: defaultRetention },
    } as const;
    expect(await ensurePartitionsFor(database.db.system, rows)).toEqual({
      ok: false,
      reason: 'out_of_range',
    });
  }
  expect(await database.db.system.one(tables)).toEqual(before);
});

/** The spans of the partitions between two days, as `from/to`, without the hour. */
async function spansFrom(from: string, to: string): Promise<string[]> {
  const attached = await partitionsOf(database.db.system, ['server_health_checks']);
  return attached
    .filter(each => each.from >= new Date(from) && each.from < new Date(to))
    .map(each => `${each.from.toISOString().slice(0, 10)}/${each.to.toISOString().slice(0, 10)}`)
    .toSorted();
}

test('from months to days: empty months make room, and the month that has rows is kept to its end', async () => {
  await ensureAt('2060-11-28T00:00:00Z');
  const changes = await ensureAt('2060-11-28T00:00:00Z', ['server_health_checks'], 'day');
  expect(changes.replaced).toEqual(['server_health_checks_2060_12']);
  expect(changes.created.at(0)).toBe('server_health_checks_2060_12_01');
  expect(changes.created.at(-1)).toBe('server_health_checks_2060_12_06');
  expect(await ensureAt('2060-11-28T01:00:00Z', ['server_health_checks'], 'day')).toEqual(nothing);
  await check(database.db.system, '2060-11-30T23:59:59Z');
  await check(database.db.system, '2060-12-01T00:00:00Z');
  expect(await tableOf('2060-11-30T23:59:59Z')).toBe('server_health_checks_2060_11');
  expect(await tableOf('2060-12-01T00:00:00Z')).toBe('server_health_checks_2060_12_01');
});

test('a month that has rows already stays, though it lies ahead: days begin after it', async () => {
  await ensureAt('2061-11-28T00:00:00Z');
  await check(database.db.system, '2061-12-24T00:00:00Z');
  const changes = await ensureAt('2061-11-28T00:00:00Z', ['server_health_checks'], 'day');
  expect(changes).toEqual(nothing);
  expect((await ensureAt('2061-12-26T00:00:00Z', ['server_health_checks'], 'day')).created).toEqual([
    'server_health_checks_2062_01_01',
    'server_health_checks_2062_01_02',
    'server_health_checks_2062_01_03',
  ]);
});

test('from days to months: what is left of a month is filled up without a gap', async () => {
  await ensureAt('2063-11-28T00:00:00Z', ['server_health_checks'], 'day');
  await check(database.db.system, '2063-12-02T00:00:00Z');
  await ensureAt('2063-11-28T00:00:00Z', ['server_health_checks'], 'month');
  expect(await spansFrom('2063-11-01', '2064-03-01')).toEqual([
    '2063-11-01/2063-11-28',
    '2063-11-28/2063-11-29',
    '2063-11-29/2063-12-01',
    '2063-12-01/2063-12-02',
    '2063-12-02/2063-12-03',
    '2063-12-03/2064-01-01',
    '2064-01-01/2064-02-01',
    '2064-02-01/2064-03-01',
  ]);
  expect(await ensureAt('2063-11-28T00:00:00Z', ['server_health_checks'], 'month')).toEqual(nothing);
});

test('what is summed up has its place wherever what it is summed up from has one, an hour and a day by the month', async () => {
  const of = (name: string, year: string) => name.startsWith(`server_metrics`) && name.includes(`_${year}_`);
  await ensurePartitionsFor(database.db.system, {
    table: 'server_metrics_aggregated',
    instants: [new Date('2066-02-03T00:00:00Z')],
    now: new Date('2066-02-05T00:00:00Z'),
    policy: { interval: 'day', retention: defaultRetention },
  });
  const made = await partitionsOf(database.db.system, partitionedTables);
  expect(
    made
      .map(({ name }) => name)
      .filter(name => of(name, '2066'))
      .toSorted(),
  ).toEqual([
    'server_metrics_15m_2066_02_03',
    'server_metrics_1d_2066_02',
    'server_metrics_1h_2066_02',
    'server_metrics_5m_2066_02_03',
    'server_metrics_aggregated_2066_02_03',
  ]);
  // As after an update that brings a table of sums: its past is made with its future.
  await database.db.system.execute(sql`drop table server_metrics_15m_2066_02_03`);
  const { created } = await ensureAt('2066-05-05T00:00:00Z', ['server_metrics_15m'], 'day');
  expect(created.filter(name => name < 'server_metrics_15m_2066_05')).toContain(
    'server_metrics_15m_2066_02_03',
  );
});

test('rows of several times without a place get all of them in one go', async () => {
  const instants = [
    '2065-01-03T10:00:00Z',
    '2065-01-05T10:00:00Z',
    '2065-01-05T11:00:00Z',
    '1970-01-01T00:00:00Z',
  ];
  const made = await ensurePartitionsFor(database.db.system, {
    table: 'server_health_checks',
    instants: instants.map(instant => new Date(instant)),
    now: new Date('2065-01-06T00:00:00Z'),
    policy: { interval: 'day', retention: defaultRetention },
  });
  expect(made).toEqual({
    ok: true,
    changes: {
      ...nothing,
      created: [
        ...['checks', '5m', '15m'].flatMap(of =>
          ['03', '05'].map(day => `server_health_${of}_2065_01_${day}`),
        ),
        'server_health_1h_2065_01',
        'server_health_1d_2065_01',
      ],
    },
  });
});

test('an interrupted detach is finished, and its rows come back where the month is wanted', async () => {
  const name = 'server_health_checks_2048_01';
  await ensureAt('2048-01-01T00:00:00Z');
  await check(database.db.system, '2048-01-10T00:00:00Z');
  await interruptDetach(database, name);
  const failure = await check(database.db.system, '2048-01-11T00:00:00Z').catch((error: unknown) => error);
  expect(isMissingPartition(failure)).toBe(true);

  expect(await ensureAt('2048-01-01T00:00:00Z')).toEqual({
    ...nothing,
    reattached: [name],
    finalized: [name],
  });
  expect(await tableOf('2048-01-10T00:00:00Z')).toBe(name);
  expect(await check(database.db.system, '2048-01-11T00:00:00Z')).toBe(1);
});

test('an interrupted detach of a month no longer wanted is finished and stays detached', async () => {
  const name = 'server_health_checks_2049_01';
  await ensureAt('2049-01-01T00:00:00Z');
  await interruptDetach(database, name);
  expect(await ensureAt('2049-02-01T00:00:00Z')).toMatchObject({ reattached: [], finalized: [name] });
});

test('a reader that keeps a detach from being finished keeps no partition from being made', async () => {
  const { system } = database.db;
  await ensureAt('2052-01-01T00:00:00Z');
  await interruptDetach(database, 'server_health_checks_2052_01', async () => {
    await expect(ensureAt('2052-02-01T00:00:00Z')).rejects.toMatchObject({ code: 'unavailable' });
    await check(system, '2052-05-01T00:00:00Z');
  });
  expect(await ensureAt('2052-02-01T00:00:00Z')).toEqual({
    ...nothing,
    finalized: ['server_health_checks_2052_01'],
  });
});
