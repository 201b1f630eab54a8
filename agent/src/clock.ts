/** Time as the agent sees it, so that tests can own it. */
export type Clock = {
  /** Wall clock, for what is shown. */
  now(): Date;
  /** Milliseconds that never jump, for ages and intervals. */
  monotonicMs(): number;
};

export const systemClock: Clock = {
  now: () => new Date(),
  monotonicMs: () => performance.now(),
};
