import { randomBytes } from 'node:crypto';
import { type FileHandle, lstat, open, readdir, realpath, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve, sep } from 'node:path';
import type { Clock } from '../platform/clock.ts';
import { StartupError } from '../platform/errors.ts';
import { errorCode, statIfThere } from '../platform/postgres/files.ts';
import { syncDirectory } from '../platform/private-file.ts';

/** The file that a backup becomes. Until `finish` it bears another name: whatever is called a backup is a whole one. */
export type Target = {
  path: string;
  /** Where it is written meanwhile. */
  partial: string;
  handle: FileHandle;
  /** Gives the file, which is on disk by then, its name. */
  finish(): Promise<void>;
  /** Removes what was written. */
  discard(): Promise<void>;
};

const suffix = '.tar.zst';
const partialPattern = /^(.*)\.partial-[0-9a-f]{8}$/;
const ownName = /^opsfleet-\d{8}T\d{6}Z\.tar\.zst$/;
/** One that is being written changes all the time. */
const abandonedAfterMs = 3_600_000;

/**
 * Opens the file for a backup: `to` itself, or one named after the time where `to` is a directory. Throws a
 * StartupError where it is there already, cannot be written, or would be in the data directory that it is made of.
 */
export async function openTarget(to: string, dataDir: string, clock: Clock): Promise<Target> {
  const path = await pathOf(to, clock);
  const folder = await realpath(dirname(path)).catch((error: unknown) => {
    throw new StartupError(`${dirname(path)} cannot be used (${errorCode(error)}).`, { cause: error });
  });
  if (`${folder}${sep}`.startsWith(`${dataDir}${sep}`)) {
    throw new StartupError(
      `${path} is in the data directory, and would be lost with it. Name a place elsewhere.`,
    );
  }
  if (await statIfThere(path))
    throw new StartupError(`${path} is there already, and a backup replaces nothing.`);
  await removeAbandoned(folder, basename(path), clock);
  const partial = `${path}.partial-${randomBytes(4).toString('hex')}`;
  const handle = await open(partial, 'wx', 0o600).catch((error: unknown) => {
    throw new StartupError(`${path} cannot be written (${errorCode(error)}).`, { cause: error });
  });
  return {
    path,
    partial,
    handle,
    async finish() {
      await rename(partial, path);
      await syncDirectory(folder);
    },
    async discard() {
      await handle.close().catch(() => undefined);
      await rm(partial, { force: true });
    },
  };
}

/** What to tell where a disk takes no more of `what`; null for any other error. */
export function explainFullDisk(error: unknown, what: string): StartupError | null {
  const code = errorCode(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new StartupError(`There is no room left for ${what}`, { cause: error });
  }
  if (code !== 'EFBIG') return null;
  return new StartupError(`The file system, or a limit (ulimit -f), allows no file as large as ${what}`, {
    cause: error,
  });
}

async function pathOf(to: string, clock: Clock): Promise<string> {
  const path = resolve(to);
  const found = await statIfThere(path);
  const isFolder =
    found?.isDirectory() || to.endsWith(sep) || (found?.isSymbolicLink() && (await leadsToFolder(path)));
  if (!isFolder) return path;
  const stamp = clock.now().toISOString().replace(/\.\d+/, '').replace(/[-:]/g, '');
  return join(path, `opsfleet-${stamp}${suffix}`);
}

async function leadsToFolder(link: string): Promise<boolean> {
  const target = await realpath(link).catch(() => null);
  return target !== null && (await lstat(target)).isDirectory();
}

/** What backups have left in this folder that were killed. */
async function removeAbandoned(folder: string, name: string, clock: Clock): Promise<void> {
  for (const each of await readdir(folder)) {
    const of = partialPattern.exec(each)?.[1];
    if (of === undefined || (of !== name && !ownName.test(of))) continue;
    const path = join(folder, each);
    const found = await statIfThere(path);
    if (found?.isFile() && clock.now().getTime() - found.mtimeMs > abandonedAfterMs)
      await rm(path, { force: true });
  }
}
