import { readFile } from 'node:fs/promises';

/** Time of all processors since the machine started, in clock ticks, by what it went into. */
export type CpuTimes = { busy: readonly number[]; idle: readonly number[] };

/** Reads the counters now. */
export async function readCpuTimes(): Promise<CpuTimes> {
  return parseCpuTimes(await readFile('/proc/stat', 'utf8'));
}

/**
 * Parses the first line of /proc/stat (proc_stat(5)). Throws when it is not there.
 *
 * Waiting for I/O is idle time: another task could have run. Stolen time is busy: this machine wanted it.
 * Guest time is part of `user` and `nice` already, so those two columns are left out.
 */
export function parseCpuTimes(stat: string): CpuTimes {
  const ticks = /^cpu +(\d{1,15}(?: +\d{1,15}){3,9}) *$/m.exec(stat)?.[1]?.split(/ +/).map(Number);
  if (ticks === undefined) throw new Error('/proc/stat has no line for all processors');
  const [user = 0, nice = 0, system = 0, idle = 0, ioWait = 0, irq = 0, softIrq = 0, steal = 0] = ticks;
  return { busy: [user, nice, system, irq, softIrq, steal], idle: [idle, ioWait] };
}

/**
 * Share of processor time that was busy between two readings, 0 to 100; undefined when none has passed.
 * Single counters can step back (iowait does, and all do when a container moves): such a step counts as none.
 */
export function cpuPercent(before: CpuTimes, after: CpuTimes): number | undefined {
  const busy = grown(before.busy, after.busy);
  const total = busy + grown(before.idle, after.idle);
  return total > 0 ? (100 * busy) / total : undefined;
}

function grown(before: readonly number[], after: readonly number[]): number {
  return after.reduce((sum, ticks, index) => sum + Math.max(0, ticks - (before[index] ?? 0)), 0);
}
