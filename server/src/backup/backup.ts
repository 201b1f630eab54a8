import { createHash, randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from 'pg';
import { isConnectionFailure } from '../platform/database-failure.ts';
import { StartupError } from '../platform/errors.ts';
import { type FoundMasterKeys, findMasterKeys } from '../platform/master-key.ts';
import { findBundle } from '../platform/postgres/binaries.ts';
import { clusterVersion } from '../platform/postgres/cluster.ts';
import { type Address, withSuperuser } from '../platform/postgres/connection.ts';
import { type DataDir, openDataDir } from '../platform/postgres/data-dir.ts';
import { currentUser, startEmbeddedPostgres } from '../platform/postgres/embedded.ts';
import { errorCode, statIfThere } from '../platform/postgres/files.ts';
import { isInstanceLocked } from '../platform/postgres/instance-lock.ts';
import { chooseOwner } from '../platform/postgres/owner.ts';
import { findAddress } from '../platform/postgres/postmaster.ts';
import { makeScratch } from '../platform/postgres/settle.ts';
import { parseSegmentName } from '../platform/spool.ts';
import { neededMasterKeys } from '../secrets/store.ts';
import { version } from '../version.ts';
import { type AddFile, type Archive, writeArchive } from './archive.ts';
import { type BaseBackup, beginBaseBackup, listCluster } from './base-backup.ts';
import {
  clusterFolder,
  type FileEntry,
  formatVersion,
  type Header,
  headerName,
  type Manifest,
  manifestName,
  masterKeyName,
  spoolFolder,
} from './contents.ts';
import { type Found, inspect, migrationOf, type Parts, type StoreSettings, withDatabase } from './inspect.ts';
import { type Backup, hashing, readBackup } from './read.ts';
import { openTarget, type Target } from './target.ts';
import { unpack } from './unpack.ts';

export type BackupOptions = Parts & {
  settings: StoreSettings & { sharedBuffersMib: number };
  /** A file that is not there yet, or a directory. */
  to: string;
  withMasterKey: boolean;
  /** Whether to start a PostgreSQL from the finished backup and read from it. */
  verify: boolean;
};

export type BackupResult = Backup & { path: string; found: Found | null };

/**
 * Makes a backup of the embedded database, and of the results that wait on disk for it, while the control plane runs
 * or while it is stopped. Every transaction that was committed before `manifest.endedAt` is in it. The file is
 * read back and compared before it gets its name. Throws a StartupError that names the cause; nothing is left then.
 */
export async function makeBackup(options: BackupOptions): Promise<BackupResult> {
  const dataDir = await openExisting(options.settings.dataDir);
  const keys = await masterKeysOf(dataDir, options);
  const target = await openTarget(options.to, dataDir.path, options.clock);
  try {
    await withRunningPostgres(dataDir, options, address =>
      write(target, { address, dataDir, keys }, options),
    );
    await target.handle.sync();
    await target.handle.close();
    options.onProgress('Reading it back');
    const backup = await readBackup(target.partial, { ...options, onProgress: meter(options, 'read back') });
    const found = options.verify ? await verify(target, dataDir, options) : null;
    options.signal.throwIfAborted();
    await target.finish();
    return { ...backup, path: target.path, found };
  } catch (error) {
    await target.discard();
    throw explain(error, target.path);
  }
}

/** Disks fill up; anything else the system says is told as it is. */
function explain(error: unknown, path: string): unknown {
  if (errorCode(error) === 'ENOSPC' || errorCode(error) === 'EDQUOT') {
    return new StartupError(`There is no room left for ${path}. What was written of it has been removed.`, {
      cause: error,
    });
  }
  if (errorCode(error) === 'EFBIG') {
    return new StartupError(`${path} would be larger than its file system or a limit (ulimit -f) allows.`, {
      cause: error,
    });
  }
  if (isConnectionFailure(error) && errorCode(error) !== 'ENOENT') {
    return new StartupError(
      'The database went away while it was copied. Nothing is left of the backup; run it again.',
      {
        cause: error,
      },
    );
  }
  return error;
}

async function openExisting(path: string): Promise<DataDir> {
  const cluster = await clusterVersion(join(path, clusterFolder)).catch((error: unknown) => {
    throw error instanceof StartupError
      ? error
      : new StartupError(`${path} cannot be read (${errorCode(error)}).`, { cause: error });
  });
  if (cluster === undefined) throw new StartupError(`There is no embedded database in ${path}.`);
  return openDataDir(path, currentUser().uid);
}

async function masterKeysOf(
  dataDir: DataDir,
  { settings, withMasterKey }: BackupOptions,
): Promise<FoundMasterKeys | null> {
  if (!withMasterKey) return null;
  const { masterKey: fromEnvironment, masterKeyFile: file } = settings;
  const keys = await findMasterKeys({ fromEnvironment, file, dataDir: dataDir.path });
  if (keys !== null) return keys;
  throw new StartupError(
    `There is no master key in ${dataDir.path} to put into the backup. Set OPSFLEET_MASTER_KEY or OPSFLEET_MASTER_KEY_FILE as npm start has it.`,
  );
}

/** The PostgreSQL of the control plane that runs, or one that is started for this. */
async function withRunningPostgres<T>(
  dataDir: DataDir,
  { settings, clock, log, signal, onProgress }: BackupOptions,
  work: (address: Address) => Promise<T>,
): Promise<T> {
  if (isInstanceLocked(dataDir.path)) {
    const clusterDir = join(dataDir.path, clusterFolder);
    const running = await findAddress({ clusterDir, clock, signal, onProgress });
    if (running) return work(running);
    throw new StartupError(
      `An opsfleet holds ${dataDir.path}, and no PostgreSQL runs there: it is just starting or stopping, or has DATABASE_URL set.`,
    );
  }
  const embedded = await startEmbeddedPostgres({
    dataDir: dataDir.path,
    settings: { shared_buffers: `${settings.sharedBuffersMib}MB` },
    clock,
    log,
    signal,
    onProgress,
  });
  try {
    return await work(embedded.connection);
  } finally {
    await embedded.stop();
  }
}

type Source = { address: Address; dataDir: DataDir; keys: FoundMasterKeys | null };

async function write(target: Target, source: Source, options: BackupOptions): Promise<Archive> {
  const { address, keys } = source;
  const { clock, log } = options;
  const { migration, masterKeyIds } = await withDatabase(address, options, async db => {
    const newest = await migrationOf(db);
    return { migration: newest, masterKeyIds: newest === null ? [] : await neededMasterKeys(db.system) };
  });
  const missing = keys === null ? [] : masterKeyIds.filter(id => keys.keys.every(key => key.id !== id));
  if (missing.length > 0) {
    throw new StartupError(
      `The stored secrets need the master key ${missing.join(', ')}, which ${keys!.place} is not.`,
    );
  }
  return withSuperuser({ host: address.host, port: address.port }, log, async client => {
    const startedAt = clock.now();
    const header: Header = {
      format: formatVersion,
      opsfleet: version,
      ...(await identify(client)),
      migration,
      masterKeyIds,
      hasMasterKey: keys !== null,
      startedAt: startedAt.toISOString(),
    };
    options.onProgress('Waiting for a checkpoint');
    const base = await beginBaseBackup(client, `opsfleet_backup_${randomBytes(6).toString('hex')}`);
    return writeArchive(target.handle, options.signal, add => fill(add, { header, base, source }, options));
  });
}

async function identify(
  client: Client,
): Promise<Pick<Header, 'postgres' | 'postgresMajor' | 'systemIdentifier'>> {
  const { rows } = await client.query<{ postgres: string; number: number; id: string }>(
    `select current_setting('server_version') as postgres, current_setting('server_version_num')::int as number,
            system_identifier::text as id
       from pg_control_system()`,
  );
  const { postgres, number, id } = rows[0]!;
  return { postgres, postgresMajor: Math.floor(number / 10_000), systemIdentifier: id };
}

type Content = { header: Header; base: BaseBackup; source: Source };

async function fill(
  addFile: AddFile,
  { header, base, source }: Content,
  options: BackupOptions,
): Promise<void> {
  const clusterDir = join(source.dataDir.path, clusterFolder);
  const files: FileEntry[] = [];
  const add: AddFile = async (path, bytes, chunks) => {
    const hash = createHash('sha256');
    await addFile(
      path,
      bytes,
      hashing(chunks, chunk => hash.update(chunk)),
    );
    files.push({ path, bytes, sha256: hash.digest('hex') });
  };
  const addBuffer = (path: string, content: Buffer): Promise<void> =>
    add(path, content.length, once(content));
  const addFrom = (root: string, folder: string) => async (name: string, isNeeded: boolean) =>
    copyFile(add, { from: join(root, name), to: `${folder}/${name}`, isNeeded }, options.signal);

  await addBuffer(headerName, Buffer.from(JSON.stringify(header)));
  // Before the end of the backup: what is stored meanwhile and leaves the disk is in the database then.
  const spool = join(source.dataDir.path, spoolFolder);
  for (const name of await spoolSegments(spool)) await addFrom(spool, spoolFolder)(name, false);
  const listing = await listCluster(clusterDir);
  const report = meter(options, 'copied');
  const addCluster = addFrom(clusterDir, clusterFolder);
  let copied = 0;
  // A file that is gone meanwhile was of a table that was dropped, which the log tells, too.
  for (const name of listing.files) report((copied += await addCluster(name, false)));
  const endedAt = options.clock.now().toISOString();
  const { label, walFiles } = await base.stop();
  await addBuffer(`${clusterFolder}/backup_label`, label);
  for (const name of walFiles) report((copied += await addCluster(`pg_wal/${name}`, true)));
  if (source.keys !== null) await addBuffer(masterKeyName, Buffer.from(`${source.keys.text.reveal()}\n`));
  const manifest: Manifest = { endedAt, directories: listing.directories, files };
  const text = Buffer.from(JSON.stringify(manifest));
  await addFile(manifestName, text.length, once(text));
}

async function* once(content: Buffer): AsyncGenerator<Buffer> {
  yield content;
}

async function spoolSegments(spool: string): Promise<string[]> {
  if (!(await statIfThere(spool))) return [];
  const names: string[] = [];
  for (const number of (await readdir(spool)).filter(name => /^[1-9]\d{0,3}$/.test(name)).toSorted()) {
    const segments = (await readdir(join(spool, number))).filter(name => parseSegmentName(name) !== null);
    names.push(...segments.toSorted().map(name => `${number}/${name}`));
  }
  return names;
}

type Copy = { from: string; to: string; isNeeded: boolean };

/** Adds a file as it is, and returns its bytes; 0 where it is gone and may be. */
async function copyFile(add: AddFile, { from, to, isNeeded }: Copy, signal: AbortSignal): Promise<number> {
  const handle = await open(from, constants.O_RDONLY | constants.O_NOFOLLOW).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT' && !isNeeded) return null;
    throw new StartupError(`${from} cannot be read (${errorCode(error)}).`, { cause: error });
  });
  if (handle === null) return 0;
  try {
    const { size } = await handle.stat();
    await add(to, size, readExactly(handle, size, signal));
    return size;
  } finally {
    await handle.close();
  }
}

const readBytes = 1024 * 1024;

/**
 * The first `size` bytes of a file that may be written meanwhile. Zeros stand for what was cut off, and what is
 * added behind is not read: the log has both (as in PostgreSQL's basebackup.c, sendFile).
 */
async function* readExactly(handle: FileHandle, size: number, signal: AbortSignal): AsyncGenerator<Buffer> {
  for (let at = 0; at < size; ) {
    signal.throwIfAborted();
    const wanted = Math.min(readBytes, size - at);
    const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(wanted), 0, wanted, at);
    const chunk = bytesRead > 0 ? buffer.subarray(0, bytesRead) : Buffer.alloc(wanted);
    at += chunk.length;
    yield chunk;
  }
}

/** Unpacks the finished file, starts a PostgreSQL on it and reads from that. */
async function verify(target: Target, dataDir: DataDir, options: BackupOptions): Promise<Found | null> {
  const bundle = await findBundle();
  const owner = await chooseOwner(dataDir, join(dataDir.path, clusterFolder), currentUser());
  options.onProgress('Starting a PostgreSQL from it');
  const scratch = await makeScratch(dataDir.path);
  try {
    const backup = await unpack(target.partial, scratch, {
      ...options,
      owner,
      bundledMajor: bundle.major,
      onProgress: meter(options, 'unpacked'),
    });
    return await inspect(backup, { dataDir: dataDir.path, scratch, bundle, owner, isKept: false }, options);
  } finally {
    await scratch.remove();
  }
}

const meterEveryMs = 5_000;

/** Tells how far it is, at most every 5 s. */
export function meter(
  { clock, onProgress }: Pick<Parts, 'clock' | 'onProgress'>,
  what: string,
): (bytes: number) => void {
  let nextMs = clock.monotonicMs() + meterEveryMs;
  return bytes => {
    if (clock.monotonicMs() < nextMs) return;
    nextMs = clock.monotonicMs() + meterEveryMs;
    onProgress(`${mebibytes(bytes)} MiB ${what}`);
  };
}

/** MiB with one digit behind the point. */
export const mebibytes = (bytes: number): string => (bytes / 1024 ** 2).toFixed(1);
