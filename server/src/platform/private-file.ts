import { randomBytes } from 'node:crypto';
import { link, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { StartupError } from './errors.ts';

// A dozen keys fit many times over.
const maxFileBytes = 4_096;

/**
 * The content of a file that holds a secret, or null when there is none. Refuses, naming `label`, one that
 * other users can read. It looks at the file that is open, not at its name, which may mean another by then.
 */
export async function readPrivateFile(path: string, label = path): Promise<string | null> {
  const handle = await open(path, 'r').catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return null;
    throw new StartupError(`${label} cannot be read (${errorCode(error)}).`, { cause: error });
  });
  if (handle === null) return null;
  try {
    const found = await handle.stat();
    if (!found.isFile()) throw new StartupError(`${label} is not a file.`);
    // Windows has no such bits; Node makes them up.
    if (process.platform !== 'win32' && (found.mode & 0o077) !== 0) {
      throw new StartupError(`${label} can be used by other users. Run: chmod 600 ${path}`);
    }
    if (found.size > maxFileBytes) throw new StartupError(`${label} is larger than ${maxFileBytes} bytes.`);
    return await handle.readFile('utf8');
  } finally {
    await handle.close();
  }
}

/**
 * Writes a file that only its owner may read, unless it is there already: under a name of its own first, then
 * linked to `path`, which fails where `path` exists. Nobody ever sees half of it, and of two processes at once
 * both use what the first wrote. Returns whether it was this call.
 */
export async function createPrivateFile(path: string, text: string): Promise<boolean> {
  try {
    return await withDraft(path, text, draft => linkNew(draft, path));
  } catch (error) {
    throw new StartupError(`${path} cannot be written (${errorCode(error)}).`, { cause: error });
  }
}

async function linkNew(draft: string, path: string): Promise<boolean> {
  try {
    await link(draft, path);
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    throw error;
  }
}

/** The same for a file whose newest content counts. */
export async function replacePrivateFile(path: string, text: string): Promise<void> {
  try {
    await withDraft(path, text, draft => rename(draft, path));
  } catch (error) {
    throw new StartupError(`${path} cannot be written (${errorCode(error)}).`, { cause: error });
  }
}

async function withDraft<T>(path: string, text: string, place: (draft: string) => Promise<T>): Promise<T> {
  const directory = dirname(path);
  const draft = `${path}.${randomBytes(6).toString('hex')}`;
  await mkdir(directory, { recursive: true });
  try {
    await writeDurably(draft, text);
    const placed = await place(draft);
    await syncDirectory(directory);
    return placed;
  } finally {
    // Where it was renamed it is gone already.
    await rm(draft, { force: true }).catch(() => undefined);
  }
}

async function writeDurably(path: string, text: string): Promise<void> {
  const handle = await open(path, 'wx', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** A new name survives a power cut only once its directory is on disk too. */
export async function syncDirectory(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** `ENOENT` and the like. */
function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}
