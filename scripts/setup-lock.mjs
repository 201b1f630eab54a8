import { mkdtempSync, readdirSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const retryMs = 200;

/**
 * Waits until no other process holds the lock `directory`, then holds it; resolves to the release. `onWait` is
 * called once, with the holder's process id, when there is something to wait for. Rejects when the lock
 * belongs to somebody else and may not be touched.
 *
 * The lock is a directory that holds one file named by its owner's process id, and every change of owner is
 * one atomic rename: a prepared directory onto an absent or empty one, or a dead owner's file to our name.
 * So of many that find a dead owner, one gets it, and a kill at any point leaves a lock that can be taken.
 */
export async function takeLock(directory, onWait) {
  const mine = String(process.pid);
  const prepared = mkdtempSync(`${directory}-`);
  writeFileSync(join(prepared, mine), '');
  try {
    for (let told = false; ; await delay(retryMs)) {
      if (tryRename(prepared, directory)) break;
      const owner = readOwner(directory);
      if (owner === undefined) continue;
      if (!isAlive(owner)) {
        if (tryRename(join(directory, owner), join(directory, mine))) break;
      } else if (!told) {
        onWait(owner);
        told = true;
      }
    }
  } finally {
    rmSync(prepared, { recursive: true, force: true });
  }
  return () => {
    rmSync(join(directory, mine), { force: true });
    try {
      rmdirSync(directory);
    } catch {
      // The next one already holds it.
    }
  };
}

function tryRename(from, to) {
  try {
    renameSync(from, to);
    return true;
  } catch (error) {
    // Held by somebody (the first two; Windows says EPERM), or somebody else was faster.
    if (['ENOTEMPTY', 'EEXIST', 'EPERM', 'ENOENT'].includes(error.code)) return false;
    throw cannotTake(to, error);
  }
}

function readOwner(directory) {
  try {
    return readdirSync(directory)[0];
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw cannotTake(directory, error);
  }
}

function cannotTake(path, error) {
  return new Error(`The lock ${path} cannot be taken (${error.code}). If nothing else uses it, remove it.`);
}

function isAlive(owner) {
  // Our own number, and not yet taken: it was a dead process's before it was ours.
  if (owner === String(process.pid)) return false;
  try {
    process.kill(Number(owner), 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}
