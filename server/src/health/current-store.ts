import type { ServerId } from '../ids.ts';
import { type Sql, sql, type TenantTx } from '../platform/db.ts';
import { checkJson } from './history.ts';

/** The newest check of the organization's server `s` that is told, as `json`: one row, or none. */
const newestCheck = (db: TenantTx, json: Sql<unknown>, readFrom: Date | null): Sql<unknown> => sql`
  select ${json} as json from server_health_checks c
  where c.organization_id = ${db.organizationId} and c.server_id = s.id
    ${readFrom === null ? sql`` : sql`and c.timestamp >= ${readFrom}`}
  order by c.timestamp desc limit 1`;

/** What is known of a server's health now, with its newest check, as JSON text; null when there is no such server. */
export async function currentHealth(
  db: TenantTx,
  serverId: ServerId,
  readFrom: Date | null,
): Promise<string | null> {
  const row = await db.maybeOne<{ json: string }>(sql`
    select json_build_object(
      'server_id', s.id, 'health_status', s.health_status, 'reason', s.health_reason, 'detail', s.health_detail,
      'since', rfc3339(s.health_since), 'suspect_since', rfc3339(s.suspect_since),
      'recovering_since', rfc3339(s.recovering_since), 'flapping_since', rfc3339(s.flapping_since),
      'breaker_opened_at', rfc3339(s.breaker_opened_at), 'components', s.components, 'last_seen_at', rfc3339(s.last_seen_at),
      'last_health_check_at', rfc3339(s.last_health_check_at), 'response_time_ms', s.response_time_ms,
      'latest_check', (${newestCheck(db, checkJson, readFrom)})
      )::text as json
    from managed_servers s where s.organization_id = ${db.organizationId} and s.id = ${serverId}`);
  return row?.json ?? null;
}

/** As much of a check as a wall of servers has place for. */
const shortCheckJson = sql`json_build_object(
  'timestamp', rfc3339(c.timestamp), 'status', c.status, 'reason', c.reason, 'response_time_ms', c.response_time_ms,
  'database_healthy', c.database_healthy, 'redis_healthy', c.redis_healthy, 'services_healthy', c.services_healthy,
  'error_message', c.error_message)`;

/** What is known of the health of these servers now, by name, with the newest check of each: the text of a JSON array. */
export async function currentHealthOf(
  db: TenantTx,
  serverIds: readonly ServerId[],
  readFrom: Date | null,
): Promise<string> {
  const { servers } = await db.one(sql<{ servers: string }>`
    select coalesce(json_agg(json_build_object(
        'server_id', s.id, 'name', s.name, 'health_status', s.health_status, 'reason', s.health_reason,
        'since', rfc3339(s.health_since), 'latest_check', newest.json) order by s.name, s.id), '[]')::text as servers
    from managed_servers s left join lateral (${newestCheck(db, shortCheckJson, readFrom)}) newest on true
    where s.organization_id = ${db.organizationId} and s.id = any(${serverIds}::uuid[])`);
  return servers;
}
