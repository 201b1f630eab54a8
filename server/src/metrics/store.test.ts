import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/database.ts';
import { addOrganization, addServer } from '../../test/fleet.ts';
import type { OrganizationId, ServerId } from '../ids.ts';
import { isFaultOfValues } from '../platform/database-failure.ts';
import { sql } from '../platform/db.ts';
import { ensurePartitionsFor, isMissingPartition } from '../retention/maintain.ts';
import { defaultRetention } from '../retention/retention.ts';
import { roll } from '../rollups/roll.ts';
import { deleteServer } from '../servers/store.ts';
import { type MetricField, type Metrics, metricEntries, type Period, periods } from './metric.ts';
import { metricRollup } from './rollup-store.ts';
import { insertMetrics, listMetrics, type MetricsQuery, type MetricsRow } from './store.ts';

let database: TestDatabase;
let organizationId: OrganizationId;
let serverId: ServerId;
beforeAll(async () => {
  database = await createTestDatabase();
  const instant = minute(0);
  await ensurePartitionsFor(database.db.system, {
    table: 'server_metrics_aggregated',
    instants: [instant],
    policy: { interval: 'month', retention: defaultRetention },
    now: instant,
  });
});
afterAll(() => database.close());
beforeEach(async () => {
  await sumUpFrom('2026-11-24T00:00:00Z');
  organizationId = await addOrganization(database.db);
  serverId = await addServer(database.db, organizationId);
});

const minute = (count: number): Date => new Date(Date.parse('2026-11-24T12:00:00Z') + count * 60_000);

const collected = (at: Date, metrics: Metrics, facts: Partial<MetricsRow> = {}): MetricsRow => ({
  organizationId,
  serverId,
  at,
  metrics,
  reportedAt: null,
  ...facts,
});

const insert = (rows: MetricsRow[], isFirstTry = false): Promise<number> =>
  insertMetrics(database.db.system, rows, isFirstTry);

type Row = { timestamp: string } & Record<MetricField, number | null>;

/** Nothing of this day and later has been summed up. */
async function sumUpFrom(instant: string): Promise<void> {
  await database.db.system.execute(sql`
    update rollup_progress set closed_until = ${instant}, rolled_until = ${instant}`);
}

/** A page of metrics: the same before and after it has been summed up. */
async function list(query: Partial<MetricsQuery> = {}, from = organizationId) {
  const all: MetricsQuery = { period: '1m', from: null, to: null, limit: 100 };
  const read = () => listMetrics(database.db.tenant(from), serverId, { ...all, ...query });
  const page = await read();
  await roll(
    { db: database.db.system, clock: { now: () => new Date('2026-11-25T00:01:00Z') } },
    metricRollup,
  );
  expect(await read()).toEqual(page);
  if (page === null) return null;
  const rows = JSON.parse(page.rows) as Row[];
  return { ...page, rows, times: rows.map(row => row.timestamp) };
}

const largest = Object.fromEntries(metricEntries.map(([field, { max }]) => [field, max])) as Metrics;
const nothing = Object.fromEntries(metricEntries.map(([field]) => [field, null]));

test('a row has the 17 columns of the API, in order, and null where nothing was reported', async () => {
  await insert([collected(minute(0), { cpu_percent: 12.34, llm_cost_usd: 0.004 })]);
  const row = (await list())!.rows[0]!;
  expect(row).toEqual({
    id: expect.any(Number),
    server_id: serverId,
    timestamp: '2026-11-24T12:00:00.000Z',
    period: '1m',
    ...nothing,
    cpu_percent: 12.34,
    llm_cost_usd: 0.004,
    created_at: expect.stringMatching(/Z$/),
  });
  expect(Object.keys(row)).toHaveLength(17);
});

test('the largest value of every field fits its column and comes back exactly', async () => {
  await insert([collected(minute(0), largest)]);
  for (const period of periods) expect((await list({ period }))?.rows).toMatchObject([largest]);
});

test('the clock of the server is kept beside ours', async () => {
  await insert([collected(minute(0), { cpu_percent: 1 }, { reportedAt: minute(-3) })]);
  const stored = await database.db.tenant(organizationId).one(sql<{ timestamp: Date; reported_at: Date }>`
    select timestamp, reported_at from server_metrics_aggregated where organization_id = ${organizationId}`);
  expect(stored).toEqual({ timestamp: minute(0), reported_at: minute(-3) });
});

test('a batch written again adds only what is new, and changes nothing', async () => {
  expect(await insert([])).toBe(0);
  expect(await insert([collected(minute(0), { cpu_percent: 1 })])).toBe(1);
  expect(
    await insert([collected(minute(0), { cpu_percent: 2 }), collected(minute(1), { cpu_percent: 3 })]),
  ).toBe(1);
  expect((await list())?.rows.map(row => row.cpu_percent)).toEqual([3, 1]);
});

test('a first try stores the same, all of it or nothing where one is there already', async () => {
  const rows = (...minutes: number[]) => minutes.map(each => collected(minute(each), { cpu_percent: 1 }));
  expect(await insert(rows(0, 1), true)).toBe(2);
  const repeated: unknown = await insert(rows(1, 2), true).catch((each: unknown) => each);
  expect(isFaultOfValues(repeated)).toBe(true);
  expect(await insert(rows(0, 1, 2))).toBe(1);
});

test('a row of a server deleted meanwhile is passed over; its neighbours are stored', async () => {
  const gone = await addServer(database.db, organizationId);
  await deleteServer(database.db.tenant(organizationId), gone);
  const metrics = { cpu_percent: 1 };
  expect(
    await insert([collected(minute(0), metrics, { serverId: gone }), collected(minute(0), metrics)]),
  ).toBe(1);
});

test('a month without a partition is told apart from every other failure', async () => {
  const late = collected(new Date('2031-01-01T00:00:00Z'), { cpu_percent: 1 });
  const error: unknown = await insert([late]).catch((each: unknown) => each);
  expect(isMissingPartition(error)).toBe(true);
});

test('the newest come first, both bounds belong to the range, and what is cut off is said', async () => {
  await insert([0, 1, 2, 3].map(count => collected(minute(count), { cpu_percent: count })));
  const times = [3, 2, 1, 0].map(count => minute(count).toISOString());
  expect(await list()).toMatchObject({ times, count: 4, truncated: false });
  expect(await list({ from: minute(1), to: minute(2) })).toMatchObject({
    times: times.slice(1, 3),
    count: 2,
  });
  expect(await list({ limit: 3 })).toMatchObject({ times: times.slice(0, 3), count: 3, truncated: true });
  expect(await list({ limit: 4 })).toMatchObject({ count: 4, truncated: false });
  expect(await list({ from: minute(4) })).toMatchObject({ rows: [], count: 0, truncated: false });
});

test('another organization sees no such server', async () => {
  await insert([collected(minute(0), { cpu_percent: 1 })]);
  const other = await addOrganization(database.db);
  for (const period of periods) expect(await list({ period }, other)).toBeNull();
});

test('a longer period is the mean of what goes up and down and the last value of what only grows', async () => {
  await insert([
    collected(minute(0), { cpu_percent: 10, active_users: 1, network_rx_bytes: 500, llm_cost_usd: 0.1 }),
    collected(minute(1), { cpu_percent: 20, active_users: 2, network_rx_bytes: 900, llm_cost_usd: 0.25 }),
    // The server restarted: its counter begins again, and its cost was not reported.
    collected(minute(4), { cpu_percent: 25, active_users: 2, network_rx_bytes: 7 }),
    collected(minute(5), { cpu_percent: 90 }),
  ]);
  const page = await list({ period: '5m' });
  expect(page).toMatchObject({ count: 2, truncated: false });
  expect(page?.rows).toEqual([
    expect.objectContaining({
      timestamp: minute(5).toISOString(),
      period: '5m',
      ...nothing,
      cpu_percent: 90,
    }),
    expect.objectContaining({
      timestamp: minute(0).toISOString(),
      cpu_percent: 18.33,
      active_users: 2,
      network_rx_bytes: 7,
      llm_cost_usd: 0.25,
      memory_percent: null,
    }),
  ]);
});

test.each<[Period, string]>([
  ['1m', '2026-11-24T12:34:56.789Z'],
  ['5m', '2026-11-24T12:30:00.000Z'],
  ['15m', '2026-11-24T12:30:00.000Z'],
  ['1h', '2026-11-24T12:00:00.000Z'],
  ['1d', '2026-11-24T00:00:00.000Z'],
])('a row of %s begins at %s', async (period, begins) => {
  await insert([collected(new Date('2026-11-24T12:34:56.789Z'), { cpu_percent: 1 })]);
  expect((await list({ period }))?.times).toEqual([begins]);
});

test('a range chooses the periods that begin in it, whole', async () => {
  const rows = Array.from({ length: 20 }, (_row, count) => collected(minute(count), { cpu_percent: count }));
  await insert(rows);
  const means = async (query: Partial<MetricsQuery>) =>
    (await list({ period: '5m', ...query }))?.rows.map(row => row.cpu_percent);
  expect(await means({})).toEqual([17, 12, 7, 2]);
  expect(await means({ from: minute(5), to: minute(10) })).toEqual([12, 7]);
  expect(await means({ from: minute(6), to: minute(14) })).toEqual([12]);
  expect(await means({ limit: 2 })).toEqual([17, 12]);
  expect(await list({ period: '5m', limit: 2 })).toMatchObject({ count: 2, truncated: true });
});
