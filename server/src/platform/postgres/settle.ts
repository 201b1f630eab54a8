import { randomBytes } from 'node:crypto';
import { chmod, lchown, mkdir, readdir, rename, rm, rmdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../clock.ts';
import { StartupError } from '../errors.ts';
import type { Log } from '../log.ts';
import { syncDirectory } from '../private-file.ts';
import { acquireProcessLock, type ProcessLock } from '../process-lock.ts';
import type { DataDir } from './data-dir.ts';
import { statIfThere } from './files.ts';
import { endPostmaster } from './postmaster.ts';

/**
 * A directory in the data directory that a backup is unpacked into. Its lock says that somebody is at it; what a
 * killed process leaves goes with the next start.
 */
export type Scratch = {
  path: string;
  /** What may become part of the data directory; everything beside it goes. */
  files: string;
  remove(): Promise<void>;
};

const scratchPattern = /^unpacked-[0-9a-f]{8}$/;
const clusterName = 'pgdata';

/** Makes a scratch directory, empty. */
export async function makeScratch(dataDir: string): Promise<Scratch> {
  const path = join(dataDir, `unpacked-${randomBytes(4).toString('hex')}`);
  const files = join(path, 'files');
  for (const directory of [path, files]) {
    await mkdir(directory);
    // As root, PostgreSQL runs as another user, who has to pass through.
    await chmod(directory, process.geteuid?.() === 0 ? 0o711 : 0o700);
  }
  const lock = acquireProcessLock(join(path, 'lock'));
  if (lock === null) throw new Error(`${path} was taken by another process`);
  return { path, files, remove: () => removeScratch(path, lock) };
}

async function removeScratch(path: string, lock: ProcessLock): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 3 });
  lock.release();
}

const decidedPattern = /^restored-(\d{8}T\d{6}Z)-([0-9a-f]{64})$/;

/** A restore whose outcome is decided: what lies in `path` takes the place of what the data directory has of that name. */
type Decided = { path: string; at: string; digest: string };

export type Replaced = {
  /** Of the backup: SHA-256 in hex. */
  digest: string;
  /** Where the files went that were in its place; null where there were none. */
  aside: string | null;
};

/**
 * Makes the files of a scratch directory those of the data directory. Whoever is killed before this has changed
 * nothing, and whoever is killed in it has it finished by the next start or restore. The caller holds the instance
 * lock and has seen to it that no PostgreSQL runs on the old files. `at` is UTC.
 */
export async function replaceFiles(
  dataDir: DataDir,
  scratch: Scratch,
  { at, digest }: { at: Date; digest: string },
): Promise<Replaced> {
  const stamp = at.toISOString().replace(/\.\d+/, '').replace(/[-:]/g, '');
  const path = join(dataDir.path, `restored-${stamp}-${digest}`);
  if (await statIfThere(join(dataDir.path, `replaced-${stamp}`))) {
    throw new StartupError(`${dataDir.path} holds replaced-${stamp} already: is the clock right?`);
  }
  await syncDirectory(scratch.files);
  await rename(scratch.files, path);
  await syncDirectory(dataDir.path);
  return finish(dataDir, { path, at: stamp, digest });
}

async function finish(dataDir: DataDir, { path, at, digest }: Decided): Promise<Replaced> {
  const aside = join(dataDir.path, `replaced-${at}`);
  for (const name of await readdir(path)) {
    const place = join(dataDir.path, name);
    if (await statIfThere(place)) {
      if (!(await statIfThere(aside))) await makeAside(aside, dataDir.path);
      await rename(place, join(aside, name));
      await syncDirectory(aside);
    }
    await rename(join(path, name), place);
    await syncDirectory(dataDir.path);
  }
  await rmdir(path);
  await syncDirectory(dataDir.path);
  return { digest, aside: (await statIfThere(aside)) ? aside : null };
}

async function makeAside(path: string, dataDir: string): Promise<void> {
  await mkdir(path, { mode: 0o700 });
  await giveToOwnerOf(dataDir, path);
}

/** Where root made a file in the data directory of somebody else, who has to be able to use it. */
export async function giveToOwnerOf(dataDir: string, path: string): Promise<void> {
  if (process.geteuid?.() !== 0) return;
  const { uid, gid } = await stat(dataDir);
  await lchown(path, uid, gid);
}

/**
 * Finishes a restore that was killed after it was decided, and removes what backups and restores have left that were
 * killed before. The caller holds the instance lock. Returns what was finished, or null.
 */
export async function settle(
  dataDir: DataDir,
  { clock, log }: { clock: Clock; log: Log },
): Promise<Replaced | null> {
  const names = await readdir(dataDir.path);
  for (const name of names.filter(each => scratchPattern.test(each))) {
    const path = join(dataDir.path, name);
    const lock = acquireProcessLock(join(path, 'lock'));
    // A backup that is looked through while the control plane is stopped and started again.
    if (lock === null) continue;
    log.info({ path }, 'removing what a killed backup or restore has left');
    await endPostmaster({ clusterDir: join(path, 'files', clusterName), clock, log });
    await removeScratch(path, lock);
  }
  const decided = names.flatMap((name): Decided[] => {
    const [, at, digest] = decidedPattern.exec(name) ?? [];
    return at === undefined ? [] : [{ path: join(dataDir.path, name), at, digest: digest! }];
  });
  if (decided.length > 1) {
    throw new StartupError(
      `${dataDir.path} holds the files of ${decided.length} restores that were not finished: ${decided.map(each => each.path).join(', ')}. Move away all but the one that you want.`,
    );
  }
  if (decided[0] === undefined) return null;
  log.warn({ path: decided[0].path }, 'finishing a restore that was interrupted');
  return finish(dataDir, decided[0]);
}
