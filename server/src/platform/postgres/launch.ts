import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { StartupError } from '../errors.ts';
import type { Log } from '../log.ts';
import { commandEnv } from './command.ts';
import type { Owner } from './owner.ts';
import { readPidFile } from './pid-file.ts';
import { type ExitInfo, type Postmaster, polls, type Waiting } from './postmaster.ts';
import { openServerLog, readTail, type ServerLog } from './server-log.ts';

export type Launch = Waiting & {
  /** The program. */
  postgres: string;
  dataDir: string;
  socketDir: string;
  owner: Owner;
  /** Over the defaults. */
  settings: Record<string, string>;
  log: Log;
};

// The socket's directory is ours alone, so the number in its name never clashes.
const port = 5432;

const defaultSettings = {
  unix_socket_permissions: '0700',
  max_connections: '60',
  huge_pages: 'off',
  // The first change of a page after a checkpoint writes all of it to the log, and polling changes every page of the
  // servers each minute. Whichever comes first; a start after a crash replays as much.
  checkpoint_timeout: '15min',
  max_wal_size: '4GB',
  wal_compression: 'on',
  jit: 'off',
  log_timezone: 'UTC',
  timezone: 'UTC',
};

// Backends of a killed postmaster notice within moments; one in the middle of a statement ends it first.
const orphansPatienceMs = 60_000;
const retryMs = 200;

/**
 * Starts a postmaster on a cluster that has none and resolves when it is ready, crash recovery included:
 * that has no time limit. Throws a StartupError with the tail of the server's log when it ends before.
 */
export async function launchPostmaster(launch: Launch): Promise<Postmaster> {
  const { clock } = launch;
  const giveUpMs = clock.monotonicMs() + orphansPatienceMs;
  let tail = '';
  for await (const report of polls(launch)) {
    await removeStaleLocks(launch);
    const serverLog = await openServerLog(launch.dataDir);
    const child = await spawnPostmaster(launch, serverLog);
    const postmaster = asPostmaster(child, launch.socketDir);
    if (await becomesReady(child, postmaster, launch)) return postmaster;
    tail = await readTail(serverLog);
    if (!tail.includes('pre-existing shared memory block') || clock.monotonicMs() > giveUpMs) break;
    report('Waiting for the last processes of a PostgreSQL that was killed');
    await clock.sleep(retryMs, launch.signal);
  }
  throw new StartupError(
    `PostgreSQL did not start on ${launch.clusterDir}. Its log, ${join(launch.dataDir, 'postgres.log')}, ends with:\n${tail}`,
  );
}

/**
 * Files that name a process keep PostgreSQL from starting when that number now belongs to another program.
 * We hold the instance lock and found no postmaster, so they are stale. (Whether backends of a killed one
 * still run, PostgreSQL finds out from the shared memory that they are attached to.)
 */
async function removeStaleLocks({ socketDir, clusterDir }: Launch): Promise<void> {
  const socket = join(socketDir, `.s.PGSQL.${port}`);
  for (const path of [join(clusterDir, 'postmaster.pid'), `${socket}.lock`, socket]) {
    await rm(path, { force: true });
  }
}

async function spawnPostmaster(launch: Launch, serverLog: ServerLog): Promise<ChildProcess> {
  const { fd } = serverLog.handle;
  const child = spawn(launch.postgres, ['-D', launch.clusterDir, ...settingArguments(launch)], {
    ...launch.owner,
    cwd: '/',
    env: commandEnv,
    // A session of its own: Ctrl-C in a terminal must reach only us, who then stop it in order.
    detached: true,
    stdio: ['ignore', fd, fd],
  });
  try {
    await once(child, 'spawn');
  } finally {
    await serverLog.handle.close();
  }
  child.on('error', error => launch.log.warn({ err: error }, 'PostgreSQL could not be signalled'));
  return child;
}

function settingArguments({ socketDir, settings }: Launch): string[] {
  const all: Record<string, string> = {
    ...defaultSettings,
    ...settings,
    listen_addresses: '',
    port: String(port),
    // A list, in which a quoted path may hold commas and spaces.
    unix_socket_directories: `"${socketDir.replaceAll('"', '""')}"`,
  };
  return Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

function asPostmaster(child: ChildProcess, socketDir: string): Postmaster {
  if (child.pid === undefined) throw new Error('a spawned process has a number');
  const exited = new Promise<ExitInfo>(resolve => {
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
  return { host: socketDir, port, pid: child.pid, exited, kill: signal => void child.kill(signal) };
}

/** Resolves to false when the process ends first. Ends it when the wait is aborted. */
async function becomesReady(child: ChildProcess, postmaster: Postmaster, launch: Launch): Promise<boolean> {
  try {
    for await (const report of polls(launch)) {
      if (child.exitCode !== null || child.signalCode !== null) break;
      const file = await readPidFile(launch.clusterDir);
      if (file?.pid === postmaster.pid && file.status === 'ready') return true;
      report('Waiting for PostgreSQL to start or to recover');
    }
    return false;
  } catch (error) {
    postmaster.kill('SIGQUIT');
    await postmaster.exited;
    throw error;
  }
}
