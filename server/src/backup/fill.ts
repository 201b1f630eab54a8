import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { StartupError } from '../platform/errors.ts';
import type { FoundMasterKeys } from '../platform/master-key.ts';
import { errorCode, statIfThere } from '../platform/postgres/files.ts';
import { parseSegmentName } from '../platform/spool.ts';
import type { AddFile } from './archive.ts';
import { type BaseBackup, listCluster } from './base-backup.ts';
import {
  clusterFolder,
  type FileEntry,
  type Header,
  headerName,
  type Manifest,
  manifestName,
  masterKeyName,
  spoolFolder,
} from './contents.ts';
import type { Parts } from './inspect.ts';
import { meter } from './progress.ts';
import { hashing } from './read.ts';

/** What a backup is made of. `keys`: those that go in. */
export type Content = { header: Header; base: BaseBackup; dataDir: string; keys: FoundMasterKeys | null };

/** Adds everything that a backup has, header first and manifest last. Ends the backup mode on the way. */
export async function fill(
  addFile: AddFile,
  { header, base, dataDir, keys }: Content,
  options: Parts,
): Promise<void> {
  const clusterDir = join(dataDir, clusterFolder);
  const files: FileEntry[] = [];
  const add: AddFile = async (path, bytes, chunks) => {
    const hash = createHash('sha256');
    await addFile(
      path,
      bytes,
      hashing(chunks, chunk => hash.update(chunk)),
    );
    files.push({ path, bytes, sha256: hash.digest('hex') });
  };
  const addBuffer = (path: string, content: Buffer): Promise<void> =>
    add(path, content.length, once(content));
  const addFrom = (root: string, folder: string) => async (name: string, isNeeded: boolean) =>
    copyFile(add, { from: join(root, name), to: `${folder}/${name}`, isNeeded }, options.signal);

  await addBuffer(headerName, Buffer.from(JSON.stringify(header)));
  // Before the end of the backup: what is stored meanwhile and leaves the disk is in the database then.
  const spool = join(dataDir, spoolFolder);
  for (const name of await spoolSegments(spool)) await addFrom(spool, spoolFolder)(name, false);
  const listing = await listCluster(clusterDir);
  const report = meter(options, 'copied');
  const addCluster = addFrom(clusterDir, clusterFolder);
  let copied = 0;
  // A file that is gone meanwhile was of a table that was dropped, which the log tells, too.
  for (const name of listing.files) report((copied += await addCluster(name, false)));
  const endedAt = options.clock.now().toISOString();
  const { label, walFiles } = await base.stop();
  await addBuffer(`${clusterFolder}/backup_label`, label);
  for (const name of walFiles) report((copied += await addCluster(`pg_wal/${name}`, true)));
  if (keys !== null) await addBuffer(masterKeyName, Buffer.from(`${keys.text.reveal()}\n`));
  const manifest: Manifest = { endedAt, directories: listing.directories, files };
  const text = Buffer.from(JSON.stringify(manifest));
  await addFile(manifestName, text.length, once(text));
}

async function* once(content: Buffer): AsyncGenerator<Buffer> {
  yield content;
}

async function spoolSegments(spool: string): Promise<string[]> {
  if (!(await statIfThere(spool))) return [];
  const names: string[] = [];
  for (const number of (await readdir(spool)).filter(name => /^[1-9]\d{0,3}$/.test(name)).toSorted()) {
    const segments = (await readdir(join(spool, number))).filter(name => parseSegmentName(name) !== null);
    names.push(...segments.toSorted().map(name => `${number}/${name}`));
  }
  return names;
}

type Copy = { from: string; to: string; isNeeded: boolean };

/** Adds a file as it is, and returns its bytes; 0 where it is gone and may be. */
async function copyFile(add: AddFile, { from, to, isNeeded }: Copy, signal: AbortSignal): Promise<number> {
  const handle = await open(from, constants.O_RDONLY | constants.O_NOFOLLOW).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT' && !isNeeded) return null;
    throw new StartupError(`${from} cannot be read (${errorCode(error)}).`, { cause: error });
  });
  if (handle === null) return 0;
  try {
    const { size } = await handle.stat();
    await add(to, size, readExactly(handle, size, signal));
    return size;
  } finally {
    await handle.close();
  }
}

const readBytes = 1024 * 1024;

/**
 * The first `size` bytes of a file that may be written meanwhile. Zeros stand for what was cut off, and what is
 * added behind is not read: the log has both (as in PostgreSQL's basebackup.c, sendFile).
 */
async function* readExactly(handle: FileHandle, size: number, signal: AbortSignal): AsyncGenerator<Buffer> {
  for (let at = 0; at < size; ) {
    signal.throwIfAborted();
    const wanted = Math.min(readBytes, size - at);
    const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(wanted), 0, wanted, at);
    const chunk = bytesRead > 0 ? buffer.subarray(0, bytesRead) : Buffer.alloc(wanted);
    at += chunk.length;
    yield chunk;
  }
}
