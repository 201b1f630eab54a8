import type { OrganizationId, ServerId } from '../ids.ts';
import { type Sql, type SystemTx, sql, type TenantTx } from '../platform/db.ts';
import { unnest } from '../platform/unnest.ts';
import { type Collected, storeCollected } from '../rollups/store.ts';
import type { FormerServer } from '../servers/deletion-store.ts';

/** What a single check can have found. Unlike a server's health it may be `error`, and is never `unknown`. */
export const checkStatuses = ['healthy', 'degraded', 'critical', 'unreachable', 'error'] as const;
export type CheckStatus = (typeof checkStatuses)[number];

/** One check, as it goes into the history. */
export type HealthCheckRow = {
  organizationId: OrganizationId;
  serverId: ServerId;
  /** When the check started, by our clock. */
  at: Date;
  status: CheckStatus;
  reason: string;
  responseTimeMs: number | null;
  /** Null: the check did not tell. */
  databaseHealthy: boolean | null;
  redisHealthy: boolean | null;
  servicesHealthy: boolean | null;
  errorMessage: string | null;
  errorDetails: object | null;
};

/** Adds checks to the history, as `storeCollected`; a check of a time without a partition fails all (`isMissingPartition`). */
export async function insertHealthChecks(
  tx: SystemTx,
  rows: readonly HealthCheckRow[],
  isFirstTry = false,
): Promise<number> {
  if (rows.length === 0) return 0;
  const collected: Collected = {
    kind: 'health',
    table: 'server_health_checks',
    columns: healthCheckColumns,
    values: sql`r.*`,
    key: sql`organization_id, server_id, timestamp`,
    rows: healthCheckRows(rows),
    instants: rows.map(({ at }) => at),
  };
  return storeCollected(tx, collected, isFirstTry);
}

/** What is stored of a check, in the order of `healthCheckRows`. */
export const healthCheckColumns = sql`organization_id, server_id, timestamp, status, reason, response_time_ms,
  database_healthy, redis_healthy, services_healthy, error_message, error_details`;

/** Checks as a table `r` with these columns. */
export const healthCheckRows = (rows: readonly HealthCheckRow[]): Sql<unknown> =>
  sql`${unnest([
    ['uuid', rows.map(row => row.organizationId)],
    ['uuid', rows.map(row => row.serverId)],
    ['timestamptz', rows.map(row => row.at)],
    ['text', rows.map(row => row.status)],
    ['text', rows.map(row => row.reason)],
    ['integer', rows.map(row => row.responseTimeMs)],
    ['boolean', rows.map(row => row.databaseHealthy)],
    ['boolean', rows.map(row => row.redisHealthy)],
    ['boolean', rows.map(row => row.servicesHealthy)],
    ['text', rows.map(row => row.errorMessage)],
    ['jsonb', rows.map(row => (row.errorDetails === null ? null : JSON.stringify(row.errorDetails)))],
  ])} as r (${healthCheckColumns})`;

/** Deletes up to `limit` checks of a server, the oldest first, and returns how many. */
export function deleteHealthChecks(
  tx: SystemTx,
  { organizationId, serverId }: FormerServer,
  limit: number,
): Promise<number> {
  const isIts = sql`organization_id = ${organizationId} and server_id = ${serverId}`;
  return tx.execute(sql`
    delete from server_health_checks where ${isIts} and timestamp <= (
      select max(timestamp) from (
        select timestamp from server_health_checks where ${isIts} order by timestamp limit ${limit}) as oldest)`);
}

/** A check as the API shows it, built by PostgreSQL. Alias the table `c`. */
export const checkJson = sql`json_build_object(
  'id', c.id, 'server_id', c.server_id, 'timestamp', rfc3339(c.timestamp), 'status', c.status,
  'reason', c.reason, 'response_time_ms', c.response_time_ms, 'database_healthy', c.database_healthy,
  'redis_healthy', c.redis_healthy, 'services_healthy', c.services_healthy, 'error_message', c.error_message,
  'error_details', c.error_details, 'created_at', rfc3339(c.created_at))`;

/** Both bounds inclusive; null: open. */
export type HistoryQuery = { from: Date | null; to: Date | null; limit: number };

/** A page of history: its rows as JSON text, and whether the range holds more than `limit` of them. */
export type HistoryPage = { rows: string; count: number; truncated: boolean };

/** The newest checks of a range, newest first; null when the organization has no such server. */
export async function listHealthChecks(
  db: TenantTx,
  serverId: ServerId,
  { from, to, limit }: HistoryQuery,
): Promise<HistoryPage | null> {
  return db.maybeOne<HistoryPage>(sql`
    with page as materialized (
      select c.*, row_number() over (order by c.timestamp desc) as place
      from (
        select * from server_health_checks
        where organization_id = ${db.organizationId} and server_id = ${serverId}
          ${from === null ? sql`` : sql`and timestamp >= ${from}`} ${to === null ? sql`` : sql`and timestamp <= ${to}`}
        order by timestamp desc limit ${limit + 1}
      ) c
    )
    select
      coalesce((select json_agg(${checkJson} order by place) from page c where place <= ${limit}), '[]')::text as rows,
      least((select count(*) from page), ${limit})::int as count,
      (select count(*) from page) > ${limit} as truncated
    from managed_servers where organization_id = ${db.organizationId} and id = ${serverId}`);
}
