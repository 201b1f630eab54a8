import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Client, startTestApp, type TestApp } from '../../test/app.ts';
import { deleteAll } from '../../test/database.ts';
import { addServer } from '../../test/fleet.ts';
import { assertProperty } from '../../test/property.ts';
import type { OrganizationId, ServerId } from '../ids.ts';
import { type SystemDb, sql } from '../platform/db.ts';
import { ensurePartitions, ensurePartitionsFor } from '../retention/maintain.ts';
import { defaultRetention } from '../retention/retention.ts';
import { roll } from '../rollups/roll.ts';
import { rollupPeriods } from '../rollups/rollup.ts';
import { type MetricField, type Metrics, metricFields, type Period, periodMs, periods } from './metric.ts';
import {
  type Across,
  acrossFunctions,
  counterValues,
  decimalsOf,
  gaugeValues,
  type MetricValue,
} from './query.ts';
import { counterGapMs, metricRollupTable } from './rollup.ts';
import { metricRollup } from './rollup-store.ts';
import { insertMetrics, type MetricsRow } from './store.ts';

const path = '/api/v1/fleet/metrics/query';
const start = new Date('2031-06-10T00:00:00Z');
const hourMs = 3_600_000;
const dayMs = 86_400_000;
let test: TestApp;
let viewer: Client;
let db: SystemDb;
let servers: { organizationId: OrganizationId; serverId: ServerId }[];

beforeAll(async () => {
  test = await startTestApp();
  db = test.database.db.system;
  viewer = await test.as('viewer', 'ours');
  await ensurePartitions(db, { now: start, interval: 'month' });
  const [ours, theirs] = [await test.organization('ours'), await test.organization('theirs')];
  servers = [];
  for (const organizationId of [ours, ours, ours, theirs])
    servers.push({ organizationId, serverId: await addServer(test.database.db, organizationId) });
});
afterAll(() => test.close());

const at = (ms: number): Date => new Date(start.getTime() + ms);
const collected = (server: number, ms: number, metrics: Metrics): MetricsRow => ({
  ...servers[server]!,
  at: at(ms),
  metrics,
  reportedAt: null,
});

async function reset(): Promise<void> {
  const tables = ['server_metrics_aggregated', ...rollupPeriods.map(metricRollupTable), 'rollup_late'];
  await deleteAll(db, tables);
  await db.execute(sql`update rollup_progress set closed_until = ${start}, rolled_until = ${start}`);
}

type Asked = { field: MetricField; value: MetricValue; fromMs: number; toMs: number; period: Period };

/** What a server told of a field, in order, with how much it grew and over how much time. */
function told(rows: readonly MetricsRow[], server: number, field: MetricField) {
  let before: { ms: number; value: number } | null = null;
  const steps: { ms: number; value: number; grown: number; coveredMs: number }[] = [];
  for (const row of rows.toSorted((a, b) => a.at.getTime() - b.at.getTime())) {
    const value = row.metrics[field];
    if (row.serverId !== servers[server]!.serverId || value === undefined) continue;
    const ms = row.at.getTime() - start.getTime();
    const isKnown: boolean = before !== null && ms - before.ms <= counterGapMs;
    const from: number = before?.value ?? 0;
    steps.push({
      ms,
      value,
      grown: isKnown ? (value >= from ? value - from : value) : 0,
      coveredMs: isKnown ? ms - before!.ms : 0,
    });
    before = { ms, value };
  }
  return steps;
}

function comesTo(steps: ReturnType<typeof told>, value: MetricValue): number | null {
  if (steps.length === 0) return null;
  const sum = (of: (step: (typeof steps)[number]) => number) =>
    steps.reduce((all, each) => all + of(each), 0);
  const coveredMs = sum(step => step.coveredMs);
  switch (value) {
    case 'avg':
      return sum(step => step.value) / steps.length;
    case 'min':
      return Math.min(...steps.map(step => step.value));
    case 'max':
      return Math.max(...steps.map(step => step.value));
    case 'last':
      return steps.at(-1)!.value;
    case 'increase':
      return coveredMs === 0 ? null : sum(step => step.grown);
    case 'rate':
      return coveredMs === 0 ? null : sum(step => step.grown) / (coveredMs / 1000);
  }
}

const gridOf = ({ fromMs, toMs, period }: Asked) => {
  const lengthMs = periodMs(period);
  const firstMs = Math.ceil(fromMs / lengthMs) * lengthMs;
  const count = Math.floor(toMs / lengthMs) - firstMs / lengthMs + 1;
  return { firstMs, lengthMs, count };
};

/** Of each of our three servers, the value of each period. */
function seriesOf(rows: readonly MetricsRow[], asked: Asked): (number | null)[][] {
  const { firstMs, lengthMs, count } = gridOf(asked);
  return [0, 1, 2].map(server => {
    const steps = told(rows, server, asked.field);
    return Array.from({ length: count }, (_, place) => {
      const beginMs = firstMs + place * lengthMs;
      return comesTo(
        steps.filter(step => step.ms >= beginMs && step.ms < beginMs + lengthMs),
        asked.value,
      );
    });
  });
}

function totalsOf(rows: readonly MetricsRow[], asked: Asked): (number | null)[] {
  const { firstMs, lengthMs, count } = gridOf(asked);
  return [0, 1, 2].map(server =>
    comesTo(
      told(rows, server, asked.field).filter(
        step => step.ms >= firstMs && step.ms < firstMs + count * lengthMs,
      ),
      asked.value,
    ),
  );
}

/** With a percentile between two values as PostgreSQL and most others have it. */
function across(values: readonly (number | null)[]): Record<Across, number | null> {
  const sorted = values.filter(value => value !== null).toSorted((a, b) => a - b);
  const sum = sorted.reduce((all, each) => all + each, 0);
  const quantile = (share: number): number => {
    const place = share * (sorted.length - 1);
    const [low, high] = [sorted[Math.floor(place)]!, sorted[Math.ceil(place)]!];
    return low + (high - low) * (place - Math.floor(place));
  };
  if (sorted.length === 0)
    return { avg: null, sum: null, min: null, max: null, p50: null, p95: null, p99: null, count: 0 };
  return {
    avg: sum / sorted.length,
    sum,
    min: sorted[0]!,
    max: sorted.at(-1)!,
    p50: quantile(0.5),
    p95: quantile(0.95),
    p99: quantile(0.99),
    count: sorted.length,
  };
}

/** The same numbers, but for what is not shown of their decimals. */
function expectSame(found: unknown, wanted: unknown, decimals: number): void {
  const marked = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
  const within = 10 ** -decimals;
  const compare = (one: unknown, other: unknown): unknown => {
    if (typeof one === 'number' && typeof other === 'number')
      return Math.abs(one - other) <= within + Math.abs(other) * 1e-9 ? other : one;
    if (Array.isArray(one) && Array.isArray(other))
      return one.map((each, place) => compare(each, other[place]));
    if (one !== null && typeof one === 'object' && other !== null && typeof other === 'object')
      return Object.fromEntries(
        Object.entries(one).map(([name, each]) => [
          name,
          compare(each, (other as Record<string, unknown>)[name]),
        ]),
      );
    return one;
  };
  expect(compare(marked(found), marked(wanted))).toEqual(marked(wanted));
}

const bodyOf = ({ field, value, fromMs, toMs, period }: Asked): object => ({
  field,
  value,
  period,
  start_time: at(fromMs).toISOString(),
  end_time: at(toMs).toISOString(),
});

async function expectAllComputed(rows: readonly MetricsRow[], asked: Asked): Promise<void> {
  const decimals = decimalsOf(asked.field, asked.value);
  const ours = servers.slice(0, 3).map(({ serverId }) => serverId);
  const byServer = seriesOf(rows, asked);
  const ask = async (more: object) => {
    const { status, body, text } = await viewer.post(path, { ...bodyOf(asked), ...more });
    expect(status, text).toBe(200);
    return body;
  };
  const one = await ask({ by: 'server' });
  const found = new Map(
    (one.series as { server_id: string; values: unknown[] | null }[]).map(each => [
      each.server_id,
      each.values,
    ]),
  );
  const wanted = byServer.map(values => (values.every(value => value === null) ? null : values));
  expectSame(
    ours.map(id => found.get(id)),
    wanted,
    decimals,
  );
  expect(one.servers).toEqual({
    total: 3,
    read: 3,
    without_data: wanted.filter(values => values === null).length,
  });
  expect(one.timestamps).toHaveLength(byServer[0]!.length);

  const fleet = await ask({ by: 'fleet', across: acrossFunctions });
  const perPeriod = byServer[0]!.map((_, place) => across(byServer.map(values => values[place]!)));
  expectSame(
    fleet.series,
    acrossFunctions.map(each => ({ across: each, values: perPeriod.map(values => values[each]) })),
    Math.min(decimals, 2),
  );
  expect(fleet.servers).toEqual(one.servers);

  const total = await ask({ by: 'total', across: acrossFunctions, across_periods: acrossFunctions });
  const totals = totalsOf(rows, asked);
  const byId = new Map(
    (total.totals as { server_id: string; value: number | null }[]).map(each => [each.server_id, each.value]),
  );
  expectSame(
    ours.map(id => byId.get(id)),
    totals,
    decimals,
  );
  expectSame(total.across, across(totals), Math.min(decimals, 2));
  expectSame(total.across_periods, across(byServer.flat()), Math.min(decimals, 2));

  const top = await ask({ by: 'total', top: { count: 2, order: 'asc' } });
  expectSame(
    (top.totals as { value: number }[]).map(each => each.value),
    totals
      .filter(value => value !== null)
      .toSorted((a, b) => a - b)
      .slice(0, 2),
    decimals,
  );
}

it('comes to what the rows come to, whatever is missing, falls back or comes late, summed up already or not', async () => {
  const sometimes = <T>(of: fc.Arbitrary<T>) => fc.option(of, { nil: undefined, freq: 4 });
  const metrics = fc
    .record({
      cpu_percent: sometimes(fc.integer({ min: 0, max: 10_000 }).map(value => value / 100)),
      active_users: sometimes(fc.nat({ max: 50 })),
      network_rx_bytes: sometimes(fc.nat({ max: 5_000_000 })),
      llm_cost_usd: sometimes(fc.nat({ max: 2_000_000 }).map(value => value / 1e6)),
    })
    .map(
      all => Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as Metrics,
    );
  const times = fc.oneof(fc.integer({ min: 0, max: 3 * hourMs }), fc.integer({ min: 0, max: 3 * dayMs }));
  // The third server has few rows, and often none in the range.
  const server = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(0, 1, 3) },
    { weight: 1, arbitrary: fc.constant(2) },
  );
  const drawn = fc.uniqueArray(fc.record({ server, ms: times, metrics }), {
    minLength: 1,
    maxLength: 50,
    selector: row => `${row.server} ${row.ms}`,
  });
  const field = fc.constantFrom<MetricField>(
    'cpu_percent',
    'active_users',
    'network_rx_bytes',
    'llm_cost_usd',
  );
  const asked = fc
    .record({
      field,
      pick: fc.nat(),
      period: fc.constantFrom(...periods),
      fromMs: times,
      hours: fc.integer({ min: 1, max: 80 }),
    })
    .map(({ field: of, pick, period, fromMs, hours }): Asked => {
      const values = metricFields[of].kind === 'gauge' ? gaugeValues : counterValues;
      const toMs = fromMs + Math.max(hours * hourMs, periodMs(period));
      return { field: of, value: values[pick % values.length]!, period, fromMs, toMs };
    });
  const questions = fc.array(asked, { minLength: 5, maxLength: 5 });
  await assertProperty([drawn, questions, fc.nat({ max: 50 }), times], async (all, asks, early, untilMs) => {
    await reset();
    const rows = all.map(row => collected(row.server, row.ms, row.metrics));
    const rollNow = () => roll({ db, clock: { now: () => at(untilMs) } }, metricRollup);
    await insertMetrics(db, rows.slice(0, early));
    await rollNow();
    await insertMetrics(db, rows.slice(early));
    await rollNow();
    for (const each of asks) await expectAllComputed(rows, each);
  });
}, 120_000);

/** A byte a second, told every so often over some days. */
const steady = (days: number, stepMs: number): MetricsRow[] =>
  Array.from({ length: Math.floor((days * dayMs) / stepMs) + 1 }, (_, place) =>
    collected(0, place * stepMs, { network_rx_bytes: (place * stepMs) / 1000 }),
  );

const rateOf = async (asked: object): Promise<{ value: number | null }[]> =>
  (await viewer.post(path, { field: 'network_rx_bytes', by: 'total', ...asked })).body.totals.filter(
    (each: { value: number | null }) => each.value !== null,
  );

it('is right over more milliseconds than an integer holds', async () => {
  await reset();
  await ensurePartitionsFor(db, {
    table: 'server_metrics_aggregated',
    instants: [at(30 * dayMs)],
    policy: { interval: 'month', retention: defaultRetention },
    now: start,
  });
  await insertMetrics(db, steady(40, hourMs), true);
  const range = { start_time: start.toISOString(), end_time: at(40 * dayMs).toISOString(), period: '1d' };
  expect(await rateOf(range)).toMatchObject([{ value: 1 }]);
  expect(await rateOf({ ...range, value: 'increase' })).toMatchObject([{ value: (40 * dayMs) / 1000 }]);
});

it('ends with what was told last, though its period is made of sums and of what was collected after them', async () => {
  await reset();
  const rows = Array.from({ length: 58 }, (_, minute) =>
    collected(0, minute * 60_000, { cpu_percent: minute }),
  );
  await insertMetrics(db, rows, true);
  await roll({ db, clock: { now: () => at(47 * 60_000) } }, metricRollup);
  const range = { start_time: start.toISOString(), end_time: at(hourMs - 1).toISOString() };
  for (const period of ['5m', '15m', '1h']) {
    const asked = { field: 'cpu_percent', value: 'last', by: 'total', ...range, period };
    const { body } = await viewer.post(path, asked);
    expect(body.totals.find((each: { value: number | null }) => each.value !== null)).toMatchObject({
      value: 57,
    });
  }
});

it('takes the whole period for the time in which a counter grew where that was not summed up yet', async () => {
  await reset();
  await insertMetrics(db, steady(1, 60_000), true);
  await roll({ db, clock: { now: () => at(dayMs / 2) } }, metricRollup);
  for (const period of rollupPeriods)
    await db.execute(
      sql`update ${sql.ref(metricRollupTable(period))} set network_rx_bytes_covered_ms = null`,
    );
  const hour = { start_time: at(2 * hourMs).toISOString(), end_time: at(3 * hourMs - 1).toISOString() };
  for (const period of ['5m', '1h']) expect(await rateOf({ ...hour, period })).toMatchObject([{ value: 1 }]);
});
