import { isSelected, type NamedServer, type ServerSelection } from '../groups/selection.ts';
import type { OrganizationId, ServerId } from '../ids.ts';
import { toldOf } from '../organizations/retention.ts';
import { planAnew, type Sql, sql, type TenantTx } from '../platform/db.ts';
import { type MetricField, periodMs } from './metric.ts';
import { periodSums, type RolledUntil, sourcesOf } from './period-sums.ts';
import { type Across, acrossFunctions, decimalsOf, type Grid, type MetricValue } from './query.ts';
import { partName, sumsOfSums } from './sums.ts';

/** Which numbers of a field, in which periods. */
export type Reading = { field: MetricField; value: MetricValue; grid: Grid; rolledUntil: RolledUntil };

/** What a value is made of: the parts of a sum, and how, to the digit or, a little faster, as a float8. */
type Computed = { parts: string[]; exact: Sql<unknown>; rough: Sql<unknown> };

function computed(field: MetricField, value: MetricValue): Computed {
  const part = (name: Parameters<typeof partName>[1]) => partName(field, name);
  const ref = (name: Parameters<typeof partName>[1]): Sql<unknown> => sql.ref(part(name));
  switch (value) {
    case 'avg':
      return {
        parts: [part('sum'), part('count')],
        exact: sql`${ref('sum')} / nullif(${ref('count')}, 0)`,
        rough: sql`${ref('sum')}::float8 / nullif(${ref('count')}, 0)`,
      };
    case 'min':
    case 'max':
    case 'last':
      // By way of numeric, as 12.3 in a real is 12.300000190734863 in a float8.
      return {
        parts: [part(value)],
        exact: sql`${ref(value)}::numeric`,
        rough: sql`${ref(value)}::numeric::float8`,
      };
    case 'increase':
      return {
        parts: [part('increase'), part('covered_ms')],
        exact: sql`case when ${ref('covered_ms')} > 0 then ${ref('increase')} end`,
        rough: sql`case when ${ref('covered_ms')} > 0 then ${ref('increase')}::float8 end`,
      };
    case 'rate':
      return {
        parts: [part('increase'), part('covered_ms')],
        exact: sql`${ref('increase')} * 1000 / nullif(${ref('covered_ms')}, 0)`,
        rough: sql`${ref('increase')}::float8 * 1000 / nullif(${ref('covered_ms')}, 0)`,
      };
  }
}

const shown = (value: Sql<unknown>, decimals: number): Sql<unknown> =>
  sql`trim_scale(round((${value})::numeric, ${sql.lit(decimals)}))`;

function sumsOf(organizationId: OrganizationId, servers: Sql<unknown>, reading: Reading): Sql<unknown> {
  const { field, value, grid, rolledUntil } = reading;
  const { parts } = computed(field, value);
  return periodSums(grid.period, sourcesOf(grid.period, toldOf(grid, grid), rolledUntil), {
    organizationId,
    servers,
    parts,
  });
}

/**
 * A value for each period of the grid, by server, as the text of a JSON array with null where there is none. A server
 * without any is left out.
 */
export async function readSeries(
  db: TenantTx,
  servers: readonly NamedServer[],
  reading: Reading,
): Promise<Map<ServerId, string>> {
  const { field, value, grid } = reading;
  const sums = sumsOf(db.organizationId, sql`any(${servers.map(({ id }) => id)}::uuid[])`, reading);
  const lengthMs = sql.lit(periodMs(grid.period));
  const rows = await db.many(
    planAnew(sql<{ server_id: ServerId; values: string }>`
    select server_id, '[' || string_agg(repeat('null,', place - before - 1) || value, ',' order by place) ||
      repeat(',null', ${grid.count} - 1 - max(place)) || ']' as values
    from (
      select server_id, place, value, coalesce(lag(place) over (partition by server_id order by place), -1) as before
      from (
        select server_id, ${shown(computed(field, value).exact, decimalsOf(field, value))}::text as value,
          (extract(epoch from timestamp - ${grid.from}::timestamptz) * 1000 / ${lengthMs})::int as place
        from (${sums}) sums
      ) computed where value is not null
    ) placed group by server_id`),
  );
  return new Map(rows.map(row => [row.server_id, row.values]));
}

const acrossSql: Readonly<Record<Across, Sql<unknown>>> = {
  avg: sql`avg(value)`,
  sum: sql`sum(value)`,
  min: sql`min(value)`,
  max: sql`max(value)`,
  p50: sql`percentile_cont(0.5) within group (order by value)`,
  p95: sql`percentile_cont(0.95) within group (order by value)`,
  p99: sql`percentile_cont(0.99) within group (order by value)`,
  count: sql`count(value)`,
};

const decimalsAcross = (across: Across, { field, value }: Reading): number => {
  const decimals = decimalsOf(field, value);
  // What lies between two whole numbers is no whole number.
  return across === 'count' ? 0 : ['sum', 'min', 'max'].includes(across) ? decimals : Math.max(decimals, 2);
};

/** The selected servers as `chosen`, and what their ids are equal to. */
const chosen = (db: TenantTx, selection: ServerSelection): Sql<unknown> => sql`
  chosen as materialized (
    select s.id, s.name from managed_servers s where ${isSelected(db.organizationId, selection)})`;
const anyChosen = sql`any(array(select id from chosen))`;

/** The values of all selected servers, period by period, as one each: texts of JSON arrays. */
export async function readFleet(
  db: TenantTx,
  selection: ServerSelection,
  { across, ...reading }: Reading & { across: readonly Across[] },
): Promise<{ withData: number; series: Map<Across, string> }> {
  const { field, value, grid } = reading;
  const columns = across.map(
    each => sql`
      '[' || string_agg(coalesce(${shown(sql.ref(each), decimalsAcross(each, reading))}::text,
        ${sql.lit(each === 'count' ? '0' : 'null')}), ',' order by place) || ']' as ${sql.ref(each)}`,
  );
  const row = await db.one(
    planAnew(sql<{ with_data: number } & Partial<Record<Across, string>>>`
    with ${chosen(db, selection)},
    points as materialized (
      select server_id, timestamp, ${computed(field, value).rough} as value
      from (${sumsOf(db.organizationId, anyChosen, reading)}) sums),
    periods as (
      select timestamp, ${sql.join(across.map(each => sql`${acrossSql[each]} as ${sql.ref(each)}`))}
      from points group by timestamp)
    select (select count(*)::int from (
        select from points where value is not null group by server_id) with_data) as with_data,
      ${sql.join(columns)}
    from generate_series(0, ${grid.count - 1}::int) place
    left join periods on timestamp = ${grid.from}::timestamptz + place * ${`${periodMs(grid.period) / 1000} seconds`}::interval`),
  );
  return { withData: row.with_data, series: new Map(across.map(each => [each, row[each] as string])) };
}

/** Of a selection, the highest or lowest; or these servers. */
export type Listed = { top: { count: number; order: 'desc' | 'asc' } } | { servers: readonly NamedServer[] };

export type TotalsQuery = Reading & {
  listed: Listed;
  /** Over the servers' totals, and over every value of every period. */
  across: readonly Across[];
  acrossPeriods: readonly Across[];
};

/** One value of each server over all periods of the grid, as the text of a JSON array, and what they come to. */
export type Totals = {
  totals: string;
  withData: number;
  across: string | null;
  acrossPeriods: string | null;
};

export async function readTotals(
  db: TenantTx,
  selection: ServerSelection,
  { listed, across, acrossPeriods, ...reading }: TotalsQuery,
): Promise<Totals> {
  const { field, value, grid } = reading;
  const { parts, exact, rough } = computed(field, value);
  const decimals = decimalsOf(field, value);
  const isOfAll = 'top' in listed || across.length + acrossPeriods.length > 0;
  const servers = isOfAll ? anyChosen : sql`any(${ids(listed)}::uuid[])`;
  const list =
    'top' in listed
      ? sql`
        select id, name, t.value, row_number() over (order by t.value ${sql.raw(listed.top.order)}, name, id) as place
        from totals t join chosen on id = server_id where t.value is not null
        order by place limit ${listed.top.count}`
      : sql`
        select page.id, page.name, t.value, page.place
        from unnest(${ids(listed)}::uuid[], ${listed.servers.map(({ name }) => name)}::text[]) with ordinality as page (id, name, place)
        left join totals t on t.server_id = page.id`;
  return db.one(
    planAnew(sql<Totals>`
    with ${chosen(db, selection)},
    sums as ${acrossPeriods.length > 0 ? sql`materialized` : sql``} (${sumsOf(db.organizationId, servers, reading)}),
    totals as materialized (
      select server_id, ${exact} as value
      from (${sumsOfSums(sql`select * from sums`, () => sql`${grid.from}::timestamptz`, parts)}) whole)
    select
      coalesce((
        select json_agg(json_build_object('server_id', id, 'name', name, 'value', ${shown(sql`value`, decimals)}) order by place)
        from (${list}) listed), '[]')::text as totals,
      (select count(value)::int from totals) as "withData",
      ${acrossObject(across, reading, sql`select value::float8 as value from totals`)} as across,
      ${acrossObject(acrossPeriods, reading, sql`select ${rough} as value from sums`)} as "acrossPeriods"`),
  );
}

const ids = (listed: Listed): ServerId[] => ('servers' in listed ? listed.servers.map(({ id }) => id) : []);

function acrossObject(across: readonly Across[], reading: Reading, values: Sql<unknown>): Sql<unknown> {
  if (across.length === 0) return sql`null::text`;
  const entries = acrossFunctions
    .filter(each => across.includes(each))
    .map(each => sql`${sql.lit(each)}, ${shown(acrossSql[each], decimalsAcross(each, reading))}`);
  return sql`(select json_build_object(${sql.join(entries)})::text from (${values}) v)`;
}
