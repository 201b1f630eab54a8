import { constants } from 'node:fs';
import { type FileHandle, open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { statIfThere } from './files.ts';

const rotateAboveBytes = 10 * 1024 * 1024;
const tailBytes = 4_096;

/** The file that PostgreSQL writes its own log to, and where this start's part of it begins. */
export type ServerLog = { path: string; handle: FileHandle; startBytes: number };

/** Opens `postgres.log`. One above 10 MiB becomes `postgres.log.1` first, in place of an older one. */
export async function openServerLog(dataDir: string): Promise<ServerLog> {
  const path = join(dataDir, 'postgres.log');
  const found = await statIfThere(path);
  if (found && found.size > rotateAboveBytes) await rename(path, `${path}.1`);
  // Not through a link: as root we may write in a directory that belongs to somebody else.
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW;
  const handle = await open(path, flags, 0o600);
  return { path, handle, startBytes: (await handle.stat()).size };
}

/** The last lines (4 KiB at most) that were written since the log was opened. */
export async function readTail(log: Pick<ServerLog, 'path' | 'startBytes'>): Promise<string> {
  const handle = await open(log.path, 'r');
  try {
    const { size } = await handle.stat();
    const from = Math.max(log.startBytes, size - tailBytes);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(tailBytes), 0, tailBytes, from);
    return buffer.subarray(0, bytesRead).toString('utf8').trim();
  } finally {
    await handle.close();
  }
}
