import { type Condition, workerConditions } from '../conditions/condition.ts';
import { reconcileConditions } from '../conditions/store.ts';
import type { EventFeed } from '../events/feed.ts';
import { healthPolicy, stale, staleAfterIntervalsAtLeast, type Verdict } from '../health/evaluate.ts';
import type { Clock } from '../platform/clock.ts';
import type { SystemDb } from '../platform/db.ts';
import { slotCount } from '../servers/server.ts';
import { type Attendance, createAttendance, type Unattended } from './attendance.ts';
import { heartbeatMs, leaseMs, seenByWorkers } from './slots.ts';
import { type HealthWrite, loadServers, lockServers, type PolledServer, writeHealthIn } from './store.ts';
import { countQuiet, endLeases, findQuiet, freeSlots, havePolledServers, type Quiet } from './watch-store.ts';

export type Watchdog = {
  /**
   * One look at the slots. Calls unknown what nobody has learned anything of for too long, and sees to the
   * condition `polling_absent`. Returns how many servers it gave up. Throws while the database is away.
   */
  look(): Promise<number>;
};

export type WatchdogOptions = {
  db: SystemDb;
  clock: Clock;
  feed: Pick<EventFeed, 'announce'>;
  /** Of the servers that have no interval of their own. */
  healthIntervalMs: number;
};

/** How often to look. */
export const watchdogPeriodMs = heartbeatMs;
/** Looks further apart than a lease lasts have missed something. */
const maxGapMs = leaseMs;
/** After an outage every worker renews its leases at its next heartbeat; this leaves time for five more. */
const attendedAgainWithinMs = 2 * leaseMs;
/**
 * A slot is watched for three intervals of its server, whatever the clocks of two machines say of the last
 * check; but not for days, or no server that is checked once a day would ever be given up.
 */
const enoughMs = 5 * 60_000;
/** Servers in one transaction, but for the last slot's. */
const batchServers = 1_000;

/**
 * Sees to it that nobody is forgotten: a server that no worker polls must not keep its last state. It runs in
 * every process. No two act on one slot, because whoever acts gives the slot a new epoch first; that is also
 * what keeps a worker from writing later what it believed before.
 */
export function createWatchdog(options: WatchdogOptions): Watchdog {
  const { db, clock, feed } = options;
  const attendance = createAttendance(maxGapMs);
  let absentSince: Date | null = null;

  async function observe(): Promise<Unattended[]> {
    const nowMs = clock.monotonicMs();
    try {
      return attendance.observe(await freeSlots(db), nowMs);
    } catch (error) {
      attendance.forget();
      throw error;
    }
  }

  /** Begins or ends the condition; where slots have been free for a short while only, neither. */
  async function tellAbsence(unattended: readonly Unattended[]): Promise<void> {
    const ordinary = unattended.filter(({ slot }) => slot < slotCount);
    const abandoned = ordinary.filter(isAbandoned).map(({ slot }) => slot);
    if (ordinary.length > 0 && abandoned.length === 0) return;
    const isAbsent = abandoned.length > 0 && (await havePolledServers(db, abandoned));
    const at = clock.now();
    absentSince = isAbsent ? (absentSince ?? at) : null;
    const { workers, conditions } = await seenByWorkers(db);
    const own: Condition | null = absentSince && {
      since: absentSince,
      detail: absentDetail(abandoned.length),
    };
    await reconcileConditions(db, own === null ? conditions : { ...conditions, polling_absent: own }, {
      // What dead workers saw, nobody else is left to end.
      among: workers.length === 0 ? [...workerConditions, 'polling_absent'] : ['polling_absent'],
      at,
    });
  }

  return {
    async look() {
      const endMs = clock.monotonicMs() + watchdogPeriodMs;
      const unattended = await observe();
      await tellAbsence(unattended);
      const abandoned = unattended.filter(isAbandoned);
      if (abandoned.length === 0) return 0;
      const counts = await countQuiet(db, quietOf(abandoned, options));
      let given = 0;
      for (const slots of batches(counts)) {
        // Then it is time to look at the leases again.
        if (clock.monotonicMs() >= endMs) break;
        given += await giveUp(
          abandoned.filter(({ slot }) => slots.has(slot)),
          attendance,
          options,
        );
      }
      if (given > 0) feed.announce();
      return given;
    },
  };
}

/** Gives up the servers of some slots of which nothing has been learned for too long. Returns how many. */
async function giveUp(
  slots: readonly Unattended[],
  attendance: Attendance,
  options: WatchdogOptions,
): Promise<number> {
  const { db, clock } = options;
  const forMs = new Map(slots.map(each => [each.slot, each.forMs]));
  const judge = (server: PolledServer, at: Date): Verdict | null =>
    verdictOn(server, { at, forMs: forMs.get(server.slot) ?? 0, healthIntervalMs: options.healthIntervalMs });

  const servers = await loadServers(db, await findQuiet(db, quietOf(slots, options)));
  const forgotten = servers.filter(server => judge(server, clock.now()) !== null);
  if (forgotten.length === 0) return 0;
  const theirs = new Set(forgotten.map(({ slot }) => slot));
  const leases = await endLeases(
    db,
    slots.filter(({ slot }) => theirs.has(slot)),
  );
  attendance.took(leases);
  const epochs = new Map(leases.map(({ slot, epoch }) => [slot, epoch]));
  return db.transaction(async tx => {
    // Read again: whoever held the lease until now may have written, and a person may have changed something.
    const locked = await lockServers(
      tx,
      forgotten.filter(({ slot }) => epochs.has(slot)),
    );
    const at = clock.now();
    const writes = locked.flatMap(server => {
      const verdict = judge(server, at);
      return verdict === null ? [] : [writeOf(server, epochs.get(server.slot)!, { verdict, at })];
    });
    return writeHealthIn(tx, writes, at);
  });
}

/** Null where the server is to be left as it is. */
function verdictOn(
  { state, intervalMs, id }: PolledServer,
  { at, forMs, healthIntervalMs }: { at: Date; forMs: number; healthIntervalMs: number },
): Verdict | null {
  const policy = healthPolicy(state, intervalMs.health ?? healthIntervalMs, at, id);
  if (forMs < Math.max(attendedAgainWithinMs, Math.min(policy.staleAfterMs, enoughMs))) return null;
  const verdict = stale(state, at, policy);
  return verdict.change === null ? null : verdict;
}

function writeOf(
  { organizationId, id, name, slot }: PolledServer,
  epoch: number,
  { verdict, at }: { verdict: Verdict; at: Date },
): HealthWrite {
  return {
    organizationId,
    id,
    name,
    slot,
    epoch,
    seq: 1,
    state: verdict.next,
    components: null,
    version: null,
    responseTimeMs: null,
    changes: verdict.change === null ? [] : [{ ...verdict.change, at }],
  };
}

const isAbandoned = ({ forMs }: Unattended): boolean => forMs >= attendedAgainWithinMs;

const quietOf = (slots: Quiet['slots'], { clock, healthIntervalMs }: WatchdogOptions): Quiet => ({
  slots,
  at: clock.now(),
  healthIntervalMs,
  intervals: staleAfterIntervalsAtLeast,
  enoughMs,
});

const absentDetail = (slots: number): string =>
  `No worker polls the servers of ${slots} of ${slotCount} slots: none runs, or none reaches the database.`;

/** Slots in groups of about a thousand servers. */
function batches(counts: readonly { slot: number; servers: number }[]): Set<number>[] {
  const all: Set<number>[] = [];
  let room = 0;
  for (const { slot, servers } of counts) {
    if (room <= 0) {
      all.push(new Set());
      room = batchServers;
    }
    all.at(-1)!.add(slot);
    room -= servers;
  }
  return all;
}
