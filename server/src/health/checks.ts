import type { JobId, OrganizationId, ServerId } from '../ids.ts';
import { type SystemDb, sql, type TenantDb, type TenantTx } from '../platform/db.ts';

/** A check somebody asked for, and how far it is. Built in SQL; `finished` tells whether all have answered. */
export type JobProgress = {
  id: JobId;
  requestedAt: Date;
  total: number;
  checked: number;
  finished: boolean;
  counts: Record<'healthy' | 'degraded' | 'critical' | 'unreachable' | 'error', number>;
};

export async function insertJob(
  tx: TenantTx,
  job: { id: JobId; requestedAt: Date; serverIds: readonly ServerId[] },
): Promise<void> {
  await tx.execute(sql`
    insert into health_check_jobs (organization_id, id, server_ids, requested_at)
    values (${tx.organizationId}, ${job.id}, ${job.serverIds}::uuid[], ${job.requestedAt})`);
}

/** How long somebody can ask how a job went. */
const jobLifetimeMs = 86_400_000;

/** Deletes the jobs that nobody can want to hear of any more, and returns how many. */
export async function forgetOldJobs(db: SystemDb, now: Date): Promise<number> {
  const before = new Date(now.getTime() - jobLifetimeMs);
  return db.execute(sql`delete from health_check_jobs where requested_at < ${before}`);
}

/** The servers of the organization that are polled at all. */
export async function activeServers(db: TenantTx): Promise<ServerId[]> {
  const rows = await db.many<{ id: ServerId }>(sql`
    select id from managed_servers where organization_id = ${db.organizationId} and status = 'active'`);
  return rows.map(row => row.id);
}

// The first check of each named server that started when the job was asked for or later. A server deleted
// since then is not waited for.
const firstChecks = (organizationId: OrganizationId, id: JobId) => sql`
  select s.id as server_id, s.status as server_status, c.timestamp, c.status, c.reason, c.response_time_ms, c.error_message
  from health_check_jobs j
  cross join lateral unnest(j.server_ids) as wanted (id)
  join managed_servers s on s.organization_id = j.organization_id and s.id = wanted.id
  left join lateral (
    select h.timestamp, h.status, h.reason, h.response_time_ms, h.error_message
    from server_health_checks h
    where h.organization_id = ${organizationId} and h.server_id = s.id and h.timestamp >= j.requested_at
    order by h.timestamp limit 1
  ) c on true
  where j.organization_id = ${organizationId} and j.id = ${id}`;

/** Null when the organization has no such job. */
export async function findJob(db: TenantDb, id: JobId): Promise<JobProgress | null> {
  const row = await db.maybeOne<
    { requested_at: Date; total: number; checked: number; outstanding: number } & JobProgress['counts']
  >(sql`
    with checks as (${firstChecks(db.organizationId, id)})
    select j.requested_at, count(c.server_id)::int as total, count(c.status)::int as checked,
      (count(c.server_id) filter (where c.status is null and c.server_status = 'active'))::int as outstanding,
      (count(*) filter (where c.status = 'healthy'))::int as healthy,
      (count(*) filter (where c.status = 'degraded'))::int as degraded,
      (count(*) filter (where c.status = 'critical'))::int as critical,
      (count(*) filter (where c.status = 'unreachable'))::int as unreachable,
      (count(*) filter (where c.status = 'error'))::int as error
    from health_check_jobs j left join checks c on true
    where j.organization_id = ${db.organizationId} and j.id = ${id}
    group by j.requested_at`);
  if (row === null) return null;
  const { healthy, degraded, critical, unreachable, error } = row;
  return {
    id,
    requestedAt: row.requested_at,
    total: row.total,
    checked: row.checked,
    finished: row.outstanding === 0,
    counts: { healthy, degraded, critical, unreachable, error },
  };
}

/** Results of a job so far, as the JSON of an array in the seed's shape, by server id. */
export async function jobResults(
  db: TenantDb,
  id: JobId,
  page: { limit: number; offset: number },
): Promise<string> {
  const row = await db.one<{ json: string }>(sql`
    with checks as (${firstChecks(db.organizationId, id)}),
    page as (
      select * from checks where status is not null order by server_id limit ${page.limit} offset ${page.offset}
    )
    select coalesce(json_agg(${checkJson} order by server_id), '[]')::text as json from page c`);
  return row.json;
}

const checkJson = sql`json_strip_nulls(json_build_object(
  'server_id', c.server_id, 'status', c.status, 'reason', c.reason, 'response_time_ms', c.response_time_ms,
  'timestamp', rfc3339(c.timestamp), 'error', c.error_message))`;

/** The first check of a server that started at `since` or later, in the seed's shape; null while there is none. */
export async function checkSince(db: TenantDb, serverId: ServerId, since: Date): Promise<string | null> {
  const row = await db.maybeOne<{ json: string }>(sql`
    select ${checkJson}::text as json from server_health_checks c
    where c.organization_id = ${db.organizationId} and c.server_id = ${serverId} and c.timestamp >= ${since}
    order by c.timestamp limit 1`);
  return row?.json ?? null;
}

/** How the last collection of metrics at `since` or later went; null while there is none. */
export async function collectionSince(db: TenantDb, serverId: ServerId, since: Date): Promise<string | null> {
  const row = await db.maybeOne<{ reason: string }>(sql`
    select metrics_reason as reason from managed_servers
    where organization_id = ${db.organizationId} and id = ${serverId} and metrics_attempted_at >= ${since}`);
  return row?.reason ?? null;
}

/** The status of a server, or null when there is none. */
export async function statusOf(db: TenantDb, serverId: ServerId): Promise<string | null> {
  const row = await db.maybeOne<{ status: string }>(sql`
    select status from managed_servers where organization_id = ${db.organizationId} and id = ${serverId}`);
  return row?.status ?? null;
}
