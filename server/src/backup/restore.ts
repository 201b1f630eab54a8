import { lstat, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Database } from '../platform/db.ts';
import { StartupError } from '../platform/errors.ts';
import { createKeyring, Secret } from '../platform/keyring.ts';
import {
  addMasterKeys,
  type FoundMasterKeys,
  findMasterKeys,
  parseMasterKeys,
} from '../platform/master-key.ts';
import { findBundle } from '../platform/postgres/binaries.ts';
import { type DataDir, openDataDir } from '../platform/postgres/data-dir.ts';
import { currentUser } from '../platform/postgres/embedded.ts';
import { statIfThere } from '../platform/postgres/files.ts';
import { acquireInstanceLock } from '../platform/postgres/instance-lock.ts';
import { assertReachable, chooseOwner } from '../platform/postgres/owner.ts';
import { endPostmaster } from '../platform/postgres/postmaster.ts';
import {
  giveToOwnerOf,
  makeScratch,
  type Replaced,
  replaceFiles,
  type Scratch,
  settle,
} from '../platform/postgres/settle.ts';
import { acquireProcessLock } from '../platform/process-lock.ts';
import { forgetAllWorkers } from '../polling/slots.ts';
import { neededMasterKeys, tryDataKeys } from '../secrets/store.ts';
import { identifyArchive } from './archive.ts';

import { clusterFolder, masterKeyName, spoolFolder } from './contents.ts';
import { type Found, inspect, type Parts, type StoreSettings } from './inspect.ts';
import { meter } from './progress.ts';
import type { Backup } from './read.ts';
import { explainFullDisk } from './target.ts';
import { unpack } from './unpack.ts';

export type RestoreOptions = Parts & {
  settings: StoreSettings;
  from: string;
  /** Whether a database that is there may be moved aside. */
  replace: boolean;
};

export type RestoreResult = Replaced & {
  dataDir: string;
  /** Null where an earlier run of the same backup was only finished. */
  found: Found | null;
  endedAt: string | null;
  /** Where the master key is that opens the stored secrets; null where none are stored. */
  masterKey: string | null;
};

/**
 * Restores a backup into a data directory: unpacked beside, checked, started once, and only then put in place.
 * Whenever it is killed, the data directory has either what it had or all of the backup, and the next start or
 * restore cleans up or goes on. Throws a StartupError that says why a backup or a data directory is refused.
 */
export async function restoreBackup(options: RestoreOptions): Promise<RestoreResult> {
  const { settings, from, clock, log } = options;
  const { digest } = await identifyArchive(from);
  const dataDir = await openDataDir(settings.dataDir, currentUser().uid);
  const lock = acquireInstanceLock(dataDir.path);
  try {
    const finished = await settle(dataDir, { clock, log });
    if (finished?.digest === digest) {
      return { ...finished, dataDir: dataDir.path, found: null, endedAt: null, masterKey: null };
    }
    await assertReplaceable(dataDir, options);
    const scratch = await makeScratch(dataDir.path);
    try {
      return await restore(dataDir, scratch, options);
    } catch (error) {
      throw explainFullDisk(error, `the backup in ${dataDir.path}. Nothing was changed there.`) ?? error;
    } finally {
      await scratch.remove();
    }
  } finally {
    lock.release();
    for (const name of ['instance.lock', 'instance.pid'])
      await giveToOwnerOf(dataDir.path, join(dataDir.path, name));
  }
}

async function assertReplaceable(dataDir: DataDir, { replace }: RestoreOptions): Promise<void> {
  const place = join(dataDir.path, clusterFolder);
  const found = await statIfThere(place);
  if (found && !replace) {
    throw new StartupError(
      `${dataDir.path} holds a database already. With --replace it is moved aside, into a directory beside it, and nothing is deleted.`,
    );
  }
  const folder = await lstat(dataDir.path);
  for (const name of [clusterFolder, spoolFolder]) {
    const there = await statIfThere(join(dataDir.path, name));
    if (there && (!there.isDirectory() || there.dev !== folder.dev)) {
      throw new StartupError(
        `${join(dataDir.path, name)} is a link or a file system of its own, and cannot be moved aside.`,
      );
    }
  }
  await assertSpoolUnused(join(dataDir.path, spoolFolder));
}

/** Workers of a database elsewhere may share the data directory without its lock. */
async function assertSpoolUnused(spool: string): Promise<void> {
  if (!(await statIfThere(spool))) return;
  for (const number of (await readdir(spool)).filter(name => /^\d+$/.test(name))) {
    const path = join(spool, number, 'lock');
    if (!(await statIfThere(path))) continue;
    const lock = acquireProcessLock(path);
    if (lock === null) throw new StartupError(`A worker uses ${join(spool, number)}. Stop it first.`);
    lock.release();
  }
}

async function restore(dataDir: DataDir, scratch: Scratch, options: RestoreOptions): Promise<RestoreResult> {
  const { from, clock, log, signal, onProgress } = options;
  const self = currentUser();
  const bundle = await findBundle();
  const clusterDir = join(dataDir.path, clusterFolder);
  const owner = await chooseOwner(dataDir, clusterDir, self);
  if (self.uid === 0) await assertReachable(dataDir.path, owner);
  onProgress('Unpacking and checking');
  const backup = await unpack(from, scratch, {
    ...options,
    owner,
    bundledMajor: bundle.major,
    onProgress: meter(options, 'unpacked'),
  });
  onProgress('Starting PostgreSQL on it');
  let keys: UsableKeys | null = null;
  const place = { dataDir: dataDir.path, scratch, bundle, owner, isKept: true };
  const found = await inspect(backup, place, options, async db => {
    keys = await usableKeys(db, { dataDir, scratch, backup }, options);
    await forgetAllWorkers(db.system);
  });
  signal.throwIfAborted();
  await endPostmaster({ clusterDir, clock, log });
  const masterKey = await keepKeys(dataDir, keys);
  await giveSpool(dataDir, scratch);
  const replaced = await replaceFiles(dataDir, scratch, { at: clock.now(), digest: backup.archive.digest });
  return { ...replaced, dataDir: dataDir.path, found, endedAt: backup.manifest.endedAt, masterKey };
}

type UsableKeys = FoundMasterKeys & { isOfBackup: boolean };

/**
 * The master keys that open what is stored: those that the next start will find, else the backup's own. Null where
 * nothing is stored that needs one. Throws a StartupError where none opens everything.
 */
async function usableKeys(
  db: Database,
  { dataDir, scratch, backup }: { dataDir: DataDir; scratch: Scratch; backup: Backup },
  { settings }: RestoreOptions,
): Promise<UsableKeys | null> {
  const needed = await neededMasterKeys(db.system);
  if (needed.length === 0) return null;
  const { masterKey: fromEnvironment, masterKeyFile: file } = settings;
  const atHand = await findMasterKeys({ fromEnvironment, file, dataDir: dataDir.path });
  const isSet = fromEnvironment !== null || file !== null;
  const candidates: UsableKeys[] = atHand === null ? [] : [{ ...atHand, isOfBackup: false }];
  // A start would use the setting, and nothing else.
  if (backup.header.hasMasterKey && !isSet) candidates.push(await keysOfBackup(scratch));
  for (const candidate of candidates) {
    const { closed } = await tryDataKeys(db.system, createKeyring(candidate.keys));
    if (closed === 0) return candidate;
  }
  const key = `the master key ${needed.join(', ')}`;
  throw new StartupError(
    candidates.length === 0
      ? `The stored secrets need ${key}, which is not in the backup. Put the key file of the installation that was backed up to ${join(dataDir.path, 'master-key')} (mode 600), or set OPSFLEET_MASTER_KEY or OPSFLEET_MASTER_KEY_FILE, now and for npm start.`
      : `The stored secrets need ${key}, and ${candidates.map(each => each.place).join(' and ')} does not open all of them. Nothing was restored.`,
  );
}

async function keysOfBackup(scratch: Scratch): Promise<UsableKeys> {
  const text = await readFile(join(scratch.path, masterKeyName), 'utf8');
  const place = 'the master key of the backup';
  return {
    keys: parseMasterKeys(text.trim(), place),
    text: new Secret(text.trim()),
    place,
    isOfBackup: true,
  };
}

/** Puts the keys of a backup to those that are there, before the database is: a key too many opens nothing new. */
async function keepKeys(dataDir: DataDir, keys: UsableKeys | null): Promise<string | null> {
  if (keys === null) return null;
  if (!keys.isOfBackup) return keys.place;
  await addMasterKeys(dataDir.path, keys.text);
  await giveToOwnerOf(dataDir.path, join(dataDir.path, masterKeyName));
  return `the master key file ${join(dataDir.path, masterKeyName)}`;
}

async function giveSpool(dataDir: DataDir, scratch: Scratch): Promise<void> {
  const spool = join(scratch.files, spoolFolder);
  await giveToOwnerOf(dataDir.path, spool);
  for (const name of await readdir(spool, { recursive: true }))
    await giveToOwnerOf(dataDir.path, join(spool, name));
}
