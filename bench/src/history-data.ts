import { setTimeout as sleep } from 'node:timers/promises';
import { healthRollup } from '../../server/src/health/rollup-store.ts';
import { metricRollup } from '../../server/src/metrics/rollup-store.ts';
import { type Queryable, type Sql, type SystemDb, sql } from '../../server/src/platform/db.ts';
import { type Attached, ensurePartitionsFor, partitionsOf } from '../../server/src/retention/maintain.ts';
import { defaultRetention } from '../../server/src/retention/retention.ts';
import { type RollParts, roll } from '../../server/src/rollups/roll.ts';
import { periodStart, type Rollup } from '../../server/src/rollups/rollup.ts';
import { progressOf } from '../../server/src/rollups/store.ts';
import type { FleetData } from './fleet-data.ts';

/** A history as polling leaves it: everybody checked and collected at these intervals, over days until `now`. */
export type HistoryScale = { now: Date; days: number; healthSeconds: number; metricsSeconds: number };

const DAY_MS = 86_400_000;

/** How long the parts took, in seconds, and how many rows there are. */
export type Filled = {
  healthRows: number;
  metricRows: number;
  fillSeconds: number;
  healthRollSeconds: number;
  metricRollSeconds: number;
};

/**
 * Fills health checks and metrics of all servers, in the order in which they would come, and sums them up with the
 * product's own passes. Every server is down for an hour every three to nine days, in which its checks fail and it tells
 * no metrics; its counters begin at zero after that.
 */
export async function fillHistory(
  { db: { system }, organizationId }: FleetData,
  scale: HistoryScale,
): Promise<Filled> {
  const { now, days } = scale;
  const from = new Date(now.getTime() - days * DAY_MS);
  await makePartitions(system, scale);
  await system.execute(sql`
    create table bench_servers as select organization_id, id, row_number() over (order by id) as i
    from managed_servers where organization_id = ${organizationId}`);
  await system.execute(sql`analyze bench_servers`);
  let healthRows = 0;
  let metricRows = 0;
  const fillSeconds = await secondsOf(async () => {
    [healthRows, metricRows] = await Promise.all([
      fill(system, 'server_health_checks', { from, to: now }, span =>
        healthRowsOf(span, scale.healthSeconds),
      ),
      fill(system, 'server_metrics_aggregated', { from, to: now }, span =>
        metricRowsOf(span, scale.metricsSeconds),
      ),
    ]);
  });
  const start = periodStart(from, '1d');
  await system.execute(sql`update rollup_progress set closed_until = ${start}, rolled_until = ${start}`);
  const parts = { db: system, clock: { now: () => now } };
  const intervalMs = scale.healthSeconds * 1000;
  const [healthRollSeconds, metricRollSeconds] = await Promise.all([
    secondsOf(() => rollAll(parts, healthRollup({ intervalMs }))),
    secondsOf(() => rollAll(parts, metricRollup)),
  ]);
  // As autovacuum would have done long since, of a history that grew over a month.
  await system.execute(sql`vacuum (analyze)`);
  return { healthRows, metricRows, fillSeconds, healthRollSeconds, metricRollSeconds };
}

/** A pass ends where another process is at it, and the program that is measured makes its own. */
async function rollAll(parts: RollParts, rollup: Rollup): Promise<void> {
  const today = periodStart(parts.clock.now(), '1d');
  for (;;) {
    await roll(parts, rollup);
    if ((await progressOf(parts.db, rollup.kind, '1d')).rolledUntil >= today) return;
    await sleep(500);
  }
}

async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return (performance.now() - startedMs) / 1000;
}

/** Those of the days before this month; the later ones are there from the start. */
async function makePartitions(db: SystemDb, { now, days }: HistoryScale): Promise<void> {
  for (const table of ['server_health_checks', 'server_metrics_aggregated'] as const) {
    for (let day = 1; day <= days + 1; day++) {
      const instants = [new Date(now.getTime() - day * DAY_MS)];
      await ensurePartitionsFor(db, {
        table,
        instants,
        policy: { interval: 'month', retention: defaultRetention },
        now,
      });
    }
  }
}

type Table = 'server_health_checks' | 'server_metrics_aggregated';
type TimeSpan = { from: Date; to: Date };

/** A partition without its key takes four times as many rows a second; it gets it back before it is attached again. */
async function fill(
  db: SystemDb,
  table: Table,
  span: TimeSpan,
  rowsOf: (span: TimeSpan) => Sql<unknown>,
): Promise<number> {
  let rows = 0;
  const partitions = (await partitionsOf(db, [table])).filter(
    each => each.from < span.to && each.to > span.from,
  );
  for (const partition of partitions) {
    const name = sql.id(partition.name);
    const key = sql`primary key (organization_id, server_id, ${table === 'server_health_checks' ? sql`` : sql`period,`} timestamp)`;
    await db.execute(sql`alter table ${sql.id(table)} detach partition ${name}`);
    await db.execute(sql`alter table ${name} drop constraint ${sql.id(`${partition.name}_pkey`)}`);
    for (const day of daysOf(partition, span)) {
      rows += await db.execute(sql`insert into ${name} ${rowsOf(day)}`);
    }
    await db.transaction(async tx => {
      await tx.execute(sql`set local maintenance_work_mem = '256MB'`);
      await tx.execute(sql`alter table ${name} add ${key}`);
      await attach(tx, table, partition);
    });
  }
  return rows;
}

const attach = (db: Queryable, table: Table, { name, from, to }: Attached): Promise<number> =>
  db.execute(sql`
    alter table ${sql.id(table)} attach partition ${sql.id(name)}
    for values from (${sql.lit(from.toISOString())}) to (${sql.lit(to.toISOString())})`);

/** What of a partition lies in the history, in parts of a day at most. */
function daysOf(partition: TimeSpan, { from, to }: TimeSpan): TimeSpan[] {
  const end = Math.min(partition.to.getTime(), to.getTime());
  const spans: TimeSpan[] = [];
  for (let at = Math.max(partition.from.getTime(), from.getTime()); at < end; at += DAY_MS)
    spans.push({ from: new Date(at), to: new Date(Math.min(end, at + DAY_MS)) });
  return spans;
}

/** The instants of every server, each at a moment of its own within the interval, and for how long it has been up. */
const polls = ({ from, to }: TimeSpan, seconds: number): Sql<unknown> => sql`
  generate_series(${from}::timestamptz, ${to}::timestamptz - interval '1 millisecond', ${seconds} * interval '1 second') t
  cross join lateral (
    select b.*, t.t + (b.i * 7919 % ${seconds * 1000}::int) * interval '1 millisecond' as at,
      (extract(epoch from t.t)::bigint + b.i * 104729) % ((3 + b.i % 7) * 86400) - 3600 as up
    from bench_servers b offset 0) s`;

/** Whose moment is after the end is left out: the partition ends there. */
const isWithin = ({ to }: TimeSpan): Sql<unknown> => sql`s.at < ${to}`;

const healthRowsOf = (span: TimeSpan, seconds: number): Sql<unknown> => sql`
  (organization_id, server_id, timestamp, status, reason, response_time_ms, database_healthy, redis_healthy,
    services_healthy, error_message)
  select s.organization_id, s.id, s.at,
    case when s.up < 0 then 'unreachable' when d.degraded then 'degraded' else 'healthy' end,
    case when s.up < 0 then 'timeout' when d.degraded then 'component_failed' else 'ok' end,
    case when s.up >= 0 then (4 + 10 / (0.02 + random()))::int end,
    case when s.up >= 0 then true end, case when s.up >= 0 then true end, case when s.up >= 0 then not d.degraded end,
    case when s.up < 0 then 'No answer within 10 s.' end
  from ${polls(span, seconds)}
  cross join lateral (select s.up < 7200 and s.i % 3 = 0 as degraded) d where ${isWithin(span)}`;

const metricRowsOf = (span: TimeSpan, seconds: number): Sql<unknown> => sql`
  (organization_id, server_id, timestamp, period, cpu_percent, memory_percent, disk_percent, network_rx_bytes,
    network_tx_bytes, active_services, failed_services, total_services, llm_requests, llm_cost_usd, active_users,
    total_users, reported_at)
  select s.organization_id, s.id, s.at, '1m',
    round((20 + s.i % 50 + 20 * random() + 9 * sin(s.up / 13751.0))::numeric, 2)::real,
    round((30 + s.i % 60 + 5 * random())::numeric, 2)::real, round((10 + s.i % 80 + s.up / 100000.0)::numeric, 2)::real,
    s.up * (1000 + s.i * 37), s.up * (500 + s.i * 11), 20 + s.i % 5, s.i % 50 / 49, 21 + s.i % 5, s.up / (1 + s.i % 20),
    round(s.up / (1 + s.i % 20) * 0.0021, 6), (random() * 30)::int, 40 + s.i % 100, s.at
  from ${polls(span, seconds)} where s.up >= 0 and ${isWithin(span)}`;
