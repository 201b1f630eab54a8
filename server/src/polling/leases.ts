import type { Clock } from '../platform/clock.ts';
import type { Log } from '../platform/log.ts';
import { slotCount } from '../servers/server.ts';
import type { PollStore } from './poll-store.ts';
import { fairShare, heartbeatMs, type Lease, type WorkerReport, type WorkerRow } from './slots.ts';

/** This worker's share of the slots, kept by heartbeats. */
export type Leases = {
  /** Slot to epoch. */
  held(): ReadonlyMap<number, number>;
  /** Whether there was another live worker at the last heartbeat. */
  hasOthers(): boolean;
  start(): Promise<void>;
  run(signal: AbortSignal): Promise<void>;
  /** Does not wait for the next heartbeat: somebody came, went, or gave slots back. */
  wake(): void;
  /** Resolves when nothing is being handed over any more. */
  idle(): Promise<void>;
  stop(): Promise<void>;
};

export type LeasesOptions = {
  store: PollStore;
  clock: Clock;
  log: Log;
  worker: WorkerRow;
  /** The installation whose pinned slot is this worker's, beside its share; null: none. */
  pin: string | null;
  report(): WorkerReport;
  /** Called after something was committed that the other workers should read soon. */
  announce(): void;
  /** Called with slots that are ours from now on. No heartbeat waits until their servers are loaded: leases would end. */
  gained(leases: readonly Lease[]): void;
  /** Resolves, and never rejects, when what is known of the slots' servers is stored, as far as possible. No heartbeat waits for it. */
  lost(slots: readonly number[]): Promise<void>;
};

/**
 * Each heartbeat: renew, see who lives, give back what exceeds the fair share, claim what is free up to it.
 * While the database is away the slots are kept: polling on is harmless, because every write is fenced by
 * the epoch, and a pause would be a blind spot.
 */
export function createLeases(options: LeasesOptions): Leases {
  const { store, clock, log, worker } = options;
  const held = new Map<number, number>();
  /** Not polled any more, and ours until what is known of their servers is stored. */
  const leaving = new Set<number>();
  const handingOver = new Set<Promise<void>>();
  let early = new AbortController();
  let others = 0;

  /** The slots of those that workers share. */
  const ordinary = (): number[] => [...held.keys()].filter(slot => slot < slotCount);

  async function beat(): Promise<void> {
    const live = await store.heartbeat(worker.id, options.report());
    others = live.filter(id => id !== worker.id).length;
    const kept = await store.renewLeases(worker.id);
    const epochs = new Map(kept.map(({ slot, epoch }) => [slot, epoch]));
    lose([...held].filter(([slot, epoch]) => epochs.get(slot) !== epoch).map(([slot]) => slot));
    // Claimed by a statement whose answer was lost, or not given back: ours, and polled by nobody.
    const strays = [...epochs]
      .filter(([slot, epoch]) => held.get(slot) !== epoch && !leaving.has(slot))
      .map(([slot]) => slot);
    if (strays.length > 0) await release(strays);
    const rank = live.indexOf(worker.id);
    if (rank === -1) {
      // Our row is gone: we were away for so long that somebody cleaned up, or a copy of this machine started
      // and took us for dead. Come back without the claim to be the only one, or the two would evict each
      // other for ever.
      await store.registerWorker({ ...worker, instance: null });
      options.announce();
      return;
    }
    const share = fairShare(live.length, rank);
    const excess = ordinary().slice(share);
    giveBack(excess);
    take(await store.claimSlots(worker.id, share - ordinary().length));
    if (options.pin === null || held.size > ordinary().length) return;
    take(await store.claimPinnedSlot(worker.id, options.pin));
  }

  function take(claimed: readonly Lease[]): void {
    for (const { slot, epoch } of claimed) held.set(slot, epoch);
    if (claimed.length > 0) options.gained(claimed);
  }

  async function release(slots: readonly number[]): Promise<void> {
    await store.releaseSlots(worker.id, slots);
    options.announce();
  }

  /** They are somebody else's, or will be once `after` is done. */
  function lose(slots: readonly number[], after: () => Promise<void> = async () => undefined): void {
    if (slots.length === 0) return;
    for (const slot of slots) held.delete(slot);
    const done = options
      .lost(slots)
      .then(after)
      .finally(() => handingOver.delete(done));
    handingOver.add(done);
  }

  /** What cannot be given back now is, once it is found to be ours and polled by nobody. */
  function giveBack(slots: readonly number[]): void {
    for (const slot of slots) leaving.add(slot);
    lose(slots, async () => {
      try {
        await release(slots);
      } catch (error) {
        log.warn({ err: error }, 'slots could not be given back; trying again');
      }
      for (const slot of slots) leaving.delete(slot);
    });
  }

  const idle = async (): Promise<void> => {
    await Promise.all(handingOver);
  };

  return {
    held: () => held,
    hasOthers: () => others > 0,
    async start() {
      await store.registerWorker(worker);
      options.announce();
      await beat();
    },
    async run(signal) {
      for (;;) {
        await clock.sleep(heartbeatMs, AbortSignal.any([signal, early.signal]));
        early = new AbortController();
        if (signal.aborted) return;
        await beat().catch(error => {
          log.warn({ err: error }, 'no heartbeat: the database does not take it; polling goes on');
        });
      }
    },
    wake: () => early.abort(),
    idle,
    async stop() {
      held.clear();
      await idle();
      try {
        await store.unregisterWorker(worker.id);
        options.announce();
      } catch (error) {
        log.warn({ err: error }, 'slots could not be given back; they expire by themselves');
      }
    },
  };
}
