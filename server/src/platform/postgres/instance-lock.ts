import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { StartupError } from '../errors.ts';

/** Holds a data directory for this process until it is released or the process ends, however it ends. */
export type InstanceLock = { release(): void };

const sqliteBusy = 5;

// An unreferenced DatabaseSync is closed by the garbage collector, and the lock with it.
const held = new Set<DatabaseSync>();

/**
 * Takes the data directory for this process, or throws a StartupError that names it and its holder.
 *
 * The lock has to vanish with kill -9 and must not be fooled by a recycled process id, so it has to be the
 * kernel's, and Node has no flock. SQLite, which Node brings along, takes a real fcntl(2) lock for an open
 * exclusive transaction: tied to the process and not inherited by children (the postmaster outlives us),
 * and seen by other containers that mount the same volume. Nothing is ever stored in the file. Nobody else
 * in this process may open and close it: POSIX would drop the lock.
 */
export function acquireInstanceLock(dataDir: string): InstanceLock {
  const path = join(dataDir, 'instance.lock');
  const pidPath = join(dataDir, 'instance.pid');
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path, { timeout: 0 });
    // A journal on disk would need room there, and nothing is ever written.
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    // Readers could hold a shared lock that keeps us out.
    chmodSync(path, 0o600);
    writeFileSync(pidPath, `${process.pid}\n`, { mode: 0o644 });
  } catch (error) {
    database?.close();
    if (isBusy(error)) throw new StartupError(heldMessage(dataDir, pidPath), { cause: error });
    throw new StartupError(`The lock file ${path} cannot be used: ${String(error)}`, { cause: error });
  }
  const lock = database;
  held.add(lock);
  return {
    release() {
      if (held.delete(lock)) lock.close();
    },
  };
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && error.errcode === sqliteBusy;
}

function heldMessage(dataDir: string, pidPath: string): string {
  let holder = 'another opsfleet';
  try {
    // For the reader's eyes only: between the lock and this file there is a moment of the old number.
    const pid = Number.parseInt(readFileSync(pidPath, 'utf8'), 10);
    if (pid > 0) holder = `another opsfleet (process ${pid})`;
  } catch {
    // The holder has not written its number yet.
  }
  return `The data directory ${dataDir} is in use by ${holder}. Stop it, or set OPSFLEET_DATA_DIR to another directory.`;
}
