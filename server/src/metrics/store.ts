import type { OrganizationId, ServerId } from '../ids.ts';
import { planAnew, type Sql, type SystemTx, sql, type TenantTx } from '../platform/db.ts';
import { type Column, unnest } from '../platform/unnest.ts';
import type { RollupPeriod } from '../rollups/rollup.ts';
import { type Collected, storeCollected } from '../rollups/store.ts';
import type { FormerServer } from '../servers/deletion-store.ts';
import { type Metrics, metricEntries, type Period } from './metric.ts';
import { metricsRolledUntil, periodSums, sourcesOf, wholePeriods } from './period-sums.ts';
import { partName } from './sums.ts';

/** One collection, as it goes into the history. */
export type MetricsRow = {
  organizationId: OrganizationId;
  serverId: ServerId;
  /** When we asked, by our clock. */
  at: Date;
  metrics: Metrics;
  /** The server's own clock, where it told. */
  reportedAt: Date | null;
};

const fieldColumns = sql.join(metricEntries.map(([field]) => sql.ref(field)));

/** Adds collections to the history, as `storeCollected`; a row of a time without a partition fails all (`isMissingPartition`). */
export async function insertMetrics(
  tx: SystemTx,
  rows: readonly MetricsRow[],
  isFirstTry = false,
): Promise<number> {
  if (rows.length === 0) return 0;
  const collected: Collected = {
    kind: 'metrics',
    table: 'server_metrics_aggregated',
    columns: sql`organization_id, server_id, timestamp, period, reported_at, ${fieldColumns}`,
    values: sql`r.organization_id, r.server_id, r.timestamp, '1m', r.reported_at, ${fieldColumns}`,
    key: sql`organization_id, server_id, period, timestamp`,
    rows: asTable(rows),
    instants: rows.map(({ at }) => at),
  };
  return storeCollected(tx, collected, isFirstTry);
}

const asTable = (rows: readonly MetricsRow[]): Sql<unknown> =>
  sql`${unnest([
    ['uuid', rows.map(row => row.organizationId)],
    ['uuid', rows.map(row => row.serverId)],
    ['timestamptz', rows.map(row => row.at)],
    ['timestamptz', rows.map(row => row.reportedAt)],
    ...metricEntries.map(
      ([field, { column }]): Column => [column, rows.map(row => row.metrics[field] ?? null)],
    ),
  ])} as r (organization_id, server_id, timestamp, reported_at, ${fieldColumns})`;

/** Deletes up to `limit` rows of a server, and returns how many. */
export function deleteMetrics(
  tx: SystemTx,
  { organizationId, serverId }: FormerServer,
  limit: number,
): Promise<number> {
  const isIts = sql`organization_id = ${organizationId} and server_id = ${serverId}`;
  return tx.execute(sql`
    delete from server_metrics_aggregated where ${isIts} and (period, timestamp) in (
      select period, timestamp from server_metrics_aggregated where ${isIts} limit ${limit})`);
}

export type MetricsQuery = {
  period: Period;
  /** Both inclusive; null: open. */
  from: Date | null;
  to: Date | null;
  limit: number;
};

/** A page of history: its rows as JSON text, and whether the range holds more than `limit` of them. */
export type MetricsPage = { rows: string; count: number; truncated: boolean };

/** The newest rows of a range, newest first; null when the organization has no such server. */
export async function listMetrics(
  db: TenantTx,
  serverId: ServerId,
  query: MetricsQuery,
): Promise<MetricsPage | null> {
  const { period } = query;
  const rows =
    period === '1m' ? collectedRows(db, serverId, query) : await summedUpRows(db, serverId, query, period);
  const page = sql<MetricsPage>`
    with page as materialized (
      select r.*, row_number() over (order by r.timestamp desc) as place
      from (select * from (${rows}) all_rows order by timestamp desc limit ${query.limit + 1}) r
    )
    select
      coalesce((select json_agg(${rowJson(period)} order by place)
                from page r where place <= ${query.limit}), '[]')::text as rows,
      least((select count(*) from page), ${query.limit})::int as count,
      (select count(*) from page) > ${query.limit} as truncated
    from managed_servers where organization_id = ${db.organizationId} and id = ${serverId}`;
  return db.maybeOne(period === '1m' ? page : planAnew(page));
}

// trim_scale: a price is stored with six decimals and shown with as many as it has.
const rowJson = (period: Period): Sql<unknown> => sql`json_build_object(
  'id', r.id, 'server_id', r.server_id, 'timestamp', rfc3339(r.timestamp), 'period', ${period}::text,
  ${sql.join(
    metricEntries.map(([field, { column }]) => {
      const value = sql.ref(`r.${field}`);
      return sql`${sql.lit(field)}, ${column === 'numeric' ? sql`trim_scale(${value})` : value}`;
    }),
  )},
  'created_at', rfc3339(r.created_at))`;

const isAsked = (db: TenantTx, serverId: ServerId): Sql<unknown> =>
  sql`organization_id = ${db.organizationId} and server_id = ${serverId}`;

const collectedRows = (db: TenantTx, serverId: ServerId, { from, to }: MetricsQuery): Sql<unknown> => sql`
  select id, server_id, timestamp, created_at, ${fieldColumns} from server_metrics_aggregated
  where ${isAsked(db, serverId)} and period = '1m'
    ${from === null ? sql`` : sql`and timestamp >= ${from}`} ${to === null ? sql`` : sql`and timestamp <= ${to}`}`;

/** Of sums, what a period comes to: the mean of what goes up and down, and the last value of what only grows. */
const shown = sql.join(
  metricEntries.map(([field, { kind, decimals }]) =>
    kind === 'gauge'
      ? sql`round(${sql.ref(`${field}_sum`)} / nullif(${sql.ref(`${field}_count`)}, 0), ${sql.lit(decimals)}) as ${sql.ref(field)}`
      : sql`${sql.ref(`${field}_last`)} as ${sql.ref(field)}`,
  ),
);
const shownParts = [
  'newest_id',
  'newest_created_at',
  ...metricEntries.flatMap(([field, { kind }]) =>
    kind === 'gauge' ? [partName(field, 'sum'), partName(field, 'count')] : [partName(field, 'last')],
  ),
];

/** A range chooses the periods that begin in it, and those are whole; the newest may still be filling. */
async function summedUpRows(
  db: TenantTx,
  serverId: ServerId,
  { from, to }: MetricsQuery,
  period: RollupPeriod,
): Promise<Sql<unknown>> {
  const sources = sourcesOf(period, wholePeriods(period, { from, to }), await metricsRolledUntil(db));
  const asked = { organizationId: db.organizationId, servers: sql`${serverId}`, parts: shownParts };
  return sql`
    select newest_id as id, server_id, timestamp, newest_created_at as created_at, ${shown}
    from (${periodSums(period, sources, asked)}) sums`;
}
