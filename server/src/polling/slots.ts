import { type Conditions, mergeConditions, workerConditions } from '../conditions/condition.ts';
import { reconcileConditions } from '../conditions/store.ts';
import { appendForAll } from '../events/outbox.ts';
import type { WorkerId } from '../ids.ts';
import { installation } from '../ids.ts';
import { advisoryLocks } from '../platform/advisory-locks.ts';
import { type SystemDb, type SystemTx, sql } from '../platform/db.ts';
import { slotCount } from '../servers/server.ts';

/** A lease: this worker polls the servers of the slot and writes with the epoch. */
export type Lease = { slot: number; epoch: number };

/** Expiry is judged by the database's clock alone; workers' clocks may differ. */
export const leaseMs = 15_000;
export const heartbeatMs = 5_000;

/** How many slots a worker should hold when `workers` share them; the first ones take the remainder. */
export function fairShare(workers: number, rank: number): number {
  const even = Math.floor(slotCount / workers);
  return even + (rank < slotCount % workers ? 1 : 0);
}

/** Renews this worker's leases. Returns those it really still holds. */
export async function renewLeases(db: SystemDb, owner: WorkerId): Promise<Lease[]> {
  return db.many<Lease>(sql`
    update poll_slots set expires_at = now() + ${leaseMs} * interval '1 millisecond'
    where owner = ${owner} returning slot, epoch`);
}

/** Leases up to `count` slots that nobody holds. Each claim gets a higher epoch than any before it. */
export async function claimSlots(db: SystemTx, owner: WorkerId, count: number): Promise<Lease[]> {
  if (count <= 0) return [];
  return db.many<Lease>(sql`
    with free as materialized (
      select slot from poll_slots where instance is null and (owner is null or expires_at < now())
      order by slot limit ${count} for update skip locked
    )
    update poll_slots p
    set owner = ${owner}, epoch = nextval('poll_epoch_seq'), expires_at = now() + ${leaseMs} * interval '1 millisecond'
    from free
    where p.slot = free.slot
    returning p.slot, p.epoch`);
}

/**
 * Leases the slot that is pinned to an installation, if it has one and the worker does not hold it. No living
 * process but this one may act for the installation: whoever holds it is dead, and no expiry is waited for.
 */
export async function claimPinnedSlot(db: SystemDb, owner: WorkerId, instance: string): Promise<Lease[]> {
  return db.many<Lease>(sql`
    with pinned as materialized (
      select slot from poll_slots where instance = ${instance} and owner is distinct from ${owner} for update
    )
    update poll_slots p
    set owner = ${owner}, epoch = nextval('poll_epoch_seq'), expires_at = now() + ${leaseMs} * interval '1 millisecond'
    from pinned where p.slot = pinned.slot
    returning p.slot, p.epoch`);
}

/** The number of the slot that is pinned to an installation; makes it where there is none. */
export async function ensurePinnedSlot(db: SystemDb, instance: string): Promise<number> {
  return db.transaction(async tx => {
    // Two at once would take the same number.
    await tx.execute(sql`select pg_advisory_xact_lock(${advisoryLocks.pinning})`);
    await tx.execute(sql`
      insert into poll_slots (slot, instance) select max(slot) + 1, ${instance} from poll_slots
      on conflict (instance) do nothing`);
    const { slot } = await tx.one<{ slot: number }>(sql`
      select slot from poll_slots where instance = ${instance}`);
    return slot;
  });
}

/** Gives slots back, and says so, so that others can take them at once. */
export async function releaseSlots(
  db: SystemDb,
  owner: WorkerId,
  { slots, at }: { slots: readonly number[]; at: Date },
): Promise<void> {
  await db.transaction(async tx => {
    const released = await tx.execute(sql`
      update poll_slots set owner = null, expires_at = null
      where owner = ${owner} and slot = any(${slots}::smallint[])`);
    if (released > 0) await tell(tx, at, { subject: owner, change: 'gave_back' });
  });
}

const tell = (
  tx: SystemTx,
  at: Date,
  { subject, change }: { subject: WorkerId; change: 'joined' | 'left' | 'gave_back' },
): Promise<void> =>
  appendForAll(tx, at, [
    { organizationId: installation, event: { type: 'workers.changed', subject, data: { change } } },
  ]);

export type WorkerRow = {
  id: WorkerId;
  name: string;
  instance: string | null;
  version: string;
  startedAt: Date;
};

/** Registers this process, and tells the others that it wants its share. Leases of an earlier process of the same installation are free: it is dead. */
export async function registerWorker(db: SystemDb, worker: WorkerRow, at: Date): Promise<void> {
  await db.transaction(async tx => {
    if (worker.instance !== null) {
      await tx.execute(sql`
        update poll_slots set owner = null, expires_at = null
        where owner in (select id from workers where instance = ${worker.instance})`);
      await tx.execute(sql`delete from workers where instance = ${worker.instance}`);
    }
    await tx.execute(sql`
      insert into workers (id, name, instance, version, started_at, heartbeat_at)
      values (${worker.id}, ${worker.name}, ${worker.instance}, ${worker.version}, ${worker.startedAt}, now())`);
    await tell(tx, at, { subject: worker.id, change: 'joined' });
  });
}

/** Gives everything back, and says so. */
export async function unregisterWorker(db: SystemDb, id: WorkerId, at: Date): Promise<void> {
  await db.transaction(async tx => {
    await tx.execute(sql`update poll_slots set owner = null, expires_at = null where owner = ${id}`);
    await tx.execute(sql`delete from workers where id = ${id}`);
    await tell(tx, at, { subject: id, change: 'left' });
  });
}

/**
 * Removes every worker and its leases, of a database that was restored: they are of the past, and a clock that is
 * behind theirs would take them for alive.
 */
export async function forgetAllWorkers(db: SystemDb): Promise<void> {
  await db.transaction(async tx => {
    await tx.execute(sql`update poll_slots set owner = null, expires_at = null where owner is not null`);
    await tx.execute(sql`delete from workers`);
  });
}

/** Removes workers that ended without saying so, long after their leases did. Returns how many. */
export async function forgetDeadWorkers(db: SystemDb): Promise<number> {
  return db.execute(sql`delete from workers where heartbeat_at < now() - interval '1 hour'`);
}

/** What a worker says with each heartbeat. */
export type WorkerReport = { stats: WorkerStats; conditions: Conditions };

/**
 * Says that this worker lives, and with what to show for it; what is wrong in its eyes or in those of any
 * other live worker becomes a condition of the installation. Returns all live workers, oldest first.
 */
export async function heartbeat(
  db: SystemDb,
  id: WorkerId,
  { stats, conditions, at }: WorkerReport & { at: Date },
): Promise<WorkerId[]> {
  await db.execute(sql`
    update workers set heartbeat_at = now(), stats = ${JSON.stringify(stats)}::jsonb,
      conditions = ${JSON.stringify(conditions)}::jsonb
    where id = ${id}`);
  const live = await seenByWorkers(db);
  await reconcileConditions(db, live.conditions, { among: workerConditions, at });
  return live.workers;
}

/** The live workers, oldest first, and what is wrong in the eyes of any of them. */
export async function seenByWorkers(db: SystemDb): Promise<{ workers: WorkerId[]; conditions: Conditions }> {
  const rows = await db.many<{ id: WorkerId; conditions: Stored<Conditions> }>(sql`
    select id, conditions from workers where heartbeat_at > now() - ${leaseMs} * interval '1 millisecond'
    order by started_at, id`);
  return {
    workers: rows.map(row => row.id),
    conditions: mergeConditions(rows.map(row => fromStored(row.conditions))),
  };
}

/** As JSON has it: dates are text. */
type Stored<T> = { [K in keyof T]: { since: string; detail: string } };

const fromStored = (stored: Stored<Conditions>): Conditions =>
  Object.fromEntries(
    Object.entries(stored).map(([name, { since, detail }]) => [name, { since: new Date(since), detail }]),
  );

export type KindStats = {
  performed: number;
  successful: number;
  failed: number;
  lastRun: string | null;
  lastDurationSeconds: number | null;
};

/** What a worker tells of itself, counted since it started. */
export type WorkerStats = {
  health: KindStats;
  metrics: KindStats & { valuesCollected: number };
  servers: number;
  slots: number;
  latenessP99Seconds: number;
  /** What waits on disk for the database: batches of results. The last two: results and batches lost. */
  spooled: { bytes: number; records: number; oldestAgeSeconds: number; refused: number; corrupt: number };
};

/** What the live workers say of themselves, and how many slots somebody polls. */
export async function liveWorkers(db: SystemDb): Promise<{ workers: WorkerStats[]; slotsLeased: number }> {
  const rows = await db.many<{ stats: WorkerStats | Record<string, never> }>(sql`
    select stats from workers where heartbeat_at > now() - ${leaseMs} * interval '1 millisecond'`);
  const { count } = await db.one<{ count: number }>(sql`
    select count(*)::int as count from poll_slots
    where instance is null and owner is not null and expires_at > now()`);
  // A worker that has just registered has said nothing yet.
  return {
    workers: rows.map(row => row.stats).filter((stats): stats is WorkerStats => 'health' in stats),
    slotsLeased: count,
  };
}
