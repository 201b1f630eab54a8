import { setTimeout as delay } from 'node:timers/promises';
import { type CpuTimes, cpuPercent } from './cpu.ts';

/** Knows how busy the processors were over the last seconds. */
export type CpuSampler = {
  /** Busy share of the last full interval, 0 to 100; undefined when the counters do not move. */
  percent: () => Promise<number | undefined>;
  stop(): void;
};

const usualIntervals = { intervalMs: 5_000, firstIntervalMs: 250 };

/**
 * Takes a sample every 5 s, so that an answer covers seconds instead of the moment of its own request.
 * Who asks within the first interval waits for a short one. A failed reading is left out; while no two
 * have succeeded, `percent` rejects with the reason.
 */
export function startCpuSampler(
  read: () => Promise<CpuTimes>,
  { intervalMs, firstIntervalMs } = usualIntervals,
): CpuSampler {
  let previous: CpuTimes | undefined;
  let newest: CpuTimes | undefined;
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;

  async function sample(): Promise<void> {
    try {
      const times = await read();
      previous = newest;
      newest = times;
    } catch {
      // The next one may succeed; two stale samples must not be answered until then.
      previous = undefined;
    }
    if (!stopped) timer = setTimeout(() => void sample(), intervalMs).unref();
  }
  void sample();

  return {
    async percent() {
      if (previous !== undefined && newest !== undefined) return cpuPercent(previous, newest);
      const before = await read();
      await delay(firstIntervalMs);
      return cpuPercent(before, await read());
    },
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
