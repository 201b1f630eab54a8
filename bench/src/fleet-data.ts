import { newId, type OrganizationId, type ServerId } from '../../server/src/ids.ts';
import { type Database, openDatabase, sql } from '../../server/src/platform/db.ts';
import { createLog } from '../../server/src/platform/log.ts';
import { slotOf } from '../../server/src/servers/server.ts';
import type { ControlPlane } from './control-plane.ts';
import { healthBody, metricsBody } from './simulator/answers.ts';

/** A fleet that exists in the tables alone: for what reads and writes them, without anybody being polled. */
export type FleetData = { db: Database; organizationId: OrganizationId; serverIds: readonly ServerId[] };

/** Filling a month of history is one statement. */
const STATEMENT_TIMEOUT_MS = 600_000;

/**
 * Puts servers that look as if they had just been polled into the organization `default` of a control plane
 * that does not poll (OPSFLEET_ROLE=api), and runs `use` on a connection pool to its database.
 */
export async function withFleetData<T>(
  controlPlane: ControlPlane,
  servers: number,
  use: (data: FleetData) => Promise<T>,
): Promise<T> {
  const db = openDatabase({
    connection: controlPlane.database,
    poolSize: 2,
    statementTimeoutMs: STATEMENT_TIMEOUT_MS,
    log: createLog({ level: 'warn' }),
  });
  try {
    const { id } = await db.system.one(
      sql<{ id: OrganizationId }>`select id from organizations where name = 'default'`,
    );
    const serverIds = await insertServers(db, id, servers);
    return await use({ db, organizationId: id, serverIds });
  } finally {
    await db.close();
  }
}

async function insertServers(
  db: Database,
  organizationId: OrganizationId,
  count: number,
): Promise<ServerId[]> {
  const now = new Date();
  const ids = Array.from({ length: count }, () => newId<ServerId>(now.getTime()));
  await db.system.execute(sql`
    insert into managed_servers (organization_id, id, name, hostname, api_url, api_token_hash, region, environment,
      tags, slot, health_status, health_reason, health_since, components, last_seen_at, last_health_check_at,
      response_time_ms, latest_metrics, last_metrics_at, metrics_reason, created_at, updated_at)
    select ${organizationId}, n.id, 'server-' || n.i, 'host-' || n.i || '.example.net',
      'https://host-' || n.i || '.example.net', md5(n.id::text), 'region-' || n.i % 5,
      case when n.i % 10 = 0 then 'staging' else 'production' end, '["linux", "web"]', n.slot,
      'healthy', 'ok', ${now}, ${healthBody(false)}::jsonb, ${now}, ${now}, 12, n.metrics, ${now}, 'ok', ${now}, ${now}
    from unnest(${ids}::uuid[], ${ids.map((_, index) => index)}::int[], ${ids.map(slotOf)}::int[],
      ${ids.map((_, index) => metricsBody(index, 3_600, false))}::jsonb[]) as n (id, i, slot, metrics)`);
  await db.system.execute(sql`vacuum analyze managed_servers`);
  return ids;
}
