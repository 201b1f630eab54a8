import { randomUUID } from 'node:crypto';
import { lchown, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Client } from 'pg';
import { StartupError } from '../errors.ts';
import type { Log } from '../log.ts';
import { runCommand } from './command.ts';
import { errorCode, statIfThere } from './files.ts';
import type { Owner } from './owner.ts';

/** The bootstrap superuser. Only set-up and tests use it. */
export const superuser = 'postgres';
/** The ordinary role that the program works as: row security binds it, and would not bind a superuser. */
export const applicationRole = 'opsfleet';
export const applicationDatabase = 'opsfleet';

// What initdb says of a failure comes last, after a page of what went well.
const initdbTailLines = 8;

/**
 * The major version of the cluster in `clusterDir`, or undefined where there is none yet. Throws a
 * StartupError when something else is in its place.
 */
export async function clusterVersion(clusterDir: string): Promise<number | undefined> {
  const found = await statIfThere(clusterDir);
  if (!found) return undefined;
  if (!found.isDirectory()) {
    throw new StartupError(`${clusterDir} must be a directory of its own, not a link or a file.`);
  }
  const text = await readVersionFile(clusterDir);
  const major = /^\d{1,3}$/.test(text) ? Number(text) : undefined;
  if (major === undefined) {
    throw new StartupError(`${clusterDir} is not a PostgreSQL data directory (it has no valid PG_VERSION).`);
  }
  return major;
}

async function readVersionFile(clusterDir: string): Promise<string> {
  try {
    return (await readFile(join(clusterDir, 'PG_VERSION'), 'utf8')).trim();
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return '';
    throw new StartupError(`${clusterDir} cannot be read: ${String(error)}`, { cause: error });
  }
}

/** Throws a StartupError unless a cluster of this major version can be run by the bundled one. */
export function assertSameMajor(clusterDir: string, found: number, bundledMajor: number): void {
  if (found === bundledMajor) return;
  throw new StartupError(
    `The database in ${clusterDir} was made by PostgreSQL ${found}, and this opsfleet brings PostgreSQL ${bundledMajor}. ` +
      `Run the opsfleet that made it, or move its data to a PostgreSQL of your own (pg_dump) and set DATABASE_URL.`,
  );
}

/**
 * Creates an empty cluster. It is built beside its place and renamed when it is complete and on disk, so
 * that whatever interrupts it leaves nothing that a later start would trust. Throws a StartupError with
 * initdb's own words when it fails.
 */
export async function createCluster(
  clusterDir: string,
  options: { initdb: string; owner: Owner; log: Log; signal?: AbortSignal | undefined },
): Promise<void> {
  await removeLeftovers(clusterDir, options.log);
  // A new name each time: an initdb that outlived our kill -9 still writes to the old one.
  const partial = `${clusterDir}.partial-${randomUUID().slice(0, 8)}`;
  await mkdir(partial, { mode: 0o700 });
  await lchown(partial, options.owner.uid, options.owner.gid);
  const { code, output } = await runCommand(
    options.initdb,
    [
      `--pgdata=${partial}`,
      `--username=${superuser}`,
      '--auth-local=trust',
      '--auth-host=reject',
      '--encoding=UTF8',
      // The built-in C.UTF-8 is on every system, and sorts alike after an upgrade of the system's libc.
      '--locale-provider=builtin',
      '--builtin-locale=C.UTF-8',
      '--locale=C',
      '--data-checksums',
    ],
    options,
  );
  if (code !== 0) {
    await rm(partial, { recursive: true, force: true, maxRetries: 3 });
    const reason = output.trim().split('\n').slice(-initdbTailLines).join('\n');
    throw new StartupError(`The database could not be created in ${dirname(clusterDir)}:\n${reason}`);
  }
  await rename(partial, clusterDir);
  await syncDirectory(dirname(clusterDir));
}

async function removeLeftovers(clusterDir: string, log: Log): Promise<void> {
  const parent = dirname(clusterDir);
  const prefix = `${clusterDir}.partial-`;
  for (const name of await readdir(parent)) {
    const path = join(parent, name);
    if (!path.startsWith(prefix)) continue;
    try {
      await rm(path, { recursive: true, force: true, maxRetries: 3 });
    } catch (error) {
      log.warn({ err: error, path }, 'a half-made database is left behind');
    }
  }
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Creates the application's role and database where they are missing. Safe to repeat after a crash at any
 * point; the caller makes sure that nobody does the same at the same time.
 */
export async function provision(client: Client): Promise<void> {
  const { rows } = await client.query<{ role: boolean; database: boolean }>(
    `select exists (select from pg_roles where rolname = $1) as role,
            exists (select from pg_database where datname = $2) as database`,
    [applicationRole, applicationDatabase],
  );
  if (!rows[0]?.role) await client.query(`create role ${applicationRole} login`);
  if (!rows[0]?.database) {
    await client.query(`create database ${applicationDatabase} owner ${applicationRole}`);
  }
}
