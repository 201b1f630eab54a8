import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { StartupError } from './errors.ts';
import { syncDirectory } from './private-file.ts';
import { acquireProcessLock, type ProcessLock } from './process-lock.ts';
import { parseSegmentName, type SpoolFiles, segmentName } from './spool.ts';

/** A directory that no other living process uses. */
export type SpoolDirectory = { path: string; release(): void };

const lockFile = 'lock';
// Each is a process that polls; far more than fit on one machine.
const maxDirectories = 1_000;

/**
 * Takes a directory below `root` for this process: the first whose owner is dead, with what it left, or a new
 * one. What other dead owners left is moved there too, behind it. Directories are numbered, and never removed:
 * a lock on a file that somebody has just unlinked would keep nobody out. Throws a StartupError where the disk
 * does not allow it.
 */
export async function claimSpoolDirectory(root: string): Promise<SpoolDirectory> {
  try {
    await mkdir(root, { recursive: true, mode: 0o700 });
    const own = await claimFirst(root);
    for (const other of await directoriesOf(root)) {
      const lock = acquireProcessLock(join(other, lockFile));
      if (lock === null) continue;
      try {
        await adopt(other, own.path);
      } finally {
        lock.release();
      }
    }
    return { path: own.path, release: () => own.lock.release() };
  } catch (error) {
    if (error instanceof StartupError) throw error;
    throw new StartupError(`The spool directory ${root} cannot be used: ${String(error)}`, { cause: error });
  }
}

async function claimFirst(root: string): Promise<{ path: string; lock: ProcessLock }> {
  for (let number = 1; number <= maxDirectories; number += 1) {
    const path = join(root, String(number));
    if ((await mkdir(path, { recursive: true, mode: 0o700 })) !== undefined) await syncDirectory(root);
    const lock = acquireProcessLock(join(path, lockFile));
    if (lock !== null) return { path, lock };
  }
  throw new StartupError(`All ${maxDirectories} spool directories of ${root} are in use.`);
}

async function directoriesOf(root: string): Promise<string[]> {
  const names = (await readdir(root)).filter(name => /^\d+$/.test(name));
  return names.toSorted((a, b) => Number(a) - Number(b)).map(name => join(root, name));
}

/** Moves the segments of `from` behind those of `to`, in their order. */
async function adopt(from: string, to: string): Promise<void> {
  const [theirs, ours] = [await segmentsOf(from), await segmentsOf(to)];
  if (theirs.length === 0) return;
  let next = Math.max(0, ...ours.map(({ number }) => number)) + 1;
  for (const { name, queue, atMs } of theirs) {
    await rename(join(from, name), join(to, segmentName(queue, next++, atMs)));
  }
  await syncDirectory(to);
  await syncDirectory(from);
}

async function segmentsOf(directory: string) {
  return (await readdir(directory))
    .flatMap(name => parseSegmentName(name) ?? [])
    .toSorted((a, b) => a.number - b.number);
}

/** The real disk. Files are for their owner alone. */
export function spoolFilesOf(directory: string): SpoolFiles {
  const known = new Set<string>();
  const pathOf = (name: string): string => join(directory, name);
  return {
    list: async () => (await readdir(directory)).filter(name => parseSegmentName(name) !== null),
    read: name => readFile(pathOf(name)),
    async append(name, bytes) {
      const handle = await open(pathOf(name), 'a', 0o600);
      try {
        await handle.writeFile(bytes);
        await handle.datasync();
      } finally {
        await handle.close();
      }
      if (known.has(name)) return;
      await syncDirectory(directory);
      known.add(name);
    },
    async truncate(name, bytes) {
      const handle = await open(pathOf(name), 'r+');
      try {
        await handle.truncate(bytes);
        await handle.datasync();
      } finally {
        await handle.close();
      }
    },
    async remove(name) {
      known.delete(name);
      await rm(pathOf(name), { force: true });
      await syncDirectory(directory);
    },
  };
}
