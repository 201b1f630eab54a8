import { afterAll, beforeAll, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/database.ts';
import { createFakeClock } from '../../test/fakes/clock.ts';
import { addOrganization, addServer, healthCheck } from '../../test/fleet.ts';
import { currentConditions } from '../conditions/store.ts';
import { readSettings } from '../config.ts';
import { type HealthCheckRow, insertHealthChecks } from '../health/history.ts';
import { healthRollupTable } from '../health/rollup.ts';
import { healthRollup } from '../health/rollup-store.ts';
import { type SystemDb, sql } from '../platform/db.ts';
import { createInstruments } from '../platform/instruments.ts';
import { ensurePartitionsFor, partitionsOf } from '../retention/maintain.ts';
import { type PartitionedTable, partitionedTables } from '../retention/partitions.ts';
import { roll } from '../rollups/roll.ts';
import { rollupPeriods } from '../rollups/rollup.ts';
import { keepRetention } from './retention-upkeep.ts';

// Years before today, so that what the database was made with is no matter.
const start = new Date('2019-01-01T00:00:00Z');
const dayMs = 86_400_000;
const instruments = createInstruments();
const settings = readSettings({}, 1000);
const policy = { interval: 'month', retention: settings.retention } as const;
let database: TestDatabase;
let db: SystemDb;
let check: (day: number) => HealthCheckRow;

beforeAll(async () => {
  database = await createTestDatabase();
  db = database.db.system;
  const organizationId = await addOrganization(database.db);
  const serverId = await addServer(database.db, organizationId);
  check = day => healthCheck({ organizationId, serverId }, at(day));
  await db.execute(sql`update rollup_progress set closed_until = ${at(28)}, rolled_until = ${at(28)}`);
  for (const now of [start, at(31), at(61)])
    await ensurePartitionsFor(db, { table: 'server_health_checks', instants: [now], now, policy });
});
afterAll(() => database.close());

const at = (day: number): Date => new Date(start.getTime() + day * dayMs);
async function keepAt(day: number): Promise<number> {
  const now = at(day);
  // For what is told of it.
  await ensurePartitionsFor(db, { table: 'events', instants: [now], now, policy });
  return keepRetention({
    db: database.db,
    clock: createFakeClock(now),
    settings,
    instruments,
    feed: { announce: () => undefined },
    stopping: new AbortController().signal,
  });
}
const rollAt = (day: number) =>
  roll({ db: db, clock: createFakeClock(at(day)) }, healthRollup({ intervalMs: 30_000 }));

async function left(table: PartitionedTable): Promise<string[]> {
  const partitions = await partitionsOf(db, [table]);
  return partitions
    .map(({ name }) => name)
    .filter(name => name.includes('_2019_'))
    .toSorted();
}

async function summedUp(): Promise<number[]> {
  const counts: number[] = [];
  for (const period of rollupPeriods) {
    const { checks } = await db.one(sql<{ checks: number }>`
      select coalesce(sum(healthy_checks), 0)::int as checks from ${sql.ref(healthRollupTable(period))}`);
    counts.push(checks);
  }
  return counts;
}

const overdue = async (): Promise<number> => {
  const text = await instruments.registry.metrics();
  return Number(/^opsfleet_partitions_overdue\{table="server_health_checks"\} (\d+)$/m.exec(text)?.[1]);
};

const conditions = async (): Promise<string[]> => Object.keys(await currentConditions(db));

it('checks stay until they have been summed up, and it is said where they stay for days', async () => {
  await insertHealthChecks(db, [check(29), check(30), check(32)], true);
  await keepAt(61);
  expect(await left('server_health_checks')).toContain('server_health_checks_2019_01');
  expect(await overdue()).toBe(1);
  expect(await conditions()).toEqual([]);
  await keepAt(64);
  expect(await conditions()).toEqual(['retention_behind']);

  await rollAt(34);
  await keepAt(64);
  expect(await left('server_health_checks')).toEqual([
    'server_health_checks_2019_02',
    'server_health_checks_2019_03',
  ]);
  expect(await summedUp()).toEqual([3, 3, 3, 3]);
  expect(await overdue()).toBe(0);
  expect(await conditions()).toEqual([]);
});

it('what comes late of a time whose checks have gone neither has a place nor takes the sums away', async () => {
  // As by a process that has not heard of it.
  await db.execute(sql`
    insert into rollup_late (kind, period, organization_id, server_id, timestamp)
    select 'health', '5m', organization_id, server_id, timestamp from server_health_5m`);
  await rollAt(34);
  expect(await summedUp()).toEqual([3, 3, 3, 3]);
  expect(await db.many(sql`select from rollup_late`)).toEqual([]);
  const late = await ensurePartitionsFor(db, {
    table: 'server_health_checks',
    instants: [at(29)],
    now: at(64),
    policy,
  });
  expect(late).toEqual({ ok: false, reason: 'out_of_range' });
});

it('sums go after what they are made of, and each at its own time', async () => {
  const untilDay = async (day: number): Promise<string[]> => {
    await keepAt(day);
    const tables = rollupPeriods.map(healthRollupTable);
    const partitions = await Promise.all(tables.map(left));
    return rollupPeriods.filter((_, index) => partitions[index]!.includes(`${tables[index]}_2019_01`));
  };
  expect(await untilDay(120)).toEqual(['5m', '15m', '1h', '1d']);
  expect(await untilDay(121)).toEqual(['15m', '1h', '1d']);
  expect(await untilDay(211)).toEqual(['1h', '1d']);
  expect(await untilDay(431)).toEqual(['1d']);
  expect(await untilDay(1_861)).toEqual([]);
});

it('a clock that is years ahead makes nothing old', async () => {
  const ofToday = async (): Promise<string[]> =>
    (await partitionsOf(db, partitionedTables))
      .filter(({ to }) => to > new Date())
      .map(({ name }) => name)
      .toSorted();
  const before = await ofToday();
  expect(before.length).toBeGreaterThan(partitionedTables.length);
  await keepAt((Date.parse('2099-01-01T00:00:00Z') - start.getTime()) / dayMs);
  expect(await ofToday()).toEqual(expect.arrayContaining(before));
});
