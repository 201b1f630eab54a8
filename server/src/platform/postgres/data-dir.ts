import { createHash } from 'node:crypto';
import { chmod, lchown, lstat, mkdir, readdir, readlink, realpath, writeFile } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { StartupError } from '../errors.ts';
import { errorCode, statIfThere } from './files.ts';
import type { Owner } from './owner.ts';

/** A checked data directory: its real path and who owns it. */
export type DataDir = { path: string; uid: number };

const marker = 'opsfleet-data';
const markerText = 'This directory belongs to opsfleet. Stop opsfleet before you copy or move it.\n';

// What may be there before us: a file system's own directory, and the master key, which a control plane
// with a database elsewhere keeps here too.
const harmless = /^(lost\+found|master-key.*)$/;

// sun_path holds 104 bytes on macOS and 108 on Linux, the closing NUL included.
const socketPathLimitBytes = 103;
const socketFile = '/.s.PGSQL.5432';

/**
 * The directory used when OPSFLEET_DATA_DIR is not set: /var/lib/opsfleet for root, the XDG data home for
 * everybody else. Throws a StartupError when there is no home directory to derive it from.
 */
export function defaultDataDir(env: { home?: string; xdgDataHome?: string; uid: number }): string {
  if (env.uid === 0) return '/var/lib/opsfleet';
  // XDG Base Directory Specification: a relative path in the variable is invalid and ignored.
  if (env.xdgDataHome && isAbsolute(env.xdgDataHome)) return join(env.xdgDataHome, 'opsfleet');
  if (env.home && isAbsolute(env.home)) return join(env.home, '.local/share/opsfleet');
  throw new StartupError(
    'There is no home directory to keep data in. Set OPSFLEET_DATA_DIR to an absolute path.',
  );
}

/**
 * Creates the data directory, or checks an existing one, and marks it as ours. Throws a StartupError that
 * names the path when it cannot be made, is no directory, is a symbolic link, belongs to somebody else, may
 * be written by everybody, holds files that are not opsfleet's, or has a path that PostgreSQL cannot take.
 */
export async function openDataDir(path: string, selfUid: number): Promise<DataDir> {
  if (!isAbsolute(path))
    throw new StartupError(`The data directory must be an absolute path, not "${path}".`);
  try {
    await makeDataDir(path, selfUid);
    const uid = await checkDataDir(path, selfUid);
    const real = await realpath(path);
    assertPlain(real);
    await claim(real);
    return { path: real, uid };
  } catch (error) {
    if (error instanceof StartupError) throw error;
    throw new StartupError(
      `The data directory ${path} cannot be used (${errorCode(error) ?? String(error)}). ` +
        'Set OPSFLEET_DATA_DIR to a directory that this user may write.',
      { cause: error },
    );
  }
}

async function makeDataDir(path: string, selfUid: number): Promise<void> {
  if (await statIfThere(path)) return;
  // Root's database runs as somebody else, who must be able to pass through but not to list.
  const mode = selfUid === 0 ? 0o711 : 0o700;
  const firstMade = await mkdir(path, { recursive: true, mode });
  if (firstMade !== undefined) await chmod(path, mode);
}

async function checkDataDir(path: string, selfUid: number): Promise<number> {
  const found = await lstat(path);
  if (found.isSymbolicLink()) {
    throw new StartupError(
      `The data directory ${path} is a symbolic link to ${await readlink(path)}. Set OPSFLEET_DATA_DIR to the directory itself.`,
    );
  }
  if (!found.isDirectory()) throw new StartupError(`The data directory ${path} is not a directory.`);
  if (selfUid !== 0 && found.uid !== selfUid) {
    throw new StartupError(
      `The data directory ${path} belongs to uid ${found.uid}, and this process runs as uid ${selfUid}. ` +
        'Start as its owner, or set OPSFLEET_DATA_DIR to another directory.',
    );
  }
  if (found.mode & 0o002) {
    throw new StartupError(`Everybody may write to the data directory ${path}. Run: chmod o-w ${path}`);
  }
  return found.uid;
}

// initdb hands the path to a shell between double quotes, and postmaster.pid is read line by line.
function assertPlain(path: string): void {
  // oxlint-disable-next-line no-control-regex -- control characters are what this is about
  if (!/["$`\\\u0000-\u001f\u007f]/.test(path)) return;
  throw new StartupError(
    `The path of the data directory, ${JSON.stringify(path)}, must not contain quotes, "$", backquotes, backslashes or control characters. ` +
      'Set OPSFLEET_DATA_DIR to a plainer one.',
  );
}

async function claim(path: string): Promise<void> {
  const foreign = (await readdir(path)).find(name => !harmless.test(name));
  // The marker is made before anything else, so it is looked for after listing: a second starter that sees
  // any file of the first one also sees the marker.
  if (await statIfThere(join(path, marker))) return;
  if (foreign !== undefined) {
    throw new StartupError(
      `The data directory ${path} is not empty and not opsfleet's (it holds "${foreign}"). ` +
        'Set OPSFLEET_DATA_DIR to an empty or a new directory.',
    );
  }
  await writeFile(join(path, marker), markerText, { flag: 'a', mode: 0o644 });
}

/**
 * Makes the directory of the unix socket, open to the owner only, and returns its path: `run` in the data
 * directory, or one under /tmp named after it when that path does not fit into a socket address. Throws a
 * StartupError when somebody else got to that name first.
 */
export async function makeSocketDir(dataDir: string, owner: Owner): Promise<string> {
  const path = socketDirFor(dataDir);
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error;
  }
  const found = await lstat(path);
  const mine = found.uid === owner.uid || found.uid === process.geteuid?.();
  if (!found.isDirectory() || !mine) {
    throw new StartupError(
      `The socket directory ${path} is no directory of uid ${owner.uid}, but of uid ${found.uid} or a link. Remove it and start again.`,
    );
  }
  if (found.uid !== owner.uid) await lchown(path, owner.uid, owner.gid);
  if ((found.mode & 0o777) !== 0o700) await chmod(path, 0o700);
  return path;
}

function socketDirFor(dataDir: string): string {
  const inside = join(dataDir, 'run');
  if (Buffer.byteLength(inside + socketFile) <= socketPathLimitBytes) return inside;
  return `/tmp/opsfleet-${createHash('sha256').update(dataDir).digest('hex').slice(0, 16)}`;
}
