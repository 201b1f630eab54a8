import { join } from 'node:path';
import type { Clock } from '../clock.ts';
import { StartupError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { ProcessLock } from '../process-lock.ts';
import { findBundle, installBinaries, removeOtherBinaries } from './binaries.ts';
import {
  applicationDatabase,
  applicationRole,
  assertSameMajor,
  clusterVersion,
  createCluster,
  provision,
} from './cluster.ts';
import { withSuperuser } from './connection.ts';
import { type DataDir, makeSocketDir, openDataDir } from './data-dir.ts';
import { errorCode } from './files.ts';
import { acquireInstanceLock } from './instance-lock.ts';
import { launchPostmaster } from './launch.ts';
import { assertReachable, chooseOwner, type Owner } from './owner.ts';
import { type ExitInfo, findPostmaster, type Postmaster, stopPostmaster } from './postmaster.ts';
import { settle } from './settle.ts';

export type EmbeddedPostgresOptions = {
  /** Absolute path; see `defaultDataDir`. */
  dataDir: string;
  log: Log;
  clock: Clock;
  /** Aborting it ends a start that is under way. */
  signal?: AbortSignal;
  /** Server settings over the defaults, such as `{ fsync: 'off' }` for a test. An adopted server keeps its own. */
  settings?: Record<string, string>;
  /** Told, in one line each, what a start that takes long is doing. */
  onProgress?: (line: string) => void;
};

export type EmbeddedPostgres = {
  /** How the application connects: `host` is the directory of a unix socket, the role no superuser. */
  connection: { host: string; port: number; user: string; database: string };
  /** Of the running server, such as `18.4`. */
  version: string;
  /** Whether it was left running by an opsfleet that was killed. */
  adopted: boolean;
  pid: number;
  /**
   * Stops the server and gives the data directory free. `fast` (the default) ends the open connections and
   * writes everything out; after 10 s, or at once with `immediate`, it is stopped without that and recovers
   * at the next start. No committed row is lost either way. May be called again, also to hurry a slow stop.
   */
  stop(mode?: 'fast' | 'immediate'): Promise<void>;
  /** Calls the listener once if the server ends without having been asked to. Code and signal of an adopted one are null. */
  onExit(listener: (info: ExitInfo) => void): void;
};

/**
 * Starts the PostgreSQL that comes with opsfleet on a data directory, creating what is missing, or adopts
 * the one that an opsfleet killed with kill -9 has left running there.
 *
 * Throws a StartupError that names the directory and the remedy when the directory cannot be used, another
 * opsfleet holds it, it was made by another major version, or the server does not run.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const self = currentUser();
  const dataDir = await openDataDir(options.dataDir, self.uid);
  const lock = acquireInstanceLock(dataDir.path);
  try {
    await settle(dataDir, options);
    const { postmaster, adopted } = await obtainPostmaster(dataDir, self, options);
    try {
      const version = await withSuperuser(postmaster, options.log, async client => {
        await provision(client);
        const { rows } = await client.query<{ server_version: string }>('show server_version');
        return rows[0]?.server_version ?? '';
      });
      options.log.info(
        { pid: postmaster.pid, version, adopted, dataDir: dataDir.path },
        'PostgreSQL is running',
      );
      return supervise(postmaster, { version, adopted, lock, ...options });
    } catch (error) {
      await stopPostmaster(postmaster, { mode: 'fast', ...options });
      throw error;
    }
  } catch (error) {
    lock.release();
    throw asStartupError(error, dataDir.path, options.signal);
  }
}

/** The user that this process runs as. Throws a StartupError on systems that have none. */
export function currentUser(): Owner {
  const [uid, gid] = [process.geteuid?.(), process.getegid?.()];
  if (uid === undefined || gid === undefined) {
    throw new StartupError(`There is no embedded PostgreSQL for ${process.platform}. Set DATABASE_URL.`);
  }
  return { uid, gid };
}

function asStartupError(error: unknown, dataDir: string, signal: AbortSignal | undefined): unknown {
  if (!(error instanceof Error) || error instanceof StartupError) return error;
  if (signal?.aborted || errorCode(error) === undefined) return error;
  const message = `The embedded PostgreSQL in ${dataDir} cannot be started: ${error.message}`;
  return new StartupError(message, { cause: error });
}

async function obtainPostmaster(
  dataDir: DataDir,
  self: Owner,
  options: EmbeddedPostgresOptions,
): Promise<{ postmaster: Postmaster; adopted: boolean }> {
  const { clock, log, signal, onProgress = () => undefined, settings = {} } = options;
  const clusterDir = join(dataDir.path, 'pgdata');
  const waiting = { clusterDir, clock, signal, onProgress };
  const bundle = await findBundle();
  const found = await clusterVersion(clusterDir);
  if (found !== undefined) assertSameMajor(clusterDir, found, bundle.major);
  const owner = await chooseOwner(dataDir, clusterDir, self);
  if (self.uid === 0) await assertReachable(dataDir.path, owner);

  const running = await findPostmaster(waiting);
  if (running) {
    if (await answers(running, log)) return { postmaster: running, adopted: true };
    await stopPostmaster(running, { mode: 'fast', clock, log });
  }

  const { postgres, initdb } = await installBinaries(dataDir.path, { bundle, owner, signal, onProgress });
  if (found === undefined) {
    onProgress('Creating the database');
    await createCluster(clusterDir, { initdb, owner, log, signal });
  }
  const socketDir = await makeSocketDir(dataDir.path, owner);
  const launch = { postgres, dataDir: dataDir.path, socketDir, owner, settings, log };
  const postmaster = await launchPostmaster({ ...waiting, ...launch });
  await removeOtherBinaries(dataDir.path, { keep: bundle, log });
  return { postmaster, adopted: false };
}

/** Whether a postmaster takes connections: its socket may have been cleaned away, or it is shutting down. */
async function answers(postmaster: Postmaster, log: Log): Promise<boolean> {
  try {
    await withSuperuser(postmaster, log, client => client.query('select'));
    return true;
  } catch (error) {
    log.warn({ err: error, pid: postmaster.pid }, 'a running PostgreSQL does not answer and is restarted');
    return false;
  }
}

function supervise(
  postmaster: Postmaster,
  options: { version: string; adopted: boolean; lock: ProcessLock; clock: Clock; log: Log },
): EmbeddedPostgres {
  const listeners: ((info: ExitInfo) => void)[] = [];
  let unasked: ExitInfo | undefined;
  let stopping: Promise<void> | undefined;
  const watch = async (): Promise<void> => {
    const info = await postmaster.exited;
    if (stopping) return;
    unasked = info;
    options.log.error(info, 'PostgreSQL ended unexpectedly');
    for (const listener of listeners) listener(info);
  };
  void watch();
  return {
    connection: {
      host: postmaster.host,
      port: postmaster.port,
      user: applicationRole,
      database: applicationDatabase,
    },
    version: options.version,
    adopted: options.adopted,
    pid: postmaster.pid,
    stop(mode = 'fast') {
      if (stopping && mode === 'immediate') postmaster.kill('SIGQUIT');
      stopping ??= stopPostmaster(postmaster, { ...options, mode }).finally(() => options.lock.release());
      return stopping;
    },
    onExit(listener) {
      if (unasked) listener(unasked);
      else listeners.push(listener);
    },
  };
}
