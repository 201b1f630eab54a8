import type { Lease } from './slots.ts';

/** A slot that nobody holds: its last lease, and when that ended or ends, in the database's words. */
export type FreeSlot = Lease & { expiry: string | null };
/** For how long at least it has been so, as far as this process has seen. */
export type Unattended = FreeSlot & { forMs: number };

/** What this process has seen of the slots, on the monotonic clock. */
export type Attendance = {
  /** Takes down which slots are free now, and returns for how long each has been. */
  observe(free: readonly FreeSlot[], nowMs: number): Unattended[];
  /** These were taken by this process itself, to be free on: it goes on counting. */
  took(leases: readonly Lease[]): void;
  /** The database could not be seen: everything is counted anew. */
  forget(): void;
};

/**
 * Counts only what it has watched: a lease that changed between two looks begins anew, and so does everything
 * after looks more than `maxGapMs` apart, because this process was paused, and so may everybody have been.
 */
export function createAttendance(maxGapMs: number): Attendance {
  const known = new Map<number, FreeSlot & { sinceMs: number }>();
  let lastMs = Number.NEGATIVE_INFINITY;

  return {
    observe(free, nowMs) {
      const before = nowMs - lastMs > maxGapMs ? new Map<number, never>() : new Map(known);
      lastMs = nowMs;
      known.clear();
      return free.map(slot => {
        const last = before.get(slot.slot);
        const isSame = last?.epoch === slot.epoch && last.expiry === slot.expiry;
        const sinceMs = isSame ? last.sinceMs : nowMs;
        known.set(slot.slot, { ...slot, sinceMs });
        return { ...slot, forMs: nowMs - sinceMs };
      });
    },
    took(leases) {
      for (const { slot, epoch } of leases) {
        const last = known.get(slot);
        if (last !== undefined) known.set(slot, { ...last, epoch, expiry: null });
      }
    },
    forget() {
      known.clear();
    },
  };
}
