import { readFile } from 'node:fs/promises';

/** Share of memory in use, 0 to 100, as `free` shows it by its column `available`. */
export async function readMemoryPercent(): Promise<number> {
  return parseMemoryPercent(await readFile('/proc/meminfo', 'utf8'));
}

/**
 * Parses /proc/meminfo (proc_meminfo(5)). Throws when it does not tell.
 *
 * Kernels before 3.14 have no MemAvailable; there, free memory and the caches that can be given back,
 * without shared memory, which counts as cached and cannot.
 */
export function parseMemoryPercent(meminfo: string): number {
  const kilobytes = new Map<string, number>();
  for (const [, name = '', value] of meminfo.matchAll(/^(\w+): +(\d{1,15}) kB$/gm))
    kilobytes.set(name, Number(value));
  const of = (name: string): number => kilobytes.get(name) ?? 0;

  const total = of('MemTotal');
  const free = kilobytes.get('MemFree');
  if (total === 0 || free === undefined) throw new Error('/proc/meminfo tells no total or no free memory');
  const available =
    kilobytes.get('MemAvailable') ?? free + of('Buffers') + of('Cached') + of('SReclaimable') - of('Shmem');
  const used = Math.min(Math.max(total - available, 0), total);
  return (100 * used) / total;
}
