import { chmodSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';

/** Held by this process until it is released or the process ends, however it ends. */
export type ProcessLock = { release(): void };

const sqliteBusy = 5;

// An unreferenced DatabaseSync is closed by the garbage collector, and the lock with it.
const held = new Set<DatabaseSync>();

/**
 * Takes the lock file for this process, making it where it is missing. Null where it is held, also by this
 * process. Throws what SQLite or the file system says where the file cannot be used.
 *
 * The lock has to vanish with kill -9 and must not be fooled by a recycled process id, so it has to be the
 * kernel's, and Node has no flock. SQLite, which Node brings along, takes a real fcntl(2) lock for an open
 * exclusive transaction: tied to the process and not inherited by children (the postmaster outlives us),
 * and seen by other containers that mount the same volume. Nothing is ever stored in the file. Nobody else
 * in this process may open and close it: POSIX would drop the lock.
 */
export function acquireProcessLock(path: string): ProcessLock | null {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path, { timeout: 0 });
    // A journal on disk would need room there, and nothing is ever written.
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    // Readers could hold a shared lock that keeps us out.
    chmodSync(path, 0o600);
  } catch (error) {
    database?.close();
    if (isBusy(error)) return null;
    throw error;
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
