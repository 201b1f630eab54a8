import type { OrganizationId } from '../ids.ts';
import { type Sql, type SystemTx, sql } from '../platform/db.ts';
import { unnest } from '../platform/unnest.ts';
import {
  type PeriodOf,
  type Rollup,
  type RollupPeriod,
  type RollupRange,
  rollupPeriodMs,
  rollupPeriods,
} from '../rollups/rollup.ts';
import { deleteSums, replaceSums, startOf } from '../rollups/store.ts';
import type { FormerServer } from '../servers/deletion-store.ts';
import { longestIntervalMs } from '../servers/server.ts';
import { checkStatuses } from './history.ts';
import { responseClassOf } from './response-times.ts';
import { healthRollupTable, heldStates, holdIntervals, longestHoldMs } from './rollup.ts';

/** `intervalMs`: how often the servers are checked that say nothing else. */
export const healthRollup = ({ intervalMs }: { intervalMs: number }): Rollup => ({
  kind: 'health',
  lookbackMs: 2 * longestHoldMs(longestIntervalMs),
  rollUp: (tx, period, range) => rollUpHealth(tx, period, range, intervalMs),
  touchedBy: (tx, organizationId, changed) => touchedBy(tx, organizationId, changed, intervalMs),
});

/** From the checks, or from the next shorter periods. Periods of which nothing is known have no row. */
function rollUpHealth(
  tx: SystemTx,
  period: RollupPeriod,
  range: RollupRange,
  intervalMs: number,
): Promise<number> {
  const shorter = rollupPeriods[rollupPeriods.indexOf(period) - 1];
  const facts =
    shorter === undefined ? ofChecks(period, range, intervalMs) : ofShorter(period, shorter, range);
  return replaceSums(tx, range, { table: healthRollupTable(period), columns, query: added(facts) });
}

const checkColumns = checkStatuses.map(status => `${status}_checks`);
const heldColumns = heldStates.map(state => `${state}_ms`);
const summed = [...checkColumns, ...heldColumns, 'response_count', 'response_ms_sum'];
const columns = [
  ...summed,
  'response_ms_min',
  'response_ms_max',
  'response_classes',
  'response_class_counts',
].map(name => sql.ref(name));

/**
 * Facts have all columns that are summed, and a class of response times with how many there were in it, or none. They are
 * added up by class, and then over the classes.
 */
const added = (facts: Sql<unknown>): Sql<unknown> => {
  const sums = summed.map(name => sql`sum(${sql.ref(name)})::bigint as ${sql.ref(name)}`);
  const range = sql`min(response_ms_min) as response_ms_min, max(response_ms_max) as response_ms_max`;
  return sql`
    with by_class as (
      select server_id, bucket, class, sum(class_count) as class_count, ${sql.join(sums)}, ${range}
      from (${facts}) facts group by server_id, bucket, class)
    select server_id, bucket as timestamp, ${sql.join(sums)}, ${range},
      coalesce(array_agg(class order by class) filter (where class is not null), '{}') as response_classes,
      coalesce(array_agg(class_count::integer order by class) filter (where class is not null), '{}') as response_class_counts
    from by_class group by server_id, bucket`;
};

/** Facts of nothing but what is given. */
const facts = (given: Readonly<Record<string, Sql<unknown>>>): Sql<unknown> =>
  sql.join(
    [...summed, 'response_ms_min', 'response_ms_max'].map(
      name => sql`${given[name] ?? sql`0`} as ${sql.ref(name)}`,
    ),
  );

function ofChecks(
  period: RollupPeriod,
  { organizationId, serverIds, from, to }: RollupRange,
  intervalMs: number,
): Sql<unknown> {
  const length = milliseconds(sql.lit(rollupPeriodMs[period]));
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
  const isCheck = sql`c.organization_id = ${organizationId}`;
  // Two checks before the range: the last one holds into it, and for how long the one before that tells.
  return sql`
    with asked as materialized (${intervalsOf(organizationId, sql`any(${serverIds}::uuid[])`, intervalMs)}),
    checks as materialized (
      select server_id, timestamp, status, response_time_ms from server_health_checks c
      where ${isCheck} and server_id = any(${serverIds}::uuid[]) and timestamp >= ${from} and timestamp < ${to}
      union all
      select a.server_id, earlier.timestamp, earlier.status, null from asked a
      cross join lateral (
        select timestamp, status from server_health_checks c
        where ${isCheck} and c.server_id = a.server_id
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
      from spans cross join lateral generate_series(${startOf(period, sql`begins`)}, ends, ${length}) as bucket
      where begins < ends and bucket < ends)
    select server_id, ${startOf(period, sql`timestamp`)} as bucket,
      ${responseClassOf(ms)} as class, (${ms} is not null)::int as class_count, ${facts({
        ...counts,
        response_count: sql`(${ms} is not null)::int`,
        response_ms_sum: sql`coalesce(${ms}, 0)`,
        response_ms_min: ms,
        response_ms_max: ms,
      })}
    from checks where timestamp >= ${from}
    union all
    select server_id, bucket, null, 0, ${facts({ ...held, response_ms_min: sql`null`, response_ms_max: sql`null` })}
    from shares`;
}

const milliseconds = (count: Sql<unknown>): Sql<unknown> => sql`${count} * interval '1 millisecond'`;

/** Of some servers, how long a check holds, and the longest that one can. */
const intervalsOf = (
  organizationId: OrganizationId,
  isOne: Sql<unknown>,
  intervalMs: number,
): Sql<unknown> => sql`
  select id as server_id, ${milliseconds(sql`${sql.lit(holdIntervals)} * interval_ms`)} as hold,
    ${milliseconds(sql`greatest(${sql.lit(holdIntervals)} * interval_ms, ${sql.lit(longestHoldMs(0))})`)} as longest
  from (
    select id, coalesce(1000 * health_interval_seconds, ${intervalMs}::float8) as interval_ms
    from managed_servers where organization_id = ${organizationId} and id = ${isOne}
  ) each_server`;

function ofShorter(
  period: RollupPeriod,
  shorter: RollupPeriod,
  { organizationId, serverIds, from, to }: RollupRange,
): Sql<unknown> {
  const bucket = startOf(period, sql`timestamp`);
  const stored = Object.fromEntries(
    [...summed, 'response_ms_min', 'response_ms_max'].map(name => [name, sql.ref(name)]),
  );
  return sql`
    with shorter as materialized (
      select * from ${sql.ref(healthRollupTable(shorter))}
      where organization_id = ${organizationId} and server_id = any(${serverIds}::uuid[])
        and timestamp >= ${from} and timestamp < ${to})
    select server_id, ${bucket} as bucket, null::smallint as class, 0 as class_count, ${facts(stored)} from shorter
    union all
    select server_id, ${bucket}, c.class, c.count, ${facts({ response_ms_min: sql`null`, response_ms_max: sql`null` })}
    from shorter cross join lateral unnest(response_classes, response_class_counts) as c (class, count)`;
}

/**
 * What a check found holds into the time after its period, and for how long it does the check after it. So it is up to
 * the second check from there, and no further than checks can hold.
 */
async function touchedBy(
  tx: SystemTx,
  organizationId: OrganizationId,
  changed: readonly PeriodOf[],
  intervalMs: number,
): Promise<PeriodOf[]> {
  const [shortest] = rollupPeriods;
  const length = milliseconds(sql.lit(rollupPeriodMs[shortest]));
  return tx.many(sql<PeriodOf>`
    with p as (
      select a.server_id, a.longest, p.start + ${length} as over
      from ${unnest([
        ['uuid', changed.map(({ serverId }) => serverId)],
        ['timestamptz', changed.map(({ timestamp }) => timestamp)],
      ])} as p (server_id, start)
      join (${intervalsOf(organizationId, sql`any(${changed.map(({ serverId }) => serverId)}::uuid[])`, intervalMs)}) a
        using (server_id))
    select distinct p.server_id as "serverId", touched as timestamp
    from p
    cross join lateral (
      select min(timestamp) as first, case when count(*) = 2 then max(timestamp) end as second
      from (
        select timestamp from server_health_checks c
        where c.organization_id = ${organizationId} and c.server_id = p.server_id
          and c.timestamp >= p.over and c.timestamp < p.over + 2 * p.longest
        order by timestamp limit 2
      ) as next
    ) as next
    cross join lateral (
      select least(second, case when first < over + longest then first + longest else over + longest end) as until
    ) as reach
    cross join lateral generate_series(over, until, ${length}) as touched
    where touched < until`);
}

/** Deletes up to `limit` sums of a server, of all periods, and returns how many. */
export const deleteHealthRollups = (tx: SystemTx, server: FormerServer, limit: number): Promise<number> =>
  deleteSums(tx, rollupPeriods.map(healthRollupTable), server, limit);
