import { join } from 'node:path';
import { clusterFolder } from '../../server/src/backup/contents.ts';
import { type Database, openDatabase } from '../../server/src/platform/db.ts';
import { StartupError } from '../../server/src/platform/errors.ts';
import { readOwnMigrations, requireCurrent } from '../../server/src/platform/migrate.ts';
import { applicationDatabase, applicationRole } from '../../server/src/platform/postgres/cluster.ts';
import { statIfThere } from '../../server/src/platform/postgres/files.ts';
import { isInstanceLocked } from '../../server/src/platform/postgres/instance-lock.ts';
import { findAddress } from '../../server/src/platform/postgres/postmaster.ts';
import { stepDown } from '../../server/src/platform/step-down.ts';
import type { Parts } from './store-command.ts';

/**
 * The database of an installation, as the role that owns its tables: the one that DATABASE_URL names, or the embedded one
 * of an opsfleet that runs. Throws a StartupError where there is neither, or where its schema is of another version.
 */
export async function withInstallation<T>(parts: Parts, work: (db: Database) => Promise<T>): Promise<T> {
  const { log, clock } = parts;
  const access = { connection: await connectionOf(parts), poolSize: 2, statementTimeoutMs: 0, log, clock };
  const role = await closing(openDatabase(access), enter);
  return closing(openDatabase({ ...access, role }), work);
}

async function closing<T>(db: Database, work: (db: Database) => Promise<T>): Promise<T> {
  try {
    return await work(db);
  } finally {
    await db.close();
  }
}

/** Returns the role to act as. */
async function enter(db: Database): Promise<string | null> {
  const client = await db.dedicated();
  try {
    await requireCurrent(client, await readOwnMigrations());
  } finally {
    await client.end();
  }
  return stepDown(db);
}

async function connectionOf({ settings, clock, signal, onProgress }: Parts) {
  if (settings.databaseUrl !== null) return { connectionString: settings.databaseUrl };
  const clusterDir = join(settings.dataDir, clusterFolder);
  // A lock in a directory that is not there cannot be asked.
  const running =
    (await statIfThere(clusterDir)) && isInstanceLocked(settings.dataDir)
      ? await findAddress({ clusterDir, clock, signal, onProgress })
      : undefined;
  if (running === undefined)
    throw new StartupError(
      `No opsfleet with an embedded database runs on ${settings.dataDir}. Start it first.`,
    );
  return { ...running, user: applicationRole, database: applicationDatabase };
}
