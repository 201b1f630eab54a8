import type { ServerId } from '../ids.ts';
import { type Horizon, toldOf } from '../organizations/retention.ts';
import { planAnew, type Sql, sql, type TenantTx } from '../platform/db.ts';
import { type RollupPeriod, rollupPeriodMs, rollupPeriods } from '../rollups/rollup.ts';
import { type Segment, segmentsOf } from '../rollups/segments.ts';
import { rolledUntilOf } from '../rollups/store.ts';
import { added, addedWithoutTimes, type Buckets, factsOfChecks, factsOfSums } from './facts.ts';
import { heldStates } from './rollup.ts';
import type { HealthSums, Timeline } from './uptime.ts';

/** A time, not empty, and from when on it is told. `intervalMs`: how often servers are checked that say nothing else. */
export type HealthRange = { from: Date; to: Date; intervalMs: number } & Pick<Horizon, 'readFrom'>;

/** What is known of a range, from as few rows as tell it. `longest`: no longer than a bucket. */
async function factsOf(
  db: TenantTx,
  serverIds: readonly ServerId[] | null,
  range: HealthRange,
  { buckets, longest }: { buckets: Buckets; longest: RollupPeriod },
): Promise<Sql<unknown>> {
  const segments = segmentsOf(toldOf(range, range), await rolledUntilOf(db, 'health'), longest);
  // Of no time too: a query must be of something.
  if (segments.length === 0) segments.push({ from: range.to, to: range.to, tier: longest });
  const factsOfSegment = ({ from, to, tier }: Segment): Sql<unknown> => {
    const scope = { organizationId: db.organizationId, serverIds, from, to };
    return tier === 'collected'
      ? sql`(${factsOfChecks(scope, buckets, range.intervalMs)})`
      : sql`(${factsOfSums(scope, tier, buckets)})`;
  };
  return sql.join(segments.map(factsOfSegment), sql` union all `);
}

/** One bucket, from the beginning of the range to its end. */
const whole = ({ from, to }: HealthRange) => ({
  buckets: { origin: from, lengthMs: to.getTime() - from.getTime() },
  longest: rollupPeriods.at(-1)!,
});

const none: HealthSums = {
  healthy_checks: 0,
  degraded_checks: 0,
  critical_checks: 0,
  unreachable_checks: 0,
  error_checks: 0,
  healthy_ms: 0,
  degraded_ms: 0,
  critical_ms: 0,
  unreachable_ms: 0,
  response_count: 0,
  response_ms_sum: 0,
  response_ms_min: null,
  response_ms_max: null,
  response_classes: [],
  response_class_counts: [],
};

/** How a server was; null when the organization has no such server. */
export async function readServerHealth(
  db: TenantTx,
  serverId: ServerId,
  range: HealthRange,
): Promise<HealthSums | null> {
  const facts = await factsOf(db, [serverId], range, whole(range));
  const row = await db.maybeOne(
    planAnew(sql<HealthSums & { server_id: ServerId | null }>`
      select sums.* from managed_servers s left join (${added(facts, ['server_id'])}) sums on sums.server_id = s.id
      where s.organization_id = ${db.organizationId} and s.id = ${serverId}`),
  );
  if (row === null) return null;
  return row.server_id === null ? none : row;
}

/** How a server was on the whole. */
export type ServerHours = { id: ServerId; name: string } & Pick<
  HealthSums,
  `${(typeof heldStates)[number]}_ms`
>;

/** How all servers of an organization were together, and of those that were not up all the time the worst. */
export type FleetHealth = {
  sums: HealthSums;
  /** Of how many servers something is known, of how many there are. */
  known: number;
  servers: number;
  worst: ServerHours[];
};

export async function readFleetHealth(db: TenantTx, range: HealthRange, worst: number): Promise<FleetHealth> {
  const facts = await factsOf(db, null, range, whole(range));
  const held = sql.join(heldStates.map(state => sql.ref(`${state}_ms`)));
  const up = sql`(healthy_ms + degraded_ms)`;
  const down = sql`(critical_ms + unreachable_ms)`;
  const row = await db.one(
    planAnew(sql<{ sums: HealthSums | null; known: number; servers: number; worst: ServerHours[] }>`
      with facts as materialized (
        select f.* from (${facts}) f
        join managed_servers s on s.organization_id = ${db.organizationId} and s.id = f.server_id),
      total as (${added(sql`select * from facts`, ['bucket'])}),
      by_server as materialized (${addedWithoutTimes(sql`select * from facts`)}),
      worst as (
        select s.id, s.name, ${held} from by_server b
        join managed_servers s on s.organization_id = ${db.organizationId} and s.id = b.server_id
        where ${down} > 0 order by ${up}::numeric / (${up} + ${down}), ${down} desc, s.name limit ${worst})
      select (select to_jsonb(t) - 'bucket' from total t) as sums,
        (select count(*) from by_server where ${up} + ${down} > 0)::int as known,
        (select count(*) from managed_servers where organization_id = ${db.organizationId})::int as servers,
        coalesce((select jsonb_agg(to_jsonb(w) order by ${up}::numeric / (${up} + ${down}), ${down} desc, w.name)
                  from worst w), '[]') as worst`),
  );
  return { ...row, sums: row.sums ?? none };
}

/** Of a server, for how long of each period it was in each state, in milliseconds. */
export type ServerTimeline = { id: ServerId } & Record<`${(typeof heldStates)[number]}_ms`, number[]>;

/** The timelines of these servers; one of which nothing is known in the range has none. */
export async function readTimelines(
  db: TenantTx,
  serverIds: readonly ServerId[],
  range: HealthRange,
  { period, from, count }: Timeline,
): Promise<ServerTimeline[]> {
  const lengthMs = rollupPeriodMs[period];
  const facts = await factsOf(db, serverIds, range, { buckets: { origin: from, lengthMs }, longest: period });
  const lists = heldStates.map(state => {
    const column = sql.ref(`${state}_ms`);
    return sql`array_agg(coalesce(${column}, 0)::integer order by place) as ${column}`;
  });
  return db.many(
    planAnew(sql<ServerTimeline>`
      with sums as materialized (${addedWithoutTimes(facts)})
      select known.server_id as id, ${sql.join(lists)}
      from (select server_id from sums group by server_id having sum(${sql.join(
        heldStates.map(state => sql.ref(`${state}_ms`)),
        sql` + `,
      )}) > 0) known
      cross join generate_series(0, ${count - 1}::int) as place
      left join sums on sums.server_id = known.server_id
        and sums.bucket = ${from}::timestamptz + place * ${sql.lit(`${lengthMs / 1000} seconds`)}::interval
      group by known.server_id`),
  );
}
