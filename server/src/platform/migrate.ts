import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type pg from 'pg';
import { advisoryLocks } from './advisory-locks.ts';
import { StartupError } from './errors.ts';

/** One forward step of the schema. */
export type Migration = { name: string; text: string; checksum: string };

/** Reads `NNNN_name.sql` files in order. Refuses gaps, duplicates and other names. */
export async function readMigrations(directory: string): Promise<Migration[]> {
  const names = (await readdir(directory)).filter(name => name.endsWith('.sql')).toSorted();
  const migrations: Migration[] = [];
  for (const [index, name] of names.entries()) {
    if (!/^\d{4}_[a-z0-9_]+\.sql$/.test(name) || Number(name.slice(0, 4)) !== index + 1) {
      throw new StartupError(`migration ${name} is out of order: number ${index + 1} was expected`);
    }
    const text = await readFile(join(directory, name), 'utf8');
    migrations.push({ name, text, checksum: createHash('sha256').update(text).digest('hex') });
  }
  return migrations;
}

/** Those of this version of the program: its schema. */
export const readOwnMigrations = (): Promise<Migration[]> =>
  readMigrations(join(import.meta.dirname, '../../migrations'));

/**
 * Brings the database to the newest schema: plain SQL, forward only, each file in a transaction of its own
 * together with the row that records it. The session lock lets any number of processes start at once; it is
 * released by the end of the session, so a killed process leaves none behind. Refuses a database that a newer
 * program has migrated and a file that changed after it was applied. Returns the names it applied.
 */
export async function migrate(client: pg.Client, migrations: readonly Migration[]): Promise<string[]> {
  await client.query('select pg_advisory_lock($1)', [advisoryLocks.migration]);
  try {
    await client.query(
      `create table if not exists schema_migrations (
         name text primary key, checksum text not null, applied_at timestamptz not null default now())`,
    );
    const applied: string[] = [];
    for (const migration of await missing(client, migrations)) {
      await apply(client, migration);
      applied.push(migration.name);
    }
    return applied;
  } finally {
    // Where the connection is gone the lock is too, and the first error is the one worth reporting.
    await client.query('select pg_advisory_unlock($1)', [advisoryLocks.migration]).catch(() => undefined);
  }
}

/**
 * The newest migration of a database, or null where none was ever applied. Refuses what `migrate` refuses, and
 * changes nothing.
 */
export async function checkMigrations(
  client: pg.Client,
  migrations: readonly Migration[],
): Promise<string | null> {
  if (!(await hasHistory(client))) return null;
  const applied = await readHistory(client);
  checkHistory(applied, migrations);
  return applied.at(-1)?.name ?? null;
}

/**
 * Refuses a database whose schema is not of this version: one that lacks a migration, and what `migrate` refuses. Changes
 * nothing.
 */
export async function requireCurrent(client: pg.Client, migrations: readonly Migration[]): Promise<void> {
  const [next] = (await hasHistory(client)) ? await missing(client, migrations) : migrations;
  if (next === undefined) return;
  throw new StartupError(
    `the schema is not of this version yet (${next.name} is next); start opsfleet once, which migrates it`,
  );
}

async function missing(client: pg.Client, migrations: readonly Migration[]): Promise<readonly Migration[]> {
  const applied = await readHistory(client);
  checkHistory(applied, migrations);
  return migrations.slice(applied.length);
}

async function hasHistory(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query<{ there: boolean }>(
    "select to_regclass('schema_migrations') is not null as there",
  );
  return rows[0]!.there;
}

type Applied = { name: string; checksum: string };

async function readHistory(client: pg.Client): Promise<Applied[]> {
  return (await client.query<Applied>('select name, checksum from schema_migrations order by name')).rows;
}

function checkHistory(rows: readonly Applied[], migrations: readonly Migration[]): void {
  for (const [index, row] of rows.entries()) {
    const known = migrations[index];
    if (known === undefined) {
      throw new StartupError(
        `the database was migrated by a newer opsfleet (${row.name}); start that version`,
      );
    }
    if (known.name !== row.name || known.checksum !== row.checksum) {
      throw new StartupError(`migration ${row.name} was changed after it was applied to this database`);
    }
  }
}

async function apply(client: pg.Client, migration: Migration): Promise<void> {
  await client.query('begin');
  try {
    await client.query(migration.text);
    await client.query('insert into schema_migrations (name, checksum) values ($1, $2)', [
      migration.name,
      migration.checksum,
    ]);
    await client.query('commit');
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    throw new StartupError(`migration ${migration.name} failed: ${(error as Error).message}`, {
      cause: error,
    });
  }
}
