import type { EventFacts, HealthStatus } from '../events/event.ts';
import { appendForAll } from '../events/outbox.ts';
import type { Component } from '../health/check.ts';
import type { FlappingChange, HealthState, StatusChange } from '../health/evaluate.ts';
import type { JobId, OrganizationId, ServerId } from '../ids.ts';
import type { MetricField } from '../metrics/metric.ts';
import { type Sql, type SystemDb, type SystemTx, sql } from '../platform/db.ts';
import { unnest } from '../platform/unnest.ts';
import type { AdapterName } from '../servers/server.ts';
import type { ServerKey } from './roster.ts';

/** A server as the poller loads it: its settings and what was believed of it last. */
export type PolledServer = {
  organizationId: OrganizationId;
  id: ServerId;
  slot: number;
  name: string;
  apiUrl: string;
  region: string | null;
  adapter: AdapterName;
  /** How far apart its polls are; null: as the installation's. */
  intervalMs: { health: number | null; metrics: number | null };
  state: HealthState;
  /** When its metrics were asked for last, whatever came of it. */
  metricsAttemptedAt: Date | null;
};

/** Whether the one is asked where and how the other is. */
export const isAskedLike = (one: PolledServer, other: PolledServer): boolean =>
  one.apiUrl === other.apiUrl && one.adapter === other.adapter;

type Row = {
  organization_id: OrganizationId;
  id: ServerId;
  slot: number;
  name: string;
  api_url: string;
  region: string | null;
  adapter: AdapterName;
  health_interval_seconds: number | null;
  metrics_interval_seconds: number | null;
  health_status: HealthStatus;
  health_reason: string;
  health_detail: string | null;
  health_since: Date;
  last_seen_at: Date | null;
  last_health_check_at: Date | null;
  consecutive_failures: number;
  consecutive_successes: number;
  recent_results: number;
  known_results: number;
  suspect_since: Date | null;
  recovering_since: Date | null;
  flapping_since: Date | null;
  breaker_opened_at: Date | null;
  metrics_attempted_at: Date | null;
};

const columns = sql`organization_id, id, slot, name, api_url, region, adapter, health_interval_seconds,
  metrics_interval_seconds, health_status, health_reason, health_detail, health_since, last_seen_at,
  last_health_check_at, consecutive_failures, consecutive_successes, recent_results, known_results, suspect_since,
  recovering_since, flapping_since, breaker_opened_at, metrics_attempted_at`;

const inMs = (seconds: number | null): number | null => (seconds === null ? null : 1_000 * seconds);

const toServer = (row: Row): PolledServer => ({
  organizationId: row.organization_id,
  id: row.id,
  slot: row.slot,
  name: row.name,
  apiUrl: row.api_url,
  region: row.region,
  adapter: row.adapter,
  intervalMs: {
    health: inMs(row.health_interval_seconds),
    metrics: inMs(row.metrics_interval_seconds),
  },
  state: {
    status: row.health_status,
    reason: row.health_reason,
    detail: row.health_detail,
    since: row.health_since,
    lastCheckedAt: row.last_health_check_at,
    lastSeenAt: row.last_seen_at,
    consecutiveFailures: row.consecutive_failures,
    consecutiveSuccesses: row.consecutive_successes,
    recentResults: row.recent_results,
    knownResults: row.known_results,
    suspectSince: row.suspect_since,
    recoveringSince: row.recovering_since,
    flappingSince: row.flapping_since,
    breakerOpenedAt: row.breaker_opened_at,
  },
  metricsAttemptedAt: row.metrics_attempted_at,
});

/** The servers of these slots that are to be polled. */
export async function loadSlots(db: SystemDb, slots: readonly number[]): Promise<PolledServer[]> {
  const rows = await db.many<Row>(sql`
    select ${columns} from managed_servers where slot = any(${slots}::smallint[]) and status = 'active'`);
  return rows.map(toServer);
}

/** These servers again, as far as they are still to be polled. */
export async function loadServers(db: SystemTx, keys: readonly ServerKey[]): Promise<PolledServer[]> {
  const rows = await db.many<Row>(sql`
    select ${columns} from managed_servers
    where (organization_id, id) in ${unnest([
      ['uuid', keys.map(key => key.organizationId)],
      ['uuid', keys.map(key => key.id)],
    ])}
      and status = 'active'`);
  return rows.map(toServer);
}

/**
 * The same, and nobody changes them before the end of the transaction. One organization after the other, in one order: a
 * lock is of one machine, where they are spread over several.
 */
export async function lockServers(tx: SystemTx, keys: readonly ServerKey[]): Promise<PolledServer[]> {
  const rows: Row[] = [];
  const byOrganization = Map.groupBy(keys, key => key.organizationId);
  for (const [organizationId, servers] of [...byOrganization].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    const ids = servers.map(({ id }) => id);
    rows.push(
      ...(await tx.many<Row>(sql`
        select ${columns} from managed_servers
        where organization_id = ${organizationId} and id = any(${ids}::uuid[]) and status = 'active'
        for no key update`)),
    );
  }
  return rows.map(toServer);
}

/** The servers somebody asked to have checked. */
export async function loadJobServers(
  db: SystemDb,
  organizationId: OrganizationId,
  id: JobId,
): Promise<ServerId[]> {
  const row = await db.maybeOne<{ server_ids: ServerId[] }>(sql`
    select server_ids::text[] as server_ids from health_check_jobs
    where organization_id = ${organizationId} and id = ${id}`);
  return row?.server_ids ?? [];
}

/** What a health check changed, ready to be written. */
export type HealthWrite = {
  organizationId: OrganizationId;
  id: ServerId;
  name: string;
  slot: number;
  epoch: number;
  /** Counts this worker's results: with the epoch it orders all writes to a server. */
  seq: number;
  state: HealthState;
  /** Null: this check said nothing about them; what is stored stays. */
  components: Readonly<Record<string, Component>> | null;
  version: string | null;
  responseTimeMs: number | null;
  changes: readonly HealthChange[];
};

/** What became true at `at`, in the order in which it is told. */
export type HealthChange = (StatusChange | FlappingChange) & { at: Date };

/** The event that tells of a change. */
export function eventOf({ id, name }: HealthWrite, change: HealthChange): EventFacts {
  if ('from' in change) {
    const { at: _at, ...facts } = change;
    return { type: 'server.health_changed', subject: id, data: { ...facts, name } };
  }
  const type = change.isFlapping ? 'server.flapping_started' : 'server.flapping_stopped';
  return { type, subject: id, data: { name, percent: Math.round(10 * change.percent) / 10 } };
}

/**
 * Writes states and the events of their changes, all or none. A server whose slot has been leased anew belongs to
 * another worker, which may have read its state already; one that is paused or gone is nobody's, and one that has
 * our number already was written by a try whose commit we did not hear of: none is touched, and no event is
 * written for it. Returns how many states were written.
 */
export async function writeHealth(db: SystemDb, writes: readonly HealthWrite[], at: Date): Promise<number> {
  // Nearly always: one statement then, and not a transaction of several, each of which waits for a busy event loop.
  const isQuiet = writes.every(({ changes }) => changes.length === 0);
  return isQuiet ? db.execute(stateUpdate(writes)) : db.transaction(tx => writeHealthIn(tx, writes, at));
}

/** The same, inside a transaction of the caller's. */
export async function writeHealthIn(tx: SystemTx, writes: readonly HealthWrite[], at: Date): Promise<number> {
  const rows = await tx.many<{ id: ServerId }>(sql`${stateUpdate(writes)} returning s.id`);
  const written = new Set(rows.map(row => row.id));
  const events = writes
    .filter(({ id }) => written.has(id))
    .flatMap(write =>
      write.changes.map(change => ({
        organizationId: write.organizationId,
        event: eventOf(write, change),
      })),
    );
  await appendForAll(tx, at, events);
  return written.size;
}

function stateUpdate(writes: readonly HealthWrite[]): Sql<unknown> {
  // Nobody can claim one of the slots before the commit: a claim locks the row for update, which waits for a key
  // share lock. A renewal does not.
  return sql`
    with leases as materialized (
      select slot, epoch from poll_slots where slot = any(${[...new Set(writes.map(w => w.slot))]}::smallint[])
      for key share
    )
    update managed_servers s set
      health_status = w.status, health_reason = w.reason, health_detail = w.detail, health_since = w.since,
      last_seen_at = w.last_seen_at, last_health_check_at = w.checked_at, response_time_ms = w.response_time_ms,
      consecutive_failures = w.failures, consecutive_successes = w.successes, recent_results = w.recent,
      known_results = w.known, suspect_since = w.suspect_since, recovering_since = w.recovering_since,
      flapping_since = w.flapping_since, breaker_opened_at = w.breaker_opened_at,
      components = coalesce(w.components, s.components), version = coalesce(w.version, s.version),
      poll_epoch = w.epoch, poll_seq = w.seq
    from ${unnest([
      ['uuid', writes.map(w => w.organizationId)],
      ['uuid', writes.map(w => w.id)],
      ['smallint', writes.map(w => w.slot)],
      ['bigint', writes.map(w => w.epoch)],
      ['bigint', writes.map(w => w.seq)],
      ['text', writes.map(w => w.state.status)],
      ['text', writes.map(w => w.state.reason)],
      ['text', writes.map(w => w.state.detail)],
      ['timestamptz', writes.map(w => w.state.since)],
      ['timestamptz', writes.map(w => w.state.lastSeenAt)],
      ['timestamptz', writes.map(w => w.state.lastCheckedAt)],
      ['integer', writes.map(w => w.responseTimeMs)],
      ['integer', writes.map(w => w.state.consecutiveFailures)],
      ['integer', writes.map(w => w.state.consecutiveSuccesses)],
      ['integer', writes.map(w => w.state.recentResults)],
      ['smallint', writes.map(w => w.state.knownResults)],
      ['timestamptz', writes.map(w => w.state.suspectSince)],
      ['timestamptz', writes.map(w => w.state.recoveringSince)],
      ['timestamptz', writes.map(w => w.state.flappingSince)],
      ['timestamptz', writes.map(w => w.state.breakerOpenedAt)],
      ['json', writes.map(w => (w.components === null ? null : JSON.stringify(w.components)))],
      ['text', writes.map(w => w.version)],
    ])} as w (organization_id, id, slot, epoch, seq, status, reason, detail, since, last_seen_at, checked_at,
              response_time_ms, failures, successes, recent, known, suspect_since, recovering_since,
              flapping_since, breaker_opened_at, components, version)
    left join leases on leases.slot = w.slot
    where s.organization_id = w.organization_id and s.id = w.id and s.status = 'active'
      and w.epoch >= coalesce(leases.epoch, 0) and (s.poll_epoch, s.poll_seq) < (w.epoch, w.seq)`;
}

export type MetricsWrite = {
  organizationId: OrganizationId;
  id: ServerId;
  epoch: number;
  at: Date;
  /** Null: the collection failed, for the reason given; the last values stay, with their age. */
  metrics: Partial<Record<MetricField, number>> | null;
  reason: string;
};

/** Writes the latest metrics of servers, under the same fence as their health. */
export async function writeMetrics(db: SystemDb, writes: readonly MetricsWrite[]): Promise<number> {
  return db.execute(sql`
    update managed_servers s set
      latest_metrics = coalesce(w.metrics, s.latest_metrics),
      last_metrics_at = case when w.metrics is null then s.last_metrics_at else w.at end,
      metrics_reason = w.reason, metrics_attempted_at = w.at
    from ${unnest([
      ['uuid', writes.map(w => w.organizationId)],
      ['uuid', writes.map(w => w.id)],
      ['bigint', writes.map(w => w.epoch)],
      ['timestamptz', writes.map(w => w.at)],
      ['json', writes.map(w => (w.metrics === null ? null : JSON.stringify(w.metrics)))],
      ['text', writes.map(w => w.reason)],
    ])} as w (organization_id, id, epoch, at, metrics, reason)
    where s.organization_id = w.organization_id and s.id = w.id and s.poll_epoch <= w.epoch and s.status = 'active'`);
}
