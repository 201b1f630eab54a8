/** How often a paced run starts what is due: as often as the control plane does (polling/scheduler.ts). */
export const TICK_MS = 50;

/** How many checks should have been started after `elapsedMs` of an even pace, of `total` altogether. */
export function startsDue(elapsedMs: number, checksPerSecond: number, total: number): number {
  return Math.min(total, Math.floor((Math.max(0, elapsedMs) * checksPerSecond) / 1000));
}

/**
 * Calls `start` for 0 to `total - 1` at an even pace, and resolves when all have been started. A pace that
 * could not be held is caught up with at once, so the number of starts in a given time stays the same.
 */
export function paced(total: number, checksPerSecond: number, start: (index: number) => void): Promise<void> {
  const beganMs = performance.now();
  let started = 0;
  return new Promise(resolve => {
    const tick = (): void => {
      const due = startsDue(performance.now() - beganMs, checksPerSecond, total);
      while (started < due) start(started++);
      if (started === total) resolve();
      else setTimeout(tick, TICK_MS);
    };
    tick();
  });
}
