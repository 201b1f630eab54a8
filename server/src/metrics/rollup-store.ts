import type { OrganizationId } from '../ids.ts';
import { type Sql, type SystemTx, sql } from '../platform/db.ts';
import { unnest } from '../platform/unnest.ts';
import {
  type PeriodOf,
  periodStart,
  type Rollup,
  type RollupPeriod,
  type RollupRange,
  rollupPeriodMs,
  rollupPeriods,
} from '../rollups/rollup.ts';
import { deleteSums, replaceSums, startOf } from '../rollups/store.ts';
import type { FormerServer } from '../servers/deletion-store.ts';
import { metricEntries } from './metric.ts';
import { counterGapMs, counters, gauges, metricRollupTable } from './rollup.ts';

export const metricRollup: Rollup = {
  kind: 'metrics',
  lookbackMs: counterGapMs,
  rollUp: rollUpMetrics,
  touchedBy,
};

/** From what was collected, or from the next shorter periods. Periods without a collection have no row. */
function rollUpMetrics(tx: SystemTx, period: RollupPeriod, range: RollupRange): Promise<number> {
  const shorter = rollupPeriods[rollupPeriods.indexOf(period) - 1];
  const query = shorter === undefined ? fromCollected(period, range) : fromShorter(period, shorter, range);
  return replaceSums(tx, range, { table: metricRollupTable(period), columns, query });
}

const suffixed = (field: string, suffix: string): Sql<unknown> => sql.ref(`${field}_${suffix}`);

const gaugeParts = ['count', 'min', 'max', 'last', 'sum'] as const;
const counterParts = ['count', 'last', 'increase'] as const;

const columnNames: readonly string[] = [
  'newest_id',
  'newest_created_at',
  'samples',
  ...gauges.flatMap(field => gaugeParts.map(part => `${field}_${part}`)),
  ...counters.flatMap(field => counterParts.map(part => `${field}_${part}`)),
];
const columns = columnNames.map(name => sql.ref(name));

const counterGap = sql`${sql.lit(`${counterGapMs / 1000} seconds`)}::interval`;

/** Of a collection `c`, the counter by its number. */
const counterOf = (index: Sql<unknown>): Sql<unknown> =>
  sql`case ${index} ${sql.join(
    counters.map((field, each) => sql`when ${sql.lit(each)} then ${sql.ref(`c.${field}`)}::numeric`),
    sql` `,
  )} end`;

/** The newest value that was told. */
const lastOf = (value: Sql<unknown>): Sql<unknown> =>
  sql`(array_agg(${value} order by timestamp desc) filter (where ${value} is not null))[1]`;

function fromCollected(
  period: RollupPeriod,
  { organizationId, serverIds, from, to }: RollupRange,
): Sql<unknown> {
  const isCollected = sql`organization_id = ${organizationId} and period = '1m'`;
  const fields = sql.join(metricEntries.map(([field]) => sql.ref(field)));
  const summed = [
    ...gauges.flatMap(field => {
      const value = sql.ref(field);
      return [
        sql`count(${value})::int as ${suffixed(field, 'count')}`,
        sql`min(${value}) as ${suffixed(field, 'min')}`,
        sql`max(${value}) as ${suffixed(field, 'max')}`,
        sql`${lastOf(value)} as ${suffixed(field, 'last')}`,
        sql`sum(${value}::numeric) as ${suffixed(field, 'sum')}`,
      ];
    }),
    ...counters.flatMap(field => [
      sql`count(${sql.ref(field)})::int as ${suffixed(field, 'count')}`,
      sql`${lastOf(sql.ref(field))} as ${suffixed(field, 'last')}`,
    ]),
  ];
  const told = counters.map((field, index) => sql`(${sql.lit(index)}, ${sql.ref(field)}::numeric)`);
  const increases = new Map(
    counters.map((field, index) => [
      `${field}_increase`,
      sql`sum(grown) filter (where field = ${sql.lit(index)})`,
    ]),
  );
  // A counter is looked up before the range only where it was told in it: one that is never told would have its whole
  // past read each time.
  return sql`
    with collected as materialized (
      select server_id, timestamp, ${startOf(period, sql`timestamp`)} as bucket, id, created_at, ${fields}
      from server_metrics_aggregated
      where ${isCollected} and server_id = any(${serverIds}::uuid[]) and timestamp >= ${from} and timestamp < ${to}),
    summed as (
      select server_id, bucket, max(id) as newest_id, max(created_at) as newest_created_at, count(*)::int as samples,
        ${sql.join(summed)} from collected group by server_id, bucket),
    steps as (
      select server_id, bucket, timestamp, field, value,
        case when timestamp - lag(timestamp) over told_before <= ${counterGap}
             then lag(value) over told_before end as before
      from collected cross join lateral (values ${sql.join(told)}) as told (field, value)
      where value is not null
      window told_before as (partition by server_id, field order by timestamp)),
    grown as (
      select s.server_id, s.bucket, s.field,
        case when s.value >= coalesce(s.before, earlier.value) then s.value - coalesce(s.before, earlier.value)
             when s.value < coalesce(s.before, earlier.value) then s.value else 0 end as grown
      from steps s
      left join lateral (
        select ${counterOf(sql`s.field`)} as value from server_metrics_aggregated c
        where s.before is null and c.${isCollected} and c.server_id = s.server_id and c.timestamp < s.timestamp
          and c.timestamp >= s.timestamp - ${counterGap}
          and ${counterOf(sql`s.field`)} is not null
        order by c.timestamp desc limit 1
      ) earlier on true),
    -- Not a join: what it is of, PostgreSQL takes for few rows, and would compare each with each.
    parts as (
      select server_id, bucket, ${sql.join(columnNames.map(name => (increases.has(name) ? sql`null` : sql.ref(name))))}
      from summed
      union all
      select server_id, bucket, ${sql.join(columnNames.map(name => increases.get(name) ?? sql`null`))}
      from grown group by server_id, bucket)
    select server_id, bucket as timestamp,
      ${sql.join(columns.map((column, index) => sql`max(${sql.ref(`value${index}`)}) as ${column}`))}
    from parts as p (server_id, bucket, ${sql.join(columns.map((_, index) => sql.ref(`value${index}`)))})
    group by server_id, bucket`;
}

function fromShorter(
  period: RollupPeriod,
  shorter: RollupPeriod,
  { organizationId, serverIds, from, to }: RollupRange,
): Sql<unknown> {
  const summed = [
    ...gauges.flatMap(field => [
      sql`sum(${suffixed(field, 'count')})::int as ${suffixed(field, 'count')}`,
      sql`min(${suffixed(field, 'min')}) as ${suffixed(field, 'min')}`,
      sql`max(${suffixed(field, 'max')}) as ${suffixed(field, 'max')}`,
      sql`${lastOf(suffixed(field, 'last'))} as ${suffixed(field, 'last')}`,
      sql`sum(${suffixed(field, 'sum')}) as ${suffixed(field, 'sum')}`,
    ]),
    ...counters.flatMap(field => [
      sql`sum(${suffixed(field, 'count')})::int as ${suffixed(field, 'count')}`,
      sql`${lastOf(suffixed(field, 'last'))} as ${suffixed(field, 'last')}`,
      sql`sum(${suffixed(field, 'increase')}) as ${suffixed(field, 'increase')}`,
    ]),
  ];
  return sql`
    select server_id, ${startOf(period, sql`timestamp`)} as timestamp, max(newest_id) as newest_id,
      max(newest_created_at) as newest_created_at, sum(samples)::int as samples, ${sql.join(summed)}
    from ${sql.ref(metricRollupTable(shorter))}
    where organization_id = ${organizationId} and server_id = any(${serverIds}::uuid[])
      and timestamp >= ${from} and timestamp < ${to}
    group by 1, 2`;
}

/** A counter's growth counts where its next value was told: that is where one that comes before it changes something. */
async function touchedBy(
  tx: SystemTx,
  organizationId: OrganizationId,
  changed: readonly PeriodOf[],
): Promise<PeriodOf[]> {
  const lengthMs = rollupPeriodMs[rollupPeriods[0]];
  const isOfServer = sql`c.organization_id = ${organizationId} and c.server_id = p.server_id and c.period = '1m'`;
  const isTold = sql`${counterOf(sql`counter.index`)} is not null`;
  const rows = await tx.many(sql<PeriodOf>`
    select distinct p.server_id as "serverId", next.timestamp
    from ${unnest([
      ['uuid', changed.map(({ serverId }) => serverId)],
      ['timestamptz', changed.map(({ timestamp }) => timestamp)],
      ['timestamptz', changed.map(({ timestamp }) => new Date(timestamp.getTime() + lengthMs))],
    ])} as p (server_id, start, "end")
    cross join generate_series(0, ${counters.length - 1}::int) as counter (index)
    cross join lateral (
      select c.timestamp from server_metrics_aggregated c
      where ${isOfServer} and ${isTold} and c.timestamp >= p."end" and c.timestamp < p."end" + ${counterGap}
      order by c.timestamp limit 1
    ) next
    where exists (
      select from server_metrics_aggregated c
      where ${isOfServer} and ${isTold} and c.timestamp >= p.start and c.timestamp < p."end")`);
  return rows.map(({ serverId, timestamp }) => ({
    serverId,
    timestamp: periodStart(timestamp, rollupPeriods[0]),
  }));
}

/** Deletes up to `limit` sums of a server, of all periods, and returns how many. */
export const deleteMetricRollups = (tx: SystemTx, server: FormerServer, limit: number): Promise<number> =>
  deleteSums(tx, rollupPeriods.map(metricRollupTable), server, limit);
