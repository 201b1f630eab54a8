import { createSchedule } from '../../src/polling/schedule.ts';

/** Virtual time: what is planned happens in order, as fast as the processor can, the same each time. */
export type Timeline = {
  nowMs(): number;
  /** Plans something; returns how to cancel it. */
  after(ms: number, run: () => void): () => void;
  /** Lets everything happen that is planned up to then. */
  runUntil(ms: number): Promise<void>;
};

export function createTimeline(): Timeline {
  const schedule = createSchedule<() => void>();
  let nowMs = 0;
  return {
    nowMs: () => nowMs,
    after(ms, run) {
      const planned = schedule.add(run, nowMs + Math.max(0, ms));
      return () => schedule.drop(planned);
    },
    async runUntil(endMs) {
      await settle();
      for (let next = schedule.takeDue(endMs); next !== null; next = schedule.takeDue(endMs)) {
        nowMs = Math.max(nowMs, next.dueMs);
        next.item();
        await settle();
      }
      nowMs = endMs;
    },
  };
}

/** Every promise that can be settled is, before the next turn of the event loop: nothing here does real I/O. */
const settle = (): Promise<void> => new Promise(resolve => setImmediate(resolve));
