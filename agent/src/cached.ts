import type { Clock } from './clock.ts';

/**
 * A function that runs `make` at most once per `ttlMs`, counted from the end of the run, and once at a
 * time, however many ask: a flood of requests does not become a flood of checks. Failures are not kept.
 */
export function cached<Value>(make: () => Promise<Value>, ttlMs: number, clock: Clock): () => Promise<Value> {
  let kept: { value: Value; atMs: number } | undefined;
  let running: Promise<Value> | undefined;

  async function run(): Promise<Value> {
    try {
      const value = await make();
      kept = { value, atMs: clock.monotonicMs() };
      return value;
    } finally {
      running = undefined;
    }
  }
  return async () => {
    if (kept !== undefined && clock.monotonicMs() - kept.atMs < ttlMs) return kept.value;
    running ??= run();
    return running;
  };
}
