import type { OrganizationId } from '../ids.ts';
import { type Sql, sql } from '../platform/db.ts';
import { type RollupPeriod, rollupPeriodMs } from '../rollups/rollup.ts';
import type { MetricField } from './metric.ts';
import { counterGapMs, counters, gauges, metricRollupTable } from './rollup.ts';

/** What a period's sum holds of each kind of field; each is a column, after the field's name. */
const gaugeParts = ['count', 'min', 'max', 'last', 'sum'] as const;
const counterParts = ['count', 'last', 'increase', 'covered_ms'] as const;
type FieldPart = (typeof gaugeParts)[number] | (typeof counterParts)[number];

/** One column of a sum, and how it comes about. */
type Part = {
  /** Of collections; null where it is of the growth from one to the next. */
  ofCollected: Sql<unknown> | null;
  /** Of such growth (`grown`, `covered_ms`) of its counter; null where it is of collections. */
  ofGrowth: Sql<unknown> | null;
  /** Of the sums of shorter periods. */
  ofSums: Sql<unknown>;
};

export const partName = (field: MetricField, part: FieldPart): string => `${field}_${part}`;

/** The newest value that was told. */
const lastOf = (value: Sql<unknown>): Sql<unknown> =>
  sql`(array_agg(${value} order by timestamp desc) filter (where ${value} is not null))[1]`;

const ofCollections = (ofCollected: Sql<unknown>, ofSums: Sql<unknown>): Part => ({
  ofCollected,
  ofGrowth: null,
  ofSums,
});

function fieldPart(field: MetricField, part: FieldPart): Part {
  const value = sql.ref(field);
  const column = sql.ref(partName(field, part));
  const ofCounter = sql`filter (where field = ${sql.lit(counters.indexOf(field))})`;
  switch (part) {
    case 'count':
      return ofCollections(sql`count(${value})::int`, sql`sum(${column})::int`);
    case 'min':
      return ofCollections(sql`min(${value})`, sql`min(${column})`);
    case 'max':
      return ofCollections(sql`max(${value})`, sql`max(${column})`);
    case 'last':
      return ofCollections(lastOf(value), lastOf(column));
    case 'sum':
      return ofCollections(sql`sum(${value}::numeric)`, sql`sum(${column})`);
    case 'increase':
      return { ofCollected: null, ofGrowth: sql`sum(grown) ${ofCounter}`, ofSums: sql`sum(${column})` };
    case 'covered_ms':
      return { ofCollected: null, ofGrowth: sql`sum(covered_ms) ${ofCounter}`, ofSums: sql`sum(${column})` };
  }
}

const parts: ReadonlyMap<string, Part> = new Map([
  ['newest_id', ofCollections(sql`max(id)`, sql`max(newest_id)`)],
  ['newest_created_at', ofCollections(sql`max(created_at)`, sql`max(newest_created_at)`)],
  ['samples', ofCollections(sql`count(*)::int`, sql`sum(samples)::int`)],
  ...gauges.flatMap(field =>
    gaugeParts.map(part => [partName(field, part), fieldPart(field, part)] as const),
  ),
  ...counters.flatMap(field =>
    counterParts.map(part => [partName(field, part), fieldPart(field, part)] as const),
  ),
]);

/** Every column of a sum but its key. */
export const allParts: readonly string[] = [...parts.keys()];

const partOf = (name: string): Part => {
  const part = parts.get(name);
  if (part === undefined) throw new Error(`there is no part ${name}`);
  return part;
};

const join = (expressions: readonly Sql<unknown>[]): Sql<unknown> => sql.join(expressions);
const columnsOf = (names: readonly string[]): Sql<unknown> => join(names.map(name => sql.ref(name)));

/** What is summed up, and where the period of an instant begins. */
export type Summed = {
  organizationId: OrganizationId;
  /** What their ids are equal to: `any(…)` of an array or a query. */
  servers: Sql<unknown>;
  /** The end is not in it; null: open. */
  from: Date | null;
  to: Date | null;
  bucketOf: (timestamp: Sql<unknown>) => Sql<unknown>;
};

const isSummed = ({ organizationId, servers, from, to }: Omit<Summed, 'bucketOf'>): Sql<unknown> => sql`
  organization_id = ${organizationId} and server_id = ${servers}
    ${from === null ? sql`` : sql`and timestamp >= ${from}`} ${to === null ? sql`` : sql`and timestamp < ${to}`}`;

export const counterGap = sql`${sql.lit(`${counterGapMs / 1000} seconds`)}::interval`;

/**
 * What was collected, summed up by server and period: a query with the columns server_id, timestamp (where the period
 * begins) and the parts of these names. A counter's growth counts where its next value was told.
 */
export function sumsOfCollected(summed: Summed, names: readonly string[]): Sql<unknown> {
  const fields = [...gauges, ...counters].filter(field => names.some(name => name.startsWith(`${field}_`)));
  const grown = counters.filter(field =>
    (['increase', 'covered_ms'] as const).some(part => names.includes(partName(field, part))),
  );
  const collected = sql`
    select server_id, timestamp, ${summed.bucketOf(sql`timestamp`)} as bucket, id, created_at, ${columnsOf(fields)}
    from server_metrics_aggregated where period = '1m' and ${isSummed(summed)}`;
  const select = names.map(name => sql`${partOf(name).ofCollected ?? sql`null`} as ${sql.ref(name)}`);
  if (grown.length === 0) {
    return sql`
      select server_id, bucket as timestamp, ${join(select)} from (${collected}) collected group by server_id, bucket`;
  }
  return sql`
    with collected as materialized (${collected}),
    summed as (select server_id, bucket, ${join(select)} from collected group by server_id, bucket),
    ${growth(summed.organizationId, grown)},
    -- Not a join: what it is of, PostgreSQL takes for few rows, and would compare each with each.
    parts as (
      select server_id, bucket, ${join(names.map(name => (partOf(name).ofGrowth === null ? sql.ref(name) : sql`null`)))}
      from summed
      union all
      select server_id, bucket, ${join(names.map(name => partOf(name).ofGrowth ?? sql`null`))}
      from grown group by server_id, bucket)
    select server_id, bucket as timestamp,
      ${join(names.map((name, index) => sql`max(${sql.ref(`value${index}`)}) as ${sql.ref(name)}`))}
    from parts as p (server_id, bucket, ${join(names.map((_, index) => sql.ref(`value${index}`)))})
    group by server_id, bucket`;
}

/** Of a collection `c`, the one of these counters with a number. */
export const counterOf = (index: Sql<unknown>, of: readonly MetricField[]): Sql<unknown> =>
  sql`case ${index} ${sql.join(
    of.map(field => sql`when ${sql.lit(counters.indexOf(field))} then ${sql.ref(`c.${field}`)}::numeric`),
    sql` `,
  )} end`;

/**
 * By how much each of these counters of `collected` grew from the value before, and over how much time. A counter is
 * looked up before the range only where it was told in it: one that is never told would have its whole past read each
 * time.
 */
function growth(organizationId: OrganizationId, of: readonly MetricField[]): Sql<unknown> {
  const told = of.map(field => sql`(${sql.lit(counters.indexOf(field))}, ${sql.ref(field)}::numeric)`);
  const earlierValue = counterOf(sql`s.field`, of);
  return sql`
    steps as (
      select server_id, bucket, timestamp, field, value,
        case when timestamp - lag(timestamp) over told_before <= ${counterGap}
             then lag(value) over told_before end as before,
        case when timestamp - lag(timestamp) over told_before <= ${counterGap}
             then lag(timestamp) over told_before end as since
      from collected cross join lateral (values ${sql.join(told)}) as told (field, value)
      where value is not null
      window told_before as (partition by server_id, field order by timestamp)),
    grown as (
      select s.server_id, s.bucket, s.field,
        case when s.value >= coalesce(s.before, earlier.value) then s.value - coalesce(s.before, earlier.value)
             when s.value < coalesce(s.before, earlier.value) then s.value else 0 end as grown,
        coalesce(extract(epoch from s.timestamp - coalesce(s.since, earlier.timestamp)) * 1000, 0)::int as covered_ms
      from steps s
      left join lateral (
        select c.timestamp, ${earlierValue} as value from server_metrics_aggregated c
        where s.before is null and c.organization_id = ${organizationId} and c.period = '1m' and c.server_id = s.server_id and c.timestamp < s.timestamp
          and c.timestamp >= s.timestamp - ${counterGap}
          and ${earlierValue} is not null
        order by c.timestamp desc limit 1
      ) earlier on true)`;
}

/** The sums that are stored of this length: a query with the columns server_id, timestamp and these parts. */
export const storedSums = (
  period: RollupPeriod,
  summed: Omit<Summed, 'bucketOf'>,
  names: readonly string[],
): Sql<unknown> => sql`
  select server_id, timestamp, ${join(names.map(name => sql`${storedPart(period, name)} as ${sql.ref(name)}`))}
  from ${sql.ref(metricRollupTable(period))} where ${isSummed(summed)}`;

/** Who summed up before the time was counted in which a counter grew left it empty: it was the whole period then. */
function storedPart(period: RollupPeriod, name: string): Sql<unknown> {
  const counter = counters.find(field => name === partName(field, 'covered_ms'));
  if (counter === undefined) return sql.ref(name);
  const increase = sql.ref(partName(counter, 'increase'));
  return sql`coalesce(${sql.ref(name)}, case when ${increase} is not null then ${sql.lit(rollupPeriodMs[period])} end)`;
}

/** Sums of shorter periods, summed up by server and period. */
export const sumsOfSums = (
  shorter: Sql<unknown>,
  bucketOf: Summed['bucketOf'],
  names: readonly string[],
): Sql<unknown> => sql`
  select server_id, ${bucketOf(sql`timestamp`)} as timestamp,
    ${join(names.map(name => sql`${partOf(name).ofSums} as ${sql.ref(name)}`))}
  from (${shorter}) shorter group by 1, 2`;
