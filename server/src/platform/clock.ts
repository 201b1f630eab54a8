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
  // The scheduler sleeps 200 times a second. A timer of node:timers/promises, with a signal, cost it 4 % of its time.
  sleep(ms, signal) {
    if (signal?.aborted) return Promise.resolve();
    return new Promise(resolve => {
      const wake = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', wake);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      signal?.addEventListener('abort', wake, { once: true });
    });
  },
};
