import { lchown, mkdir, open, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { StartupError } from '../platform/errors.ts';
import { assertSameMajor } from '../platform/postgres/cluster.ts';
import type { Owner } from '../platform/postgres/owner.ts';
import type { Scratch } from '../platform/postgres/settle.ts';
import { clusterFolder, spoolFolder } from './contents.ts';
import { type Backup, type Reader, readBackup } from './read.ts';

/** Left free on the disk: PostgreSQL recovers on it, and others write there. */
const reserveBytes = 256 * 1024 * 1024;

/**
 * Unpacks a backup into a scratch directory, the cluster owned by `owner`. Throws a StartupError where the backup
 * is refused, is of another major version of PostgreSQL, or needs more room than there is.
 */
export async function unpack(
  path: string,
  scratch: Scratch,
  options: Pick<Reader, 'signal' | 'onProgress'> & { owner: Owner; bundledMajor: number },
): Promise<Backup> {
  const { owner, bundledMajor } = options;
  const made = new Set<string>([scratch.files]);
  const makeDirectory = async (directory: string): Promise<void> => {
    if (made.has(directory)) return;
    await makeDirectory(dirname(directory));
    await mkdir(directory, { mode: 0o700 });
    await own(directory, owner, scratch);
    made.add(directory);
  };
  const { bavail, bsize } = await statfs(scratch.path);
  const roomBytes = bavail * bsize - reserveBytes;
  let total = 0;
  for (const folder of [clusterFolder, spoolFolder]) await makeDirectory(join(scratch.files, folder));
  const backup = await readBackup(path, {
    ...options,
    begin({ postgresMajor, architecture }) {
      assertSameMajor('it', postgresMajor, bundledMajor);
      if (architecture === process.arch) return;
      throw new StartupError(
        `The database in it is laid out for ${architecture}, and this machine is ${process.arch}.`,
      );
    },
    async take(name, bytes, chunks) {
      total += bytes;
      if (total > roomBytes) {
        throw new StartupError(
          `It needs more room than the ${Math.max(0, roomBytes)} bytes that ${scratch.path} has for it.`,
        );
      }
      // The master key lies beside the rest: nothing may put it into the place of another by itself.
      const target = name.includes('/') ? join(scratch.files, name) : join(scratch.path, name);
      if (name.includes('/')) await makeDirectory(dirname(target));
      await writeNew(target, chunks, { owner, scratch });
    },
  });
  for (const directory of backup.manifest.directories) {
    await makeDirectory(join(scratch.files, clusterFolder, directory));
  }
  return backup;
}

async function writeNew(
  path: string,
  chunks: AsyncIterable<Buffer>,
  { owner, scratch }: { owner: Owner; scratch: Scratch },
): Promise<void> {
  const handle = await open(path, 'wx', 0o600);
  try {
    for await (const chunk of chunks) await handle.writeFile(chunk);
    // PostgreSQL syncs its own files before it recovers (its manual, recovery_init_sync_method).
    if (!path.startsWith(join(scratch.files, clusterFolder))) await handle.sync();
  } finally {
    await handle.close();
  }
  await own(path, owner, scratch);
}

async function own(path: string, owner: Owner, scratch: Scratch): Promise<void> {
  if (process.geteuid?.() !== 0 || !path.startsWith(join(scratch.files, clusterFolder))) return;
  await lchown(path, owner.uid, owner.gid);
}
