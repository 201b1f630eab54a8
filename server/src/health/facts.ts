import type { OrganizationId, ServerId } from '../ids.ts';
import { type Sql, sql } from '../platform/db.ts';
import type { RollupPeriod } from '../rollups/rollup.ts';
import { checkStatuses } from './history.ts';
import { responseClassOf } from './response-times.ts';
import { healthRollupTable, heldStates, holdIntervals, longestHoldMs } from './rollup.ts';

/** Some servers of an organization; null: all of them. */
export type Servers = { organizationId: OrganizationId; serverIds: readonly ServerId[] | null };

/** Their checks from `from` to before `to`. */
export type Scope = Servers & { from: Date; to: Date };

/** Equal parts of time, counted from an instant. */
export type Buckets = { origin: Date; lengthMs: number };

const responseRange = ['response_ms_min', 'response_ms_max'];
const summed = [
  ...checkStatuses.map(status => `${status}_checks`),
  ...heldStates.map(state => `${state}_ms`),
  'response_count',
  'response_ms_sum',
];

/** What `added` comes to, beside the server and the bucket. */
export const sumColumns: readonly string[] = [
  ...summed,
  ...responseRange,
  'response_classes',
  'response_class_counts',
];

const sums = sql.join(summed.map(name => sql`sum(${sql.ref(name)})::bigint as ${sql.ref(name)}`));

/**
 * Adds up facts by some of `server_id` and `bucket`. Facts have all columns that are summed, and a class of response times
 * with how many there were in it, or none; they are added up by class, and then over the classes.
 */
export const added = (facts: Sql<unknown>, by: readonly ('server_id' | 'bucket')[]): Sql<unknown> => {
  const keys = sql.join(by.map(key => sql.ref(key)));
  const range = sql`min(response_ms_min) as response_ms_min, max(response_ms_max) as response_ms_max`;
  return sql`
    with by_class as (
      select ${keys}, class, sum(class_count) as class_count, ${sums}, ${range}
      from (${facts}) facts group by ${keys}, class)
    select ${keys}, ${sums}, ${range},
      coalesce(array_agg(class order by class) filter (where class is not null), '{}') as response_classes,
      coalesce(array_agg(class_count::integer order by class) filter (where class is not null), '{}') as response_class_counts
    from by_class group by ${keys}`;
};

/** The same by server and bucket, without response times: for a fraction of the work. */
export const addedWithoutTimes = (facts: Sql<unknown>): Sql<unknown> =>
  sql`select server_id, bucket, ${sums} from (${facts}) facts group by server_id, bucket`;

/** Facts of nothing but what is given. */
const facts = (given: Readonly<Record<string, Sql<unknown>>>): Sql<unknown> =>
  sql.join([
    ...summed.map(name => sql`${given[name] ?? sql`0`} as ${sql.ref(name)}`),
    ...responseRange.map(name => sql`${given[name] ?? sql`null::integer`} as ${sql.ref(name)}`),
  ]);

const milliseconds = (count: Sql<unknown>): Sql<unknown> => sql`${count} * interval '1 millisecond'`;

const lengthOf = ({ lengthMs }: Buckets): Sql<unknown> => milliseconds(sql`${lengthMs}::float8`);

const startOf = (buckets: Buckets, column: Sql<unknown>): Sql<unknown> =>
  sql`date_bin(${lengthOf(buckets)}, ${column}, ${buckets.origin}::timestamptz)`;

const isAsked = ({ organizationId, serverIds }: Servers, table: 'c' | 's', id: Sql<unknown>): Sql<unknown> =>
  sql`${sql.ref(`${table}.organization_id`)} = ${organizationId}
    ${serverIds === null ? sql`` : sql`and ${id} = any(${serverIds}::uuid[])`}`;

/** Of some servers, how long a check holds, and the longest that one can. `intervalMs`: of those that have none of their own. */
export const holdsOf = (servers: Servers, intervalMs: number): Sql<unknown> => sql`
  select id as server_id, ${milliseconds(sql`${sql.lit(holdIntervals)} * interval_ms`)} as hold,
    ${milliseconds(sql`greatest(${sql.lit(holdIntervals)} * interval_ms, ${sql.lit(longestHoldMs(0))})`)} as longest
  from (
    select s.id, coalesce(1000 * s.health_interval_seconds, ${intervalMs}::float8) as interval_ms
    from managed_servers s where ${isAsked(servers, 's', sql`s.id`)}
  ) each_server`;

/** From the checks themselves. */
export function factsOfChecks(scope: Scope, buckets: Buckets, intervalMs: number): Sql<unknown> {
  const { organizationId, from, to } = scope;
  const length = lengthOf(buckets);
  const ms = sql`response_time_ms`;
  const counts = Object.fromEntries(
    checkStatuses.map(status => [`${status}_checks`, sql`(status = ${sql.lit(status)})::int`]),
  );
  const held = Object.fromEntries(
    heldStates.map(state => [
      `${state}_ms`,
      sql`case when status = ${sql.lit(state)} then held_ms else 0 end`,
    ]),
  );
  // Two checks before the range: the last one holds into it, and for how long the one before that tells.
  return sql`
    with asked as materialized (${holdsOf(scope, intervalMs)}),
    checks as materialized (
      select c.server_id, c.timestamp, c.status, c.response_time_ms from server_health_checks c
      where ${isAsked(scope, 'c', sql`c.server_id`)} and c.timestamp >= ${from} and c.timestamp < ${to}
      union all
      select a.server_id, earlier.timestamp, earlier.status, null from asked a
      cross join lateral (
        select timestamp, status from server_health_checks c
        where c.organization_id = ${organizationId} and c.server_id = a.server_id
          and c.timestamp < ${from} and c.timestamp >= ${from}::timestamptz - 2 * a.longest
        order by timestamp desc limit 2
      ) earlier),
    compared as (
      select server_id, timestamp, status, lead(timestamp) over by_time as next,
        timestamp - case when status = 'unreachable' and lag(status) over by_time = 'unreachable'
                         then lag(timestamp) over by_time end as silence
      from checks window by_time as (partition by server_id order by timestamp)),
    spans as (
      select server_id, status, greatest(timestamp, ${from}) as begins,
        least(next, ${to}, timestamp + case when silence <= longest
          then least(longest, greatest(hold, ${sql.lit(holdIntervals)} * silence)) else hold end) as ends
      from compared join asked using (server_id) where status <> 'error'),
    shares as (
      select server_id, status, bucket,
        1000 * extract(epoch from least(ends, bucket + ${length}) - greatest(begins, bucket)) as held_ms
      from spans cross join lateral generate_series(${startOf(buckets, sql`begins`)}, ends, ${length}) as bucket
      where begins < ends and bucket < ends)
    select server_id, ${startOf(buckets, sql`timestamp`)} as bucket,
      ${responseClassOf(ms)} as class, (${ms} is not null)::int as class_count, ${facts({
        ...counts,
        response_count: sql`(${ms} is not null)::int`,
        response_ms_sum: sql`coalesce(${ms}, 0)`,
        response_ms_min: ms,
        response_ms_max: ms,
      })}
    from checks where timestamp >= ${from}
    union all
    select server_id, bucket, null, 0, ${facts(held)} from shares`;
}

/** From the sums of periods that begin in the range; they must not be longer than a bucket. */
export function factsOfSums(scope: Scope, period: RollupPeriod, buckets: Buckets): Sql<unknown> {
  const bucket = startOf(buckets, sql`timestamp`);
  const stored = Object.fromEntries([...summed, ...responseRange].map(name => [name, sql.ref(name)]));
  return sql`
    with stored as materialized (
      select c.* from ${sql.ref(healthRollupTable(period))} c
      where ${isAsked(scope, 'c', sql`c.server_id`)} and c.timestamp >= ${scope.from} and c.timestamp < ${scope.to})
    select server_id, ${bucket} as bucket, null::smallint as class, 0 as class_count, ${facts(stored)} from stored
    union all
    select server_id, ${bucket}, each.class, each.count, ${facts({})}
    from stored cross join lateral unnest(response_classes, response_class_counts) as each (class, count)`;
}
