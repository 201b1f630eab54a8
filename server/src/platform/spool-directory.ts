import { dirname, join } from 'node:path';
import { StartupError } from './errors.ts';
import type { ProcessLock } from './process-lock.ts';
import { parseSegmentName, type SpoolFiles, segmentName } from './spool.ts';
import { type SpoolDisk, type SpoolFile, systemDisk } from './spool-disk.ts';

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
export async function claimSpoolDirectory(
  root: string,
  disk: SpoolDisk = systemDisk,
): Promise<SpoolDirectory> {
  try {
    if (await disk.makeDirectory(root)) await disk.syncDirectory(dirname(root));
    const own = await claimFirst(disk, root);
    for (const other of await directoriesOf(disk, root)) {
      const lock = disk.lock(join(other, lockFile));
      if (lock === null) continue;
      try {
        await adopt(disk, other, own.path);
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

async function claimFirst(disk: SpoolDisk, root: string): Promise<{ path: string; lock: ProcessLock }> {
  for (let number = 1; number <= maxDirectories; number += 1) {
    const path = join(root, String(number));
    if (await disk.makeDirectory(path)) await disk.syncDirectory(root);
    const lock = disk.lock(join(path, lockFile));
    if (lock !== null) return { path, lock };
  }
  throw new StartupError(`All ${maxDirectories} spool directories of ${root} are in use.`);
}

async function directoriesOf(disk: SpoolDisk, root: string): Promise<string[]> {
  const names = (await disk.list(root)).filter(name => /^\d+$/.test(name));
  return names.toSorted((a, b) => Number(a) - Number(b)).map(name => join(root, name));
}

/** Moves the segments of `from` behind those of `to`, in their order. */
async function adopt(disk: SpoolDisk, from: string, to: string): Promise<void> {
  const [theirs, ours] = [await segmentsOf(disk, from), await segmentsOf(disk, to)];
  if (theirs.length === 0) return;
  let next = Math.max(0, ...ours.map(({ number }) => number)) + 1;
  for (const { name, queue, atMs } of theirs) {
    await disk.rename(join(from, name), join(to, segmentName(queue, next++, atMs)));
  }
  await disk.syncDirectory(to);
  await disk.syncDirectory(from);
}

async function segmentsOf(disk: SpoolDisk, directory: string) {
  return (await disk.list(directory))
    .flatMap(name => parseSegmentName(name) ?? [])
    .toSorted((a, b) => a.number - b.number);
}

/** The files of a directory, each change on disk when its call resolves. */
export function spoolFilesOf(directory: string, disk: SpoolDisk = systemDisk): SpoolFiles {
  const known = new Set<string>();
  const pathOf = (name: string): string => join(directory, name);
  async function change(
    name: string,
    how: 'a' | 'r+',
    apply: (file: SpoolFile) => Promise<void>,
  ): Promise<void> {
    const file = await disk.open(pathOf(name), how);
    try {
      await apply(file);
      await file.sync();
    } finally {
      await file.close();
    }
  }
  return {
    list: async () => (await disk.list(directory)).filter(name => parseSegmentName(name) !== null),
    read: name => disk.read(pathOf(name)),
    async append(name, bytes) {
      await change(name, 'a', file => file.write(bytes));
      if (known.has(name)) return;
      await disk.syncDirectory(directory);
      known.add(name);
    },
    truncate: (name, bytes) => change(name, 'r+', file => file.truncate(bytes)),
    async remove(name) {
      known.delete(name);
      await disk.remove(pathOf(name));
      await disk.syncDirectory(directory);
    },
  };
}
