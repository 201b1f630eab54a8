import { afterAll, beforeAll, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/database.ts';
import { addOrganization, addServer } from '../../test/fleet.ts';
import { tablesRead } from '../../test/plans.ts';
import type { NamedServer } from '../groups/selection.ts';
import type { OrganizationId, ServerId } from '../ids.ts';
import { horizonsOf } from '../organizations/retention.ts';
import { sql, type TenantTx } from '../platform/db.ts';
import { ensurePartitionsFor } from '../retention/maintain.ts';
import { defaultRetention } from '../retention/retention.ts';
import { roll } from '../rollups/roll.ts';
import { fleetPeriods } from './fleet-store.ts';
import type { Period } from './metric.ts';
import { metricsRolledUntil } from './period-sums.ts';
import { gridOf } from './query.ts';
import { type Reading, readFleet, readSeries, readTotals } from './query-store.ts';
import { metricRollup } from './rollup-store.ts';
import { insertMetrics, listMetrics } from './store.ts';

const days = ['2031-06-10', '2031-06-11', '2031-06-12', '2031-06-13', '2031-06-14'];
const rolledAt = new Date('2031-06-14T12:00:20Z');
let database: TestDatabase;
let organizationId: OrganizationId;
let server: NamedServer;

/** Five days in partitions of a day, summed up to the noon of the last one. */
beforeAll(async () => {
  database = await createTestDatabase();
  const db = database.db.system;
  const start = new Date(`${days[0]}T00:00:00Z`);
  await db.execute(sql`update rollup_progress set closed_until = ${start}, rolled_until = ${start}`);
  organizationId = await addOrganization(database.db);
  const serverIds: ServerId[] = [];
  for (let count = 0; count < 20; count += 1) serverIds.push(await addServer(database.db, organizationId));
  server = { id: serverIds[0]!, name: serverIds[0]! };
  const instants = days.map(day => new Date(`${day}T00:00:00Z`));
  await ensurePartitionsFor(db, {
    table: 'server_metrics_aggregated',
    instants,
    policy: { interval: 'day', retention: defaultRetention },
    now: start,
  });
  for (const day of days) {
    const rows = Array.from(
      { length: 24 * 12 },
      (_, place) => new Date(Date.parse(`${day}T00:00:30Z`) + place * 300_000),
    );
    await insertMetrics(
      db,
      rows.flatMap(at =>
        serverIds.map(serverId => ({
          organizationId,
          serverId,
          at,
          metrics: { cpu_percent: 50, network_rx_bytes: at.getTime() },
          reportedAt: null,
        })),
      ),
      true,
    );
  }
  await roll({ db, clock: { now: () => rolledAt } }, metricRollup);
  await db.execute(sql`analyze`);
}, 60_000);
afterAll(() => database.close());

const tablesOf = (ask: (db: TenantTx) => Promise<unknown>): Promise<string[]> =>
  tablesRead(database.db.tenant(organizationId), 'server_metrics_', ask);

async function reading(
  period: Period,
  from: string,
  to: string,
  facts: Partial<Reading> = {},
): Promise<Reading> {
  const grid = gridOf({
    from: new Date(from),
    to: new Date(to),
    period,
    points: 1,
    servers: 1,
    returns: 'one',
    horizons: horizonsOf(defaultRetention, {}, new Date(to)),
    pointer: name => name,
  });
  const rolledUntil = await metricsRolledUntil(database.db.system);
  return { field: 'cpu_percent', value: 'avg', grid, rolledUntil, ...facts };
}

const all = { filter: {} };
const ofDay = (table: string, day: string): string => `${table}_${day.replaceAll('-', '_')}`;
const raw = (day: string): string => ofDay('server_metrics_aggregated', day);

it('of one server, what was collected in an hour is read from the partition that the hour lies in', async () => {
  const hour = await reading('1m', '2031-06-12T10:00:00Z', '2031-06-12T11:00:00Z');
  expect(await tablesOf(db => readSeries(db, [server], hour))).toEqual([raw('2031-06-12')]);
  const from = new Date('2031-06-12T10:00:00Z');
  const query = { period: '1m' as const, from, to: new Date('2031-06-12T11:00:00Z'), limit: 100 };
  expect(await tablesOf(db => listMetrics(db, server.id, query))).toEqual([raw('2031-06-12')]);
});

it('of days that have been summed up, nothing that was collected is read', async () => {
  const sums = await reading('1h', '2031-06-11T00:00:00Z', '2031-06-13T23:00:00Z');
  const tables = await tablesOf(db => readFleet(db, all, { ...sums, across: ['p95'] }));
  expect(tables.length).toBeGreaterThan(0);
  expect(tables.every(table => table.startsWith('server_metrics_1h_'))).toBe(true);
  const totals = {
    ...sums,
    listed: { top: { count: 10, order: 'desc' as const } },
    across: [],
    acrossPeriods: [],
  };
  expect(await tablesOf(db => readTotals(db, all, totals))).toEqual(tables);
  expect(await tablesOf(db => fleetPeriods(db, all, sums))).toEqual(tables);
});

it('of the newest day, hours are read, and only what no hour sums up yet from shorter periods and collections', async () => {
  const newest = await reading('1d', '2031-06-14T00:00:00Z', '2031-06-14T12:04:00Z');
  const tables = await tablesOf(db => readFleet(db, all, { ...newest, across: ['avg'] }));
  expect(tables.filter(table => table.includes('aggregated'))).toEqual([raw('2031-06-14')]);
  expect(tables.some(table => table.startsWith('server_metrics_1h'))).toBe(true);
  expect(tables.some(table => table.startsWith('server_metrics_1d'))).toBe(false);
});

it('what a counter was before the range is looked for in the 25 hours before it alone', async () => {
  const hour = await reading('1m', '2031-06-14T10:00:00Z', '2031-06-14T11:00:00Z', {
    field: 'network_rx_bytes',
    value: 'rate',
  });
  expect(await tablesOf(db => readSeries(db, [server], hour))).toEqual([raw('2031-06-14')]);
  const first = await reading('1m', '2031-06-13T00:00:00Z', '2031-06-13T01:00:00Z', {
    field: 'network_rx_bytes',
    value: 'rate',
  });
  expect(await tablesOf(db => readSeries(db, [server], first))).toEqual([
    raw('2031-06-12'),
    raw('2031-06-13'),
  ]);
});
