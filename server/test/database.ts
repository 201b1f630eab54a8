import { createHash, randomBytes } from 'node:crypto';
import { Client, type ClientConfig } from 'pg';
import { inject } from 'vitest';
import { type Database, openDatabase, type Queryable, sql } from '../src/platform/db.ts';
import { createLog } from '../src/platform/log.ts';
import { type Migration, migrate, readOwnMigrations } from '../src/platform/migrate.ts';
import { ensurePartitions } from '../src/retention/maintain.ts';
import { partitionOf } from '../src/retention/partitions.ts';

export type TestDatabase = {
  /** For what needs connections of its own. The role is no superuser, so row security binds it. */
  connection: { host: string; port: number; user: string; database: string };
  db: Database;
  /** Drops the database. Throws when somebody still holds a connection to it, and says who. */
  close(): Promise<void>;
};

// Any constant will do: it only meets other test files of the same run.
const templateLockKey = 7_700_901;

/**
 * A migrated database of the caller's own, partitions included, on the PostgreSQL that the test run started.
 * The first caller of a run migrates a template (0.4 s); everybody clones it (0.1 s).
 */
export async function createTestDatabase(): Promise<TestDatabase> {
  const { host, port, user, database } = inject('postgres');
  const server = { host, port, user };
  const name = `test_${randomBytes(6).toString('hex')}`;
  await withClient({ ...server, database }, async admin => {
    const template = await ensureTemplate(admin, server);
    // The other strategy writes every page of the clone to the log.
    await admin.query(`create database ${name} template ${template} strategy file_copy`);
  });
  const connection = { ...server, database: name };
  const db = open(connection);
  return {
    connection,
    db,
    async close() {
      const { total, idle } = db.usage();
      if (total > idle) throw new Error(`${name}: ${total - idle} pooled connections are still in use`);
      await db.close();
      await withClient({ ...server, database }, admin => drop(admin, name));
    },
  };
}

function open(connection: TestDatabase['connection']): Database {
  return openDatabase({
    connection,
    poolSize: 8,
    statementTimeoutMs: 20_000,
    log: createLog({ level: 'silent' }),
  });
}

async function withClient<T>(connection: ClientConfig, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client(connection);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** The template's name says what is in it; only a complete one ever bears it. */
async function ensureTemplate(
  admin: Client,
  server: { host: string; port: number; user: string },
): Promise<string> {
  const migrations = await readOwnMigrations();
  const name = templateName(migrations, new Date());
  await admin.query('select pg_advisory_lock($1)', [templateLockKey]);
  try {
    const { rowCount } = await admin.query('select from pg_database where datname = $1', [name]);
    if (rowCount === 0) {
      const unfinished = `${name}_unfinished`;
      await admin.query(`drop database if exists ${unfinished}`);
      await admin.query(`create database ${unfinished}`);
      await fill({ ...server, database: unfinished }, migrations);
      await admin.query(`alter database ${unfinished} rename to ${name}`);
    }
  } finally {
    await admin.query('select pg_advisory_unlock($1)', [templateLockKey]);
  }
  return name;
}

/** The month is part of the name: the partitions of a run that crosses into the next one start there. */
function templateName(migrations: readonly Migration[], now: Date): string {
  const hash = createHash('sha256');
  for (const migration of migrations) hash.update(migration.checksum);
  hash.update(partitionOf('events', now, 'month').name);
  return `template_${hash.digest('hex').slice(0, 16)}`;
}

async function fill(connection: TestDatabase['connection'], migrations: readonly Migration[]): Promise<void> {
  await withClient(connection, client => migrate(client, migrations));
  const db = open(connection);
  try {
    await ensurePartitions(db.system, { now: new Date(), interval: 'month' });
  } finally {
    await db.close();
  }
}

/** PostgreSQL itself waits up to five seconds for backends that are on their way out before it refuses. */
async function drop(admin: Client, name: string): Promise<void> {
  try {
    await admin.query(`drop database ${name}`);
  } catch (error) {
    const { rows } = await admin.query<{ query: string }>(
      'select query from pg_stat_activity where datname = $1 and usename = current_user',
      [name],
    );
    if (rows.length === 0) throw error;
    const queries = rows.map(row => row.query).join(' | ');
    throw new Error(`${name}: ${rows.length} connections were never closed, last running: ${queries}`, {
      cause: error,
    });
  }
}

/** Deletes all rows of tables. Unlike TRUNCATE it waits for no vacuum, which on a busy machine is longer than anybody waits. */
export async function deleteAll(db: Queryable, tables: readonly string[]): Promise<void> {
  for (const table of tables) await db.execute(sql`delete from ${sql.table(table)}`);
}
