import { randomBytes } from 'node:crypto';
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
import { errorCode } from '../platform/postgres/files.ts';
import { isInstanceLocked } from '../platform/postgres/instance-lock.ts';
import { chooseOwner } from '../platform/postgres/owner.ts';
import { findAddress } from '../platform/postgres/postmaster.ts';
import { makeScratch } from '../platform/postgres/settle.ts';
import { neededMasterKeys } from '../secrets/store.ts';
import { version } from '../version.ts';
import { type Archive, writeArchive } from './archive.ts';
import { beginBaseBackup } from './base-backup.ts';
import { clusterFolder, formatVersion, type Header } from './contents.ts';
import { fill } from './fill.ts';
import { type Found, inspect, migrationOf, type Parts, type StoreSettings, withDatabase } from './inspect.ts';
import { meter } from './progress.ts';
import { type Backup, readBackup } from './read.ts';
import { explainFullDisk, openTarget, type Target } from './target.ts';
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

function explain(error: unknown, path: string): unknown {
  const full = explainFullDisk(error, `${path}. What was written of it has been removed.`);
  if (full !== null) return full;
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
      architecture: process.arch,
      migration,
      masterKeyIds,
      hasMasterKey: keys !== null,
      startedAt: startedAt.toISOString(),
    };
    options.onProgress('Waiting for a checkpoint');
    const base = await beginBaseBackup(client, `opsfleet_backup_${randomBytes(6).toString('hex')}`);
    return writeArchive(target.handle, options.signal, add =>
      fill(add, { header, base, dataDir: source.dataDir.path, keys }, options),
    );
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
