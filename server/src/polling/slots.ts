import type { WorkerId } from '../ids.ts';
import { type SystemDb, sql } from '../platform/db.ts';
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
export async function claimSlots(db: SystemDb, owner: WorkerId, count: number): Promise<Lease[]> {
  if (count <= 0) return [];
  return db.many<Lease>(sql`
    with free as materialized (
      select slot from poll_slots where owner is null or expires_at < now()
      order by slot limit ${count} for update skip locked
    )
    update poll_slots p
    set owner = ${owner}, epoch = nextval('poll_epoch_seq'), expires_at = now() + ${leaseMs} * interval '1 millisecond'
    from free
    where p.slot = free.slot
    returning p.slot, p.epoch`);
}

/** Gives slots back so that others can take them at once. */
export async function releaseSlots(db: SystemDb, owner: WorkerId, slots: readonly number[]): Promise<void> {
  await db.execute(sql`
    update poll_slots set owner = null, expires_at = null
    where owner = ${owner} and slot = any(${slots}::smallint[])`);
}

export type WorkerRow = {
  id: WorkerId;
  name: string;
  instance: string | null;
  version: string;
  startedAt: Date;
};

/** Registers this process. Leases of an earlier process of the same installation are free: it is dead. */
export async function registerWorker(db: SystemDb, worker: WorkerRow): Promise<void> {
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
  });
}

export async function unregisterWorker(db: SystemDb, id: WorkerId): Promise<void> {
  await db.transaction(async tx => {
    await tx.execute(sql`update poll_slots set owner = null, expires_at = null where owner = ${id}`);
    await tx.execute(sql`delete from workers where id = ${id}`);
  });
}

/** Removes workers that ended without saying so, long after their leases did. Returns how many. */
export async function forgetDeadWorkers(db: SystemDb): Promise<number> {
  return db.execute(sql`delete from workers where heartbeat_at < now() - interval '1 hour'`);
}

/** Says that this worker lives, and with what to show for it. Returns all live workers, oldest first. */
export async function heartbeat(db: SystemDb, id: WorkerId, stats: WorkerStats): Promise<WorkerId[]> {
  await db.execute(sql`
    update workers set heartbeat_at = now(), stats = ${JSON.stringify(stats)}::jsonb where id = ${id}`);
  const rows = await db.many<{ id: WorkerId }>(sql`
    select id from workers where heartbeat_at > now() - ${leaseMs} * interval '1 millisecond' order by started_at, id`);
  return rows.map(row => row.id);
}

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
};

/** What the live workers say of themselves, and how many slots somebody polls. */
export async function liveWorkers(db: SystemDb): Promise<{ workers: WorkerStats[]; slotsLeased: number }> {
  const rows = await db.many<{ stats: WorkerStats | Record<string, never> }>(sql`
    select stats from workers where heartbeat_at > now() - ${leaseMs} * interval '1 millisecond'`);
  const { count } = await db.one<{ count: number }>(sql`
    select count(*)::int as count from poll_slots where owner is not null and expires_at > now()`);
  // A worker that has just registered has said nothing yet.
  return {
    workers: rows.map(row => row.stats).filter((stats): stats is WorkerStats => 'health' in stats),
    slotsLeased: count,
  };
}
