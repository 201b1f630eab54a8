import type { ServerId } from '../ids.ts';
import { sql, type TenantDb } from '../platform/db.ts';

/** What changes at every poll, of these servers, as JSON. Ids of other organizations are not there. */
export async function watchedServers(
  db: TenantDb,
  ids: readonly ServerId[],
): Promise<{ id: ServerId; json: string }[]> {
  return db.many(sql`
    select s.id, json_build_object(
      'id', s.id, 'status', s.status, 'health_status', s.health_status, 'health_reason', s.health_reason,
      'health_detail', s.health_detail, 'health_since', rfc3339(s.health_since),
      'suspect_since', rfc3339(s.suspect_since), 'recovering_since', rfc3339(s.recovering_since),
      'flapping_since', rfc3339(s.flapping_since), 'breaker_opened_at', rfc3339(s.breaker_opened_at),
      'last_seen_at', rfc3339(s.last_seen_at), 'last_health_check_at', rfc3339(s.last_health_check_at),
      'response_time_ms', s.response_time_ms, 'latest_metrics', s.latest_metrics,
      'last_metrics_at', rfc3339(s.last_metrics_at), 'metrics_reason', s.metrics_reason,
      'revision', s.revision)::text as json
    from managed_servers s
    where s.organization_id = ${db.organizationId} and s.id = any(${ids}::uuid[])`);
}
