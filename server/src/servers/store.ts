import type { HealthStatus } from '../events/event.ts';
import type { OrganizationId, ServerId } from '../ids.ts';
import { type Sql, sql, type TenantDb, type TenantTx } from '../platform/db.ts';
import { rememberDeleted } from './deletion-store.ts';
import type { AdapterName, ServerStatus } from './server.ts';
import { slotCount, slotOf } from './server.ts';

/**
 * A server as the API shows it, built by PostgreSQL: serialising 100 rows there costs a third of reading them
 * into objects and serialising those. (json_build_object costs twice as much as row_to_json.) Alias the table
 * `s`.
 */
const serverView = sql`(select
  s.id, s.organization_id, s.name, s.description, s.hostname, s.api_url, s.adapter, s.version, s.region,
  s.environment, s.status, s.health_status, s.health_reason, s.health_detail,
  rfc3339(s.health_since) as health_since, rfc3339(s.suspect_since) as suspect_since,
  rfc3339(s.recovering_since) as recovering_since, rfc3339(s.flapping_since) as flapping_since,
  rfc3339(s.breaker_opened_at) as breaker_opened_at, rfc3339(s.last_seen_at) as last_seen_at,
  rfc3339(s.last_health_check_at) as last_health_check_at, s.response_time_ms, s.components, s.latest_metrics,
  rfc3339(s.last_metrics_at) as last_metrics_at, s.metrics_reason, s.tags, s.metadata,
  s.health_interval_seconds, s.metrics_interval_seconds, s.revision,
  rfc3339(s.created_at) as created_at, rfc3339(s.updated_at) as updated_at)`;

/** The same as one JSON value. */
export const serverJson = sql`(select row_to_json(v) from ${serverView} v)`;

export type ServerRow = { json: string; revision: number };

export type NewServer = {
  id: ServerId;
  name: string;
  description: string | null;
  hostname: string;
  apiUrl: string;
  /** Keyed, so that it recognises the token and tells nothing about it. */
  tokenFingerprint: string;
  adapter: AdapterName;
  region: string | null;
  environment: string | null;
  tags: string[];
  metadata: Record<string, unknown>;
  healthIntervalSeconds: number | null;
  metricsIntervalSeconds: number | null;
  /** A pinned one, where not that of its id. */
  slot?: number;
  at: Date;
};

/** Inserts a server. Its sealed token follows in the same transaction. */
export async function insertServer(tx: TenantTx, server: NewServer): Promise<void> {
  await tx.execute(sql`
    insert into managed_servers (organization_id, id, name, description, hostname, api_url, api_token_hash, adapter,
      region, environment, tags, metadata, health_interval_seconds, metrics_interval_seconds, slot, health_since,
      created_at, updated_at)
    values (${tx.organizationId}, ${server.id}, ${server.name}, ${server.description}, ${server.hostname},
      ${server.apiUrl}, ${server.tokenFingerprint}, ${server.adapter}, ${server.region}, ${server.environment},
      ${JSON.stringify(server.tags)}, ${JSON.stringify(server.metadata)},
      ${server.healthIntervalSeconds}, ${server.metricsIntervalSeconds}, ${server.slot ?? slotOf(server.id)},
      ${server.at}, ${server.at}, ${server.at})`);
}

export async function findServer(db: TenantTx, id: ServerId): Promise<ServerRow | null> {
  return db.maybeOne<ServerRow>(sql`
    select ${serverJson}::text as json, s.revision from managed_servers s
    where s.organization_id = ${db.organizationId} and s.id = ${id}`);
}

export type ServerFilter = {
  status?: ServerStatus;
  healthStatus?: HealthStatus;
  region?: string;
  environment?: string;
  /** All of them, or any, must be on the server. */
  tags?: { match: 'all' | 'any'; values: string[] };
  /** Part of the name, host name, region or environment; case does not matter. */
  search?: string;
};

export const serverOrders = ['newest', 'name'] as const;
export type ServerOrder = (typeof serverOrders)[number];
/** Where a page starts: after the server with these values. */
export type ServerCursor = { key: string; id: ServerId };
export type ServerPage = { order: ServerOrder; limit: number; offset: number; after: ServerCursor | null };

const likePattern = (text: string): string => `%${text.replaceAll(/[\\%_]/g, String.raw`\$&`)}%`;

/** The conditions of a filter over the alias `s`, the organization first. */
export function serverConditions(organizationId: OrganizationId, filter: ServerFilter): Sql<unknown> {
  const conditions: Sql<unknown>[] = [sql`s.organization_id = ${organizationId}`];
  if (filter.status !== undefined) conditions.push(sql`s.status = ${filter.status}`);
  if (filter.healthStatus !== undefined) conditions.push(sql`s.health_status = ${filter.healthStatus}`);
  if (filter.region !== undefined) conditions.push(sql`s.region = ${filter.region}`);
  if (filter.environment !== undefined) conditions.push(sql`s.environment = ${filter.environment}`);
  if (filter.tags !== undefined) {
    conditions.push(
      filter.tags.match === 'all'
        ? sql`s.tags @> ${JSON.stringify(filter.tags.values)}::jsonb`
        : sql`s.tags ?| ${filter.tags.values}::text[]`,
    );
  }
  if (filter.search !== undefined) {
    const pattern = likePattern(filter.search);
    conditions.push(
      sql`(s.name ilike ${pattern} or s.hostname ilike ${pattern} or s.region ilike ${pattern} or s.environment ilike ${pattern})`,
    );
  }
  return sql.join(conditions, sql` and `);
}

/** One page: the JSON array of its servers, built by PostgreSQL, and where the next page starts. */
export async function listServers(
  db: TenantDb,
  filter: ServerFilter,
  page: ServerPage,
): Promise<{ servers: string; count: number; last: ServerCursor | null }> {
  const conditions = serverConditions(db.organizationId, filter);
  const order = page.order === 'newest' ? sql`s.created_at desc, s.id desc` : sql`s.name, s.id`;
  const key = page.order === 'newest' ? sql`s.created_at::text` : sql`s.name`;
  const after = page.after === null ? sql`true` : afterCondition(page.order, page.after);
  const row = await db.one<{ servers: string; count: number; key: string | null; id: ServerId | null }>(sql`
    select '[' || coalesce(string_agg(p.json, ','), '') || ']' as servers, count(*)::int as count,
           (array_agg(p.key))[count(*)] as key, (array_agg(p.id))[count(*)] as id
    from (
      select row_to_json(v)::text as json, s.key, s.id
      from (
        select s.*, ${key} as key from managed_servers s
        where ${conditions} and ${after}
        order by ${order} limit ${page.limit} offset ${page.offset}
      ) s cross join lateral ${serverView} v
    ) p`);
  const { key: lastKey, id } = row;
  return {
    servers: row.servers,
    count: row.count,
    last: lastKey === null || id === null ? null : { key: lastKey, id },
  };
}

/** Those of the ids that are servers of the organization. */
export async function knownServers(db: TenantTx, ids: readonly ServerId[]): Promise<Set<ServerId>> {
  const rows = await db.many<{ id: ServerId }>(sql`
    select id from managed_servers where organization_id = ${db.organizationId} and id = any(${ids}::uuid[])`);
  return new Set(rows.map(row => row.id));
}

/** How many servers match. */
export async function countServers(db: TenantDb, filter: ServerFilter): Promise<number> {
  const row = await db.one<{ count: number }>(sql`
    select count(*)::int as count from managed_servers s where ${serverConditions(db.organizationId, filter)}`);
  return row.count;
}

/** Whether a server (alias `s`) comes after another one in an order. */
export function afterCondition(order: ServerOrder, after: ServerCursor): Sql<unknown> {
  return order === 'newest'
    ? sql`(s.created_at, s.id) < (${after.key}::timestamptz, ${after.id}::uuid)`
    : sql`(s.name, s.id) > (${after.key}, ${after.id}::uuid)`;
}

export type ServerSettings = {
  name: string;
  hostname: string;
  api_url: string;
  adapter: AdapterName;
  status: ServerStatus;
  revision: number;
};

/** The settings of a server, locked until the end of the transaction. */
export async function lockServer(tx: TenantTx, id: ServerId): Promise<ServerSettings | null> {
  return tx.maybeOne<ServerSettings>(sql`
    select name, hostname, api_url, adapter, status, revision from managed_servers
    where organization_id = ${tx.organizationId} and id = ${id} for no key update`);
}

export type ServerChanges = Partial<{
  name: string;
  description: string | null;
  hostname: string;
  api_url: string;
  api_token_hash: string;
  adapter: AdapterName;
  region: string | null;
  environment: string | null;
  tags: string[];
  metadata: Record<string, unknown>;
  health_interval_seconds: number | null;
  metrics_interval_seconds: number | null;
  status: ServerStatus;
  slot: number;
}>;

/**
 * Writes changed settings. Pausing a server also says that its health is not known any more, and resuming it
 * or asking it elsewhere or otherwise that it has not been checked yet: nothing stale is left to be believed.
 */
export async function updateServer(
  tx: TenantTx,
  id: ServerId,
  changes: ServerChanges,
  at: Date,
): Promise<void> {
  const assignments: Sql<unknown>[] = [sql`revision = revision + 1`, sql`updated_at = ${at}`];
  for (const [column, value] of Object.entries(changes)) {
    const stored =
      column === 'tags' || column === 'metadata' ? sql`${JSON.stringify(value)}::jsonb` : sql`${value}`;
    assignments.push(sql`${sql.ref(column)} = ${stored}`);
  }
  const { status, api_url: apiUrl, adapter } = changes;
  if (status !== undefined || apiUrl !== undefined || adapter !== undefined) {
    const newStatus = status === undefined ? sql`status` : sql`${status}`;
    assignments.push(
      sql`health_status = 'unknown'`,
      sql`health_reason = case when ${newStatus} = 'active' then 'not_checked' else 'paused' end`,
      sql`health_detail = null`,
      sql`health_since = ${at}`,
      sql`consecutive_failures = 0`,
      sql`consecutive_successes = 0`,
      sql`recent_results = 0`,
      sql`known_results = 0`,
      sql`suspect_since = null`,
      sql`recovering_since = null`,
      sql`flapping_since = null`,
      sql`breaker_opened_at = null`,
    );
  }
  await tx.execute(sql`
    update managed_servers set ${sql.join(assignments)}
    where organization_id = ${tx.organizationId} and id = ${id}`);
}

/**
 * Deletes a server with its memberships and token. Its history can no longer be seen, and `clearHistory` deletes it.
 * Returns its name, or null when there was none.
 */
export async function deleteServer(tx: TenantTx, id: ServerId): Promise<string | null> {
  const row = await tx.maybeOne<{ name: string }>(sql`
    delete from managed_servers where organization_id = ${tx.organizationId} and id = ${id} returning name`);
  if (row !== null) await rememberDeleted(tx, id);
  return row?.name ?? null;
}

/** The server in a pinned slot, else the oldest one with a tag that is pinned nowhere. */
export async function findPinnedServer(
  db: TenantDb,
  { slot, tag }: { slot: number; tag: string },
): Promise<{ id: ServerId; name: string; apiUrl: string; slot: number } | null> {
  return db.maybeOne(sql`
    select id, name, api_url as "apiUrl", slot from managed_servers
    where organization_id = ${db.organizationId}
      and (slot = ${slot} or (slot < ${slotCount} and tags @> ${JSON.stringify([tag])}::jsonb))
    order by slot = ${slot} desc, created_at, id limit 1`);
}

/** The eleven counts of the seed, and `unknown_servers`; the same keys for an empty organization. */
export async function fleetSummary(db: TenantDb): Promise<string> {
  const row = await db.one<{ json: string }>(sql`
    select row_to_json(v)::text as json from v_fleet_summary v where v.organization_id = ${db.organizationId}`);
  return row.json;
}
