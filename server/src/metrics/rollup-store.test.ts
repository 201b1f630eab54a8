import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { createTestDatabase, deleteAll, type TestDatabase } from '../../test/database.ts';
import { killedAfter, unlessKilled } from '../../test/fakes/killed-database.ts';
import { until } from '../../test/fakes/until.ts';
import { addOrganization, addServer } from '../../test/fleet.ts';
import { assertProperty } from '../../test/property.ts';
import type { OrganizationId, ServerId } from '../ids.ts';
import { type SystemDb, type SystemTx, sql } from '../platform/db.ts';
import { ensurePartitions } from '../retention/maintain.ts';
import { roll } from '../rollups/roll.ts';
import { type Rollup, type RollupPeriod, rollupPeriodMs, rollupPeriods } from '../rollups/rollup.ts';
import { progressOf } from '../rollups/store.ts';
import type { MetricField, Metrics } from './metric.ts';
import { counterGapMs, counters, gauges, metricRollupTable } from './rollup.ts';
import { metricRollup } from './rollup-store.ts';
import { insertMetrics, type MetricsRow } from './store.ts';

const start = new Date('2031-06-10T00:00:00Z');
const minuteMs = 60_000;
const dayMs = 86_400_000;
let database: TestDatabase;
let db: SystemDb;
let servers: { organizationId: OrganizationId; serverId: ServerId }[];

beforeAll(async () => {
  database = await createTestDatabase();
  db = database.db.system;
  await ensurePartitions(db, { now: start, interval: 'month' });
  const organizations = [await addOrganization(database.db), await addOrganization(database.db)];
  servers = [];
  for (const organizationId of [...organizations, organizations[1]!])
    servers.push({ organizationId, serverId: await addServer(database.db, organizationId) });
});
afterAll(() => database.close());
beforeEach(reset);

/** As on the first day: nothing collected, nothing summed up. */
async function reset(): Promise<void> {
  const tables = ['server_metrics_aggregated', ...rollupPeriods.map(metricRollupTable), 'rollup_late'];
  await deleteAll(db, tables);
  await db.execute(sql`update rollup_progress set closed_until = ${start}, rolled_until = ${start}`);
}

const at = (ms: number): Date => new Date(start.getTime() + ms);
const rollAt = (ms: number, on: SystemDb = db): Promise<number> =>
  roll({ db: on, clock: { now: () => at(ms) } }, metricRollup);

const collected = (server: number, ms: number, metrics: Metrics): MetricsRow => ({
  ...servers[server]!,
  at: at(ms),
  metrics,
  reportedAt: null,
});

/** In millionths, so that JavaScript adds them up exactly. */
const exact = (value: number): number => Math.round(value * 1e6);

type Sums = Record<string, number | null>;

/** What the rows of each period come to, added up one by one. */
function addedUp(rows: readonly MetricsRow[], period: RollupPeriod): Map<string, Sums> {
  const found = new Map<string, Sums>();
  const before = new Map<string, MetricsRow>();
  for (const row of rows.toSorted((a, b) => a.at.getTime() - b.at.getTime())) {
    const bucket = Math.floor(row.at.getTime() / rollupPeriodMs[period]) * rollupPeriodMs[period];
    const key = `${row.serverId} ${new Date(bucket).toISOString()}`;
    const sums = found.get(key) ?? nothingYet();
    found.set(key, sums);
    sums['samples']! += 1;
    for (const [field, told] of Object.entries(row.metrics) as [MetricField, number][]) {
      const value = exact(told);
      sums[`${field}_count`]! += 1;
      sums[`${field}_last`] = value;
      if (gauges.includes(field)) {
        sums[`${field}_sum`] = (sums[`${field}_sum`] ?? 0) + value;
        sums[`${field}_min`] = Math.min(sums[`${field}_min`] ?? value, value);
        sums[`${field}_max`] = Math.max(sums[`${field}_max`] ?? value, value);
      } else {
        const earlier = before.get(row.serverId + field);
        before.set(row.serverId + field, row);
        const isKnown = earlier !== undefined && row.at.getTime() - earlier.at.getTime() <= counterGapMs;
        const from = exact(earlier?.metrics[field] ?? 0);
        const grown = !isKnown ? 0 : value >= from ? value - from : value;
        sums[`${field}_increase`] = (sums[`${field}_increase`] ?? 0) + grown;
        const coveredMs = isKnown ? row.at.getTime() - earlier.at.getTime() : 0;
        sums[`${field}_covered_ms`] = (sums[`${field}_covered_ms`] ?? 0) + exact(coveredMs);
      }
    }
  }
  return found;
}

function nothingYet(): Sums {
  const parts = [
    ...gauges.flatMap(field => ['min', 'max', 'last', 'sum'].map(part => `${field}_${part}`)),
    ...counters.flatMap(field => ['last', 'increase', 'covered_ms'].map(part => `${field}_${part}`)),
  ];
  const counts = [...gauges, ...counters].map(field => `${field}_count`);
  return {
    samples: 0,
    ...Object.fromEntries(counts.map(part => [part, 0])),
    ...Object.fromEntries(parts.map(part => [part, null])),
  };
}

async function stored(period: RollupPeriod): Promise<Map<string, Sums>> {
  const rows = await db.many(sql<{ server_id: string; timestamp: Date; sums: Record<string, number | null> }>`
    select server_id, timestamp, to_jsonb(r) - array['organization_id', 'server_id', 'timestamp', 'newest_id', 'newest_created_at'] as sums
    from ${sql.ref(metricRollupTable(period))} r`);
  return new Map(
    rows.map(({ server_id, timestamp, sums }) => [
      `${server_id} ${timestamp.toISOString()}`,
      Object.fromEntries(
        Object.entries(sums).map(([part, value]) => [
          part,
          value === null || part === 'samples' || part.endsWith('_count') ? value : exact(value),
        ]),
      ),
    ]),
  );
}

async function expectAllAddedUp(rows: readonly MetricsRow[]): Promise<void> {
  for (const period of rollupPeriods) expect(await stored(period), period).toEqual(addedUp(rows, period));
  const late = await db.many(sql`select from rollup_late`);
  expect(late).toHaveLength(0);
}

it('five minutes are summed up fifteen seconds after their end, and longer periods with their last part', async () => {
  const rows = Array.from({ length: 70 }, (_, minute) =>
    collected(0, minute * minuteMs + 500, {
      cpu_percent: minute % 7,
      network_rx_bytes: minute < 30 ? 1000 * minute : 10 * minute,
      ...(minute % 2 === 0 ? { active_users: minute } : {}),
    }),
  );
  expect(await insertMetrics(db, rows, true)).toBe(70);
  expect(await rollAt(5 * minuteMs + 14_999)).toBe(0);
  expect(await rollAt(5 * minuteMs + 15_000)).toBe(1);
  expect(await rollAt(15 * minuteMs + 15_000)).toBe(3);
  expect(await rollAt(15 * minuteMs + 15_000)).toBe(0);
  await rollAt(2 * dayMs);
  await expectAllAddedUp(rows);
});

it('is what adding up comes to, whatever is missing, falls back, comes late or twice, and whenever it is killed', async () => {
  const sometimes = <T>(of: fc.Arbitrary<T>) => fc.option(of, { nil: undefined, freq: 4 });
  const metrics = fc
    .record({
      cpu_percent: sometimes(fc.integer({ min: 0, max: 10_000 }).map(value => value / 100)),
      total_services: sometimes(fc.nat({ max: 50 })),
      network_rx_bytes: sometimes(fc.nat({ max: 5_000_000 })),
      llm_requests: fc.option(fc.nat({ max: 9 }), { nil: undefined, freq: 1 }),
      llm_cost_usd: sometimes(fc.nat({ max: 2_000_000 }).map(value => value / 1e6)),
    })
    .map(
      told => Object.fromEntries(Object.entries(told).filter(([, value]) => value !== undefined)) as Metrics,
    );
  // Close together mostly, and far apart sometimes: over two days there are gaps longer than counters are followed.
  const times = fc.oneof(fc.integer({ min: 0, max: 3 * 3600 }), fc.integer({ min: 0, max: 3 * 86_400 }));
  const row = fc.record({ server: fc.nat({ max: 2 }), second: times, metrics });
  const rowsOfAll = fc.uniqueArray(row, {
    minLength: 1,
    maxLength: 60,
    selector: ({ server, second }) => `${server} ${second}`,
  });
  // Rows in batches, the order of which is not that of time; after each the clock goes on, and a pass may be killed.
  const batches = fc.array(
    fc.record({
      size: fc.integer({ min: 1, max: 20 }),
      hours: fc.nat({ max: 12 }),
      killedAt: sometimes(fc.nat({ max: 30 })),
    }),
    { minLength: 1, maxLength: 4 },
  );
  await assertProperty([rowsOfAll, batches], async (drawn, steps) => {
    await reset();
    const rows = drawn.map(({ server, second, metrics: told }) => collected(server, second * 1000, told));
    const rest = [...rows];
    let nowMs = 0;
    for (const { size, hours, killedAt } of steps) {
      const batch = rest.splice(0, size);
      await insertMetrics(db, batch, true);
      // As when nobody heard of the commit.
      await insertMetrics(db, batch);
      nowMs += hours * 3_600_000;
      await rollAt(nowMs, killedAt === undefined ? db : killedAfter(db, killedAt)).catch(unlessKilled);
    }
    await insertMetrics(db, rest);
    await rollAt(4 * dayMs);
    await expectAllAddedUp(rows);
  });
}, 90_000);

const untilSomebodyWaits = () =>
  until('somebody to wait for a lock', async () => {
    const { waiting } = await db.one(sql<{ waiting: number }>`
      select count(*)::int as waiting from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'`);
    return waiting > 0;
  });

it('waits for who is storing something of the time that it closes, and takes that along', async () => {
  const row = collected(0, 4 * minuteMs, { cpu_percent: 50 });
  let rolled: Promise<number> | undefined;
  await db.transaction(async tx => {
    expect(await insertMetrics(tx, [row], true)).toBe(1);
    rolled = rollAt(6 * minuteMs);
    await untilSomebodyWaits();
  });
  expect(await rolled).toBe(1);
  expect(await stored('5m')).toEqual(addedUp([row], '5m'));
});

it('two at once share the work, and neither brings back older sums', async () => {
  const rows = Array.from({ length: 30 }, (_, minute) =>
    collected(minute % 3, minute * minuteMs, { cpu_percent: minute }),
  );
  await insertMetrics(db, rows, true);
  await Promise.all([rollAt(dayMs), rollAt(dayMs)]);
  const late = collected(1, 90_000, { cpu_percent: 99 });
  await insertMetrics(db, [late]);
  await Promise.all([rollAt(2 * dayMs), rollAt(2 * dayMs)]);
  await rollAt(2 * dayMs);
  await expectAllAddedUp([...rows, late]);
});

it('what comes late while its period is being summed up again is not forgotten', async () => {
  await rollAt(dayMs);
  const [first, second] = [
    collected(0, 1_000, { cpu_percent: 10 }),
    collected(0, 2_000, { cpu_percent: 20 }),
  ];
  await insertMetrics(db, [first]);
  const summedUp = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  const slow: Rollup = {
    ...metricRollup,
    async rollUp(tx, period, range) {
      const changed = await metricRollup.rollUp(tx, period, range);
      summedUp.resolve();
      await goOn.promise;
      return changed;
    },
  };
  const passing = roll({ db, clock: { now: () => at(dayMs) } }, slow);
  await summedUp.promise;
  const storing = insertMetrics(db, [second]);
  await untilSomebodyWaits();
  goOn.resolve();
  expect(await storing).toBe(1);
  await passing;
  await rollAt(dayMs);
  await rollAt(2 * dayMs);
  await expectAllAddedUp([first, second]);
});

async function tooLong(tx: SystemTx): Promise<number> {
  await tx.execute(sql`set local statement_timeout = 1`);
  return tx.execute(sql`select pg_sleep(60)`);
}

it('takes fewer servers at a time where a statement would take too long', async () => {
  const rows = [0, 1, 2].map(server => collected(server, 1_000, { cpu_percent: server }));
  await insertMetrics(db, rows, true);
  const few: Rollup = {
    ...metricRollup,
    rollUp: (tx, period, range) =>
      range.serverIds.length > 1 ? tooLong(tx) : metricRollup.rollUp(tx, period, range),
  };
  await roll({ db, clock: { now: () => at(2 * dayMs) } }, few);
  await expectAllAddedUp(rows);
});

it('of a server that is gone nothing is made, and a late row of it is forgotten', async () => {
  const organizationId = servers[0]!.organizationId;
  const serverId = await addServer(database.db, organizationId);
  const row = { organizationId, serverId, at: at(1000), metrics: { cpu_percent: 1 }, reportedAt: null };
  await rollAt(minuteMs * 10);
  await insertMetrics(db, [row]);
  await db.execute(sql`delete from managed_servers where id = ${serverId}`);
  await rollAt(minuteMs * 11);
  await expectAllAddedUp([]);
});

it('stops where periods are not over, and starts with what there was before a time of nothing', async () => {
  await insertMetrics(db, [collected(0, 0, { network_rx_bytes: 100 })], true);
  await rollAt(dayMs / 2);
  await insertMetrics(db, [collected(0, dayMs / 2, { network_rx_bytes: 400 })], true);
  await rollAt(dayMs - minuteMs);
  expect((await progressOf(db, 'metrics', '1d')).rolledUntil).toEqual(start);
  expect(await stored('1d')).toEqual(new Map());
  await rollAt(dayMs + minuteMs);
  expect([...(await stored('1d')).values()]).toMatchObject([
    { network_rx_bytes_increase: exact(300), samples: 2 },
  ]);
});
