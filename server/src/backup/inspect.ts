import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Clock } from '../platform/clock.ts';
import { type Database, openDatabase, sql } from '../platform/db.ts';
import { StartupError } from '../platform/errors.ts';
import type { Log } from '../platform/log.ts';
import { checkMigrations, readOwnMigrations } from '../platform/migrate.ts';
import { type Bundle, installBinaries } from '../platform/postgres/binaries.ts';
import { applicationDatabase, superuser } from '../platform/postgres/cluster.ts';
import { type Address, withSuperuser } from '../platform/postgres/connection.ts';
import { makeSocketDir } from '../platform/postgres/data-dir.ts';
import { launchPostmaster } from '../platform/postgres/launch.ts';
import type { Owner } from '../platform/postgres/owner.ts';
import { stopPostmaster } from '../platform/postgres/postmaster.ts';
import type { Scratch } from '../platform/postgres/settle.ts';
import { clusterFolder } from './contents.ts';
import type { Backup } from './read.ts';

/** The settings that say where the database and its master key are. */
export type StoreSettings = { dataDir: string; masterKey: string | null; masterKeyFile: string | null };

export type Parts = { clock: Clock; log: Log; signal: AbortSignal; onProgress(line: string): void };

/** The application's database of a cluster, for a superuser: row security hides nothing. */
export async function withDatabase<T>(
  address: Address,
  { clock, log }: Pick<Parts, 'clock' | 'log'>,
  work: (db: Database) => Promise<T>,
): Promise<T> {
  const db = openDatabase({
    connection: { ...address, user: superuser, database: applicationDatabase },
    poolSize: 2,
    statementTimeoutMs: patienceMs,
    log,
    clock,
  });
  try {
    return await work(db);
  } finally {
    await db.close();
  }
}

/** Counting the history of a large fleet reads all of it. */
const patienceMs = 6 * 3_600_000;

/** The newest migration of a database; null where the program never ran on it. Refuses that of a newer program. */
export async function migrationOf(db: Database): Promise<string | null> {
  const client = await db.dedicated();
  try {
    return await checkMigrations(client, await readOwnMigrations());
  } finally {
    await client.end();
  }
}

/** What was found in a database that came out of a backup. */
export type Found = { servers: number; tokens: number; checks: number; metrics: number };

/**
 * Starts PostgreSQL on an unpacked backup, lets it recover, compares it with the header, counts, gives `work`
 * its database, and stops it again in order. Throws a StartupError where it does not start or is another one.
 */
export async function inspect(
  { header }: Backup,
  place: { dataDir: string; scratch: Scratch; bundle: Bundle; owner: Owner; isKept: boolean },
  parts: Parts,
  work: (db: Database) => Promise<void> = async () => undefined,
): Promise<Found | null> {
  const { dataDir, scratch, bundle, owner, isKept } = place;
  const { clock, log, signal, onProgress } = parts;
  const { postgres } = await installBinaries(dataDir, { bundle, owner, signal, onProgress });
  const socketDir = await makeSocketDir(scratch.path, owner);
  const postmaster = await launchPostmaster({
    ...parts,
    postgres,
    clusterDir: join(scratch.files, clusterFolder),
    dataDir: scratch.path,
    socketDir,
    owner,
    settings: { autovacuum: 'off', fsync: isKept ? 'on' : 'off' },
  });
  try {
    await withSuperuser(postmaster, log, async client => {
      const { rows } = await client.query<{ id: string }>(
        'select system_identifier::text as id from pg_control_system()',
      );
      if (rows[0]?.id === header.systemIdentifier) return;
      throw new StartupError(
        `The database in it is ${rows[0]?.id}, and its header says ${header.systemIdentifier}.`,
      );
    });
    return await withDatabase(postmaster, { clock, log }, async db => {
      const migration = await migrationOf(db);
      if ((migration ?? '') < (header.migration ?? '')) {
        throw new StartupError(
          `The database in it is at migration ${migration}, and its header says ${header.migration}.`,
        );
      }
      if (migration === null) return null;
      await work(db);
      return await count(db);
    });
  } finally {
    await stopPostmaster(postmaster, { mode: isKept ? 'fast' : 'immediate', clock, log });
    if (dirname(socketDir) !== scratch.path) await rm(socketDir, { recursive: true, force: true });
  }
}

/** Reads every row of the history, and with it every page: their checksums are PostgreSQL's to compare. */
function count(db: Database): Promise<Found> {
  return db.system.one<Found>(sql`
    select (select count(*)::int from managed_servers) as servers,
           (select count(*)::int from api_tokens where revoked_at is null) as tokens,
           (select count(*)::float8 from server_health_checks) as checks,
           (select count(*)::float8 from server_metrics_aggregated) as metrics`);
}
