import { type Sql, type SystemDb, type SystemTx, sql } from '../platform/db.ts';
import { unnest } from '../platform/unnest.ts';
import type { FreeSlot } from './attendance.ts';
import type { ServerKey } from './roster.ts';
import type { Lease } from './slots.ts';

const isFree = sql`(owner is null or expires_at < now())`;

/**
 * The slots that nobody holds. Where there are any, one is written as it is: a database that is read and takes
 * no writes renews no lease either, and says nothing of the workers.
 */
export async function freeSlots(db: SystemTx): Promise<FreeSlot[]> {
  return db.many<FreeSlot>(sql`
    with tried as (
      update poll_slots set expires_at = expires_at where slot = (select min(slot) from poll_slots where ${isFree})
    )
    select slot, epoch, expires_at::text as expiry from poll_slots where ${isFree} order by slot`);
}

/**
 * Ends for good the leases of slots that are as they were seen, and leaves the slots free. Whoever held one
 * finds out at the next heartbeat, and writes nothing until it has claimed it anew and read what is stored.
 * Returns the epochs to write with.
 */
export async function endLeases(db: SystemDb, seen: readonly FreeSlot[]): Promise<Lease[]> {
  return db.many<Lease>(sql`
    with ended as materialized (
      select slot from poll_slots
      where ${isFree} and (slot, epoch, coalesce(expires_at::text, '')) in ${unnest([
        ['smallint', seen.map(({ slot }) => slot)],
        ['bigint', seen.map(({ epoch }) => epoch)],
        ['text', seen.map(({ expiry }) => expiry ?? '')],
      ])}
      order by slot for update skip locked
    )
    update poll_slots p set owner = null, expires_at = null, epoch = nextval('poll_epoch_seq')
    from ended where p.slot = ended.slot
    returning p.slot, p.epoch`);
}

/** Whether any of the slots has a server that is to be polled. */
export async function havePolledServers(db: SystemTx, slots: readonly number[]): Promise<boolean> {
  const { found } = await db.one<{ found: boolean }>(sql`
    select exists (
      select 1 from managed_servers where slot = any(${slots}::smallint[]) and status = 'active') as found`);
  return found;
}

/** Servers of which nothing may have been learned for too long; of slots that nobody has held for so long. */
export type Quiet = {
  slots: readonly { slot: number; forMs: number }[];
  at: Date;
  /** Of the servers that have no interval of their own. */
  healthIntervalMs: number;
  /** Too long is so many of a server's intervals; for a slot, this at most. */
  intervals: number;
  enoughMs: number;
};

const quiet = ({ slots, at, healthIntervalMs, intervals, enoughMs }: Quiet): Sql<unknown> => sql`
  managed_servers s
  join ${unnest([
    ['smallint', slots.map(({ slot }) => slot)],
    ['double precision', slots.map(({ forMs }) => forMs)],
  ])} as w (slot, for_ms) on w.slot = s.slot
  cross join lateral (
    select ${intervals}::double precision
      * coalesce(1000 * s.health_interval_seconds, ${healthIntervalMs}::double precision) as stale_ms
  ) own
  where s.status = 'active' and s.health_status <> 'unknown'
    and w.for_ms >= least(own.stale_ms, ${enoughMs}::double precision)
    and coalesce(s.last_health_check_at, s.health_since)
      < ${at}::timestamptz - own.stale_ms * interval '1 millisecond'`;

/** How many there are in each slot that has any. */
export async function countQuiet(db: SystemDb, which: Quiet): Promise<{ slot: number; servers: number }[]> {
  return db.many(sql`
    select s.slot, count(*)::int as servers from ${quiet(which)} group by s.slot order by s.slot`);
}

export async function findQuiet(db: SystemDb, which: Quiet): Promise<ServerKey[]> {
  return db.many(sql`select s.organization_id as "organizationId", s.id from ${quiet(which)}`);
}
