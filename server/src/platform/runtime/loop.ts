import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';

/** Work that is done again and again: one pass, and how often. */
export type LoopTask = {
  name: string;
  description: string;
  periodMs: number;
  /** One pass; returns how much it did, for the log. */
  runOnce(): Promise<number>;
};

const retryMs = 5_000;

/**
 * Runs a task until the signal aborts: a pass, then the pause, so that passes never overlap. A pass that
 * fails is logged and tried again soon.
 */
export async function runLoop(
  task: LoopTask,
  parts: { clock: Clock; log: Log; signal: AbortSignal },
): Promise<void> {
  const { clock, log, signal } = parts;
  while (!signal.aborted) {
    let pauseMs = task.periodMs;
    try {
      const done = await task.runOnce();
      if (done > 0) log.info({ task: task.name, done }, 'upkeep');
    } catch (error) {
      pauseMs = Math.min(task.periodMs, retryMs);
      log.warn({ err: error, task: task.name }, 'upkeep failed; trying again');
    }
    await clock.sleep(pauseMs, signal);
  }
}
