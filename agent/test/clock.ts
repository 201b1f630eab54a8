import type { Clock } from '../src/clock.ts';

/** A clock that moves when it is told to. */
export function fakeClock(): Clock & { advance(ms: number): void } {
  let elapsedMs = 0;
  const startMs = Date.UTC(2026, 0, 15, 12);
  return {
    now: () => new Date(startMs + elapsedMs),
    monotonicMs: () => elapsedMs,
    advance(ms) {
      elapsedMs += ms;
    },
  };
}
