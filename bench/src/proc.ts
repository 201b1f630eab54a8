import { readdir, readFile } from 'node:fs/promises';

/** What `/proc/<pid>/stat` says of a process. All times are milliseconds of CPU, user and system. */
export type ProcessStat = {
  parentPid: number;
  /** Its own threads, those that have ended included. */
  ownCpuMs: number;
  /** Its children that have ended and been waited for, and theirs. */
  endedChildrenCpuMs: number;
};

// USER_HZ: what the kernel counts in on every architecture that Node runs on, whatever its own tick.
const MS_PER_TICK = 10;

/** Parses `/proc/<pid>/stat` (proc_pid_stat(5)). The program's name may hold spaces and parentheses. */
export function parseStat(text: string): ProcessStat {
  const fields = text
    .slice(text.lastIndexOf(')') + 2)
    .trimEnd()
    .split(' ');
  // The first field here is the third of the manual page.
  const field = (number: number): number => {
    const value = Number(fields[number - 3]);
    if (!Number.isSafeInteger(value)) throw new RangeError(`Field ${number} of stat is no number: ${text}`);
    return value;
  };
  return {
    parentPid: field(4),
    ownCpuMs: (field(14) + field(15)) * MS_PER_TICK,
    endedChildrenCpuMs: (field(16) + field(17)) * MS_PER_TICK,
  };
}

/** The proportional set size in `/proc/<pid>/smaps_rollup`, in bytes: a page that n share counts 1/n for each. */
export function parsePss(text: string): number {
  const kilobytes = /^Pss:\s+(\d+) kB$/m.exec(text)?.[1];
  if (kilobytes === undefined) throw new RangeError('smaps_rollup has no line "Pss:"');
  return Number(kilobytes) * 1024;
}

/** CPU of one process so far, in milliseconds, without its children. The resolution is 10 ms. */
export async function cpuMs(pid: number): Promise<number> {
  return parseStat(await readFile(`/proc/${pid}/stat`, 'utf8')).ownCpuMs;
}

/** CPU of a process and of all its children, living and ended: it never falls while the process lives. */
export async function familyCpuMs(pid: number): Promise<number> {
  const { ownCpuMs, endedChildrenCpuMs } = parseStat(await readFile(`/proc/${pid}/stat`, 'utf8'));
  const children = await childrenOf(pid);
  return children.reduce((sum, child) => sum + child.stat.ownCpuMs, ownCpuMs + endedChildrenCpuMs);
}

/** Memory of one process in bytes, shared pages in proportion. */
export async function pssBytes(pid: number): Promise<number> {
  return parsePss(await readFile(`/proc/${pid}/smaps_rollup`, 'utf8'));
}

/** The same, with the process's living children. */
export async function familyPssBytes(pid: number): Promise<number> {
  let sum = await pssBytes(pid);
  for (const child of await childrenOf(pid)) sum += await unlessGone(pssBytes(child.pid), 0);
  return sum;
}

/**
 * Kills a process and its living children at once. The parent goes first: a postmaster that sees a child die
 * would end the others in order.
 */
export async function killFamily(pid: number): Promise<void> {
  const children = await childrenOf(pid);
  for (const each of [pid, ...children.map(child => child.pid)]) {
    try {
      process.kill(each, 'SIGKILL');
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }
}

async function childrenOf(pid: number): Promise<{ pid: number; stat: ProcessStat }[]> {
  const children = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const text = await unlessGone(readFile(`/proc/${name}/stat`, 'utf8'), null);
    if (text === null) continue;
    const stat = parseStat(text);
    if (stat.parentPid === pid) children.push({ pid: Number(name), stat });
  }
  return children;
}

/** The fallback where the process has ended between being listed and being looked at. */
async function unlessGone<T, Fallback>(reading: Promise<T>, fallback: Fallback): Promise<T | Fallback> {
  try {
    return await reading;
  } catch (error) {
    if (isGone(error)) return fallback;
    throw error;
  }
}

function isGone(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'ENOENT' || code === 'ESRCH';
}
