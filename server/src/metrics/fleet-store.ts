import { healthStatuses } from '../events/event.ts';
import { isSelected, type ServerSelection } from '../groups/selection.ts';
import { staleAfterIntervals } from '../health/evaluate.ts';
import { toldOf } from '../organizations/retention.ts';
import { planAnew, type Sql, sql, type TenantTx } from '../platform/db.ts';
import { type MetricField, metricEntries, metricFields, periodMs } from './metric.ts';
import { periodSums, type RolledUntil, type Span, sourcesOf } from './period-sums.ts';
import type { Grid } from './query.ts';
import { gauges } from './rollup.ts';
import { partName } from './sums.ts';

const percents = metricEntries.filter(([, { unit }]) => unit === 'percent').map(([field]) => field);

/** What a fleet's period shows of a field: the mean of percentages, the sum of counts, and how much counters grew. */
function acrossServers(field: MetricField): { parts: string[]; value: Sql<unknown> } {
  const { kind, decimals } = metricFields[field];
  if (kind === 'counter') {
    const increase = partName(field, 'increase');
    const covered = partName(field, 'covered_ms');
    return {
      parts: [increase, covered],
      value: sql`trim_scale(sum(${sql.ref(increase)}) filter (where ${sql.ref(covered)} > 0))`,
    };
  }
  const mean = sql`${sql.ref(partName(field, 'sum'))} / nullif(${sql.ref(partName(field, 'count'))}, 0)`;
  const of = percents.includes(field) ? sql`avg(${mean})` : sql`sum(${mean})`;
  return {
    parts: [partName(field, 'sum'), partName(field, 'count')],
    value: sql`trim_scale(round(${of}, ${sql.lit(Math.max(decimals, 2))}))`,
  };
}

/** A row for each period in which a server told something, newest first: the text of a JSON array. */
export async function fleetPeriods(
  db: TenantTx,
  selection: ServerSelection,
  { grid, rolledUntil }: { grid: Grid; rolledUntil: RolledUntil },
): Promise<{ rows: string; count: number; withData: number }> {
  const fields = metricEntries.map(([field]) => ({ field, ...acrossServers(field) }));
  const sums = periodSums(grid.period, sourcesOf(grid.period, toldOf(grid, grid), rolledUntil), {
    organizationId: db.organizationId,
    servers: sql`any(array(select id from chosen))`,
    parts: fields.flatMap(({ parts }) => parts),
  });
  return db.one(
    planAnew(sql`
    with chosen as materialized (
      select s.id from managed_servers s where ${isSelected(db.organizationId, selection)}),
    sums as materialized (${sums}),
    periods as (
      select timestamp, json_build_object('timestamp', rfc3339(timestamp), 'servers', count(*),
        ${sql.join(fields.map(({ field, value }) => sql`${sql.lit(field)}, ${value}`))}) as row
      from sums group by timestamp)
    select coalesce(json_agg(row order by timestamp desc), '[]')::text as rows, count(*)::int as count,
      (select count(*)::int from (select from sums group by server_id) servers) as "withData"
    from periods`),
  );
}

/** What a fleet comes to now, as JSON text. `recent`: the time over which counters are said to have grown. */
export async function fleetNow(
  db: TenantTx,
  selection: ServerSelection,
  of: { now: Date; intervalMs: number; recent: Span & { from: Date }; rolledUntil: RolledUntil },
): Promise<string> {
  const { now, intervalMs, recent, rolledUntil } = of;
  const llm = ['llm_requests', 'llm_cost_usd'] as const;
  const sums = periodSums('1h', sourcesOf('1h', recent, rolledUntil), {
    organizationId: db.organizationId,
    servers: sql`any(array(select id from active))`,
    parts: llm.flatMap(field => [partName(field, 'increase'), partName(field, 'covered_ms')]),
  });
  const told = (field: MetricField) => sql`(latest_metrics->>${sql.lit(field)})::numeric`;
  const mean = (field: MetricField) => sql`${sql.lit(field)}, json_build_object(
    'mean', trim_scale(round(avg(${told(field)}), 2)), 'servers', count(${told(field)}))`;
  const sum = (field: MetricField) => sql`${sql.lit(field)}, json_build_object(
    'sum', coalesce(sum(${told(field)}), 0), 'servers', count(${told(field)}))`;
  const grown = (field: (typeof llm)[number]) => sql`${sql.lit(field)}, json_build_object(
    'total', (select coalesce(trim_scale(sum(${told(field)})), 0) from active),
    'servers', (select count(${told(field)}) from active),
    'recent', (select coalesce(trim_scale(sum(${sql.ref(partName(field, 'increase'))})), 0) from grown),
    'recent_servers', (select count(distinct server_id) from grown where ${sql.ref(partName(field, 'covered_ms'))} > 0))`;
  const isHealth = (status: string) =>
    sql`${sql.lit(status)}, (select count(*) from active where health_status = ${sql.lit(status)})`;
  const { json } = await db.one(
    planAnew(sql<{ json: string }>`
    with chosen as materialized (
      select s.id, s.status, s.health_status, s.latest_metrics, s.last_metrics_at, s.metrics_interval_seconds
      from managed_servers s where ${isSelected(db.organizationId, selection)}),
    active as materialized (
      select *, last_metrics_at >= ${now}::timestamptz - ${staleAfterIntervals} * interval '1 millisecond' *
          coalesce(metrics_interval_seconds * 1000, ${intervalMs}::float8) as is_recent
      from chosen where status = 'active'),
    grown as materialized (${sums})
    select json_build_object(
      'servers', (select json_build_object(
        'total', (select count(*) from chosen), 'active', count(*),
        'reporting', count(*) filter (where is_recent),
        'silent', count(*) filter (where not is_recent), 'never_reported', count(*) filter (where is_recent is null),
        'oldest_metrics_at', rfc3339(min(last_metrics_at) filter (where is_recent))) from active),
      'health', json_build_object(${sql.join(healthStatuses.map(isHealth))}),
      'metrics', (select json_build_object(
        ${sql.join(percents.map(mean))},
        ${sql.join(gauges.filter(field => !percents.includes(field)).map(sum))})
        from active where is_recent),
      'llm', json_build_object('recent_since', rfc3339(${recent.from}::timestamptz), ${sql.join(llm.map(grown))})
    )::text as json`),
  );
  return json;
}

/** The hours that begin in the 24 before an instant, and what is still filling of the newest. */
export function lastDay(now: Date): Span & { from: Date } {
  const hourMs = periodMs('1h');
  return { from: new Date(Math.ceil((now.getTime() - 24 * hourMs) / hourMs) * hourMs), to: null };
}
