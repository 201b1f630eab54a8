import type { Clock } from '../../src/platform/clock.ts';

/** A clock that stands still until it is told to move. */
export type FakeClock = Clock & {
  /** Moves on, waking every sleeper at its own time and in order, and lets each do its work first. */
  advance(ms: number): Promise<void>;
  /** Lets time pass without anybody noticing, as when the machine is suspended. */
  stall(ms: number): void;
  /** Moves the wall clock alone, as an administrator or a time server does. */
  setWall(now: Date): void;
};

type Sleeper = { dueMs: number; wake(): void };

export function createFakeClock(start = new Date('2026-11-01T00:00:00Z')): FakeClock {
  let monotonicMs = 1_000_000;
  let wallOffsetMs = start.getTime() - monotonicMs;
  const sleepers = new Set<Sleeper>();

  return {
    now: () => new Date(Math.floor(monotonicMs + wallOffsetMs)),
    monotonicMs: () => monotonicMs,
    sleep: (ms, signal) =>
      new Promise(resolve => {
        if (signal?.aborted) return resolve();
        const sleeper: Sleeper = {
          dueMs: monotonicMs + ms,
          wake() {
            sleepers.delete(sleeper);
            resolve();
          },
        };
        sleepers.add(sleeper);
        signal?.addEventListener('abort', () => sleeper.wake(), { once: true });
      }),
    async advance(ms) {
      const endMs = monotonicMs + ms;
      await settle();
      for (;;) {
        const [next] = [...sleepers].toSorted((a, b) => a.dueMs - b.dueMs);
        if (next === undefined || next.dueMs > endMs) break;
        monotonicMs = Math.max(monotonicMs, next.dueMs);
        next.wake();
        await settle();
      }
      monotonicMs = endMs;
    },
    stall(ms) {
      monotonicMs += ms;
    },
    setWall(now) {
      wallOffsetMs = now.getTime() - monotonicMs;
    },
  };
}

/** Every promise that can be settled without input or output is, before the next turn of the event loop. */
const settle = (): Promise<void> => new Promise(resolve => setImmediate(resolve));
