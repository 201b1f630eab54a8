import { setTimeout as delay } from 'node:timers/promises';

/** The only source of time, so that tests can own it. */
export type Clock = {
  /** Wall clock, UTC. For what is stored and shown. */
  now(): Date;
  /** Milliseconds that never jump. For schedules, durations and leases. */
  monotonicMs(): number;
  /** Resolves after `ms`, or at once (without an error) when the signal aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
};

export const systemClock: Clock = {
  now: () => new Date(),
  monotonicMs: () => performance.now(),
  async sleep(ms, signal) {
    if (signal?.aborted) return;
    try {
      await delay(ms, undefined, signal ? { signal } : {});
    } catch (error) {
      if (!signal?.aborted) throw error;
    }
  },
};
