import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { StartupError } from '../errors.ts';
import { acquireProcessLock, type ProcessLock } from '../process-lock.ts';

const lockFile = 'instance.lock';

/** Takes the data directory for this process, or throws a StartupError that names it and its holder. */
export function acquireInstanceLock(dataDir: string): ProcessLock {
  const path = join(dataDir, lockFile);
  const pidPath = join(dataDir, 'instance.pid');
  let lock: ProcessLock | null = null;
  try {
    lock = acquireProcessLock(path);
    if (lock !== null) writeFileSync(pidPath, `${process.pid}\n`, { mode: 0o644 });
  } catch (error) {
    lock?.release();
    throw new StartupError(`The lock file ${path} cannot be used: ${String(error)}`, { cause: error });
  }
  if (lock === null) throw new StartupError(heldMessage(dataDir, pidPath));
  return lock;
}

/** Whether an opsfleet holds the data directory now. */
export function isInstanceLocked(dataDir: string): boolean {
  const lock = acquireProcessLock(join(dataDir, lockFile));
  lock?.release();
  return lock === null;
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
