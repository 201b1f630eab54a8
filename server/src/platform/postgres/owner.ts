import { readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { StartupError } from '../errors.ts';
import type { DataDir } from './data-dir.ts';
import { statIfThere } from './files.ts';

/** The user that PostgreSQL runs as. */
export type Owner = { uid: number; gid: number };

/**
 * Who runs PostgreSQL: we ourselves, unless we are root, whom PostgreSQL refuses. Then it is the owner of
 * the existing cluster, else the data directory's owner, else the system's `postgres`, else `nobody`.
 * Throws a StartupError when the cluster belongs to the wrong user or no unprivileged user exists.
 */
export async function chooseOwner(dataDir: DataDir, clusterDir: string, self: Owner): Promise<Owner> {
  const cluster = await statIfThere(clusterDir);
  if (self.uid !== 0) {
    if (cluster && cluster.uid !== self.uid) {
      throw new StartupError(
        `The database in ${clusterDir} belongs to uid ${cluster.uid}, and this process runs as uid ${self.uid}. Start as its owner.`,
      );
    }
    return self;
  }
  if (cluster?.uid === 0) {
    throw new StartupError(
      `The database in ${clusterDir} belongs to root, and PostgreSQL does not run as root. Give it to an unprivileged user (chown -R).`,
    );
  }
  const users = parsePasswd(await readFile('/etc/passwd', 'utf8'));
  if (cluster) return { uid: cluster.uid, gid: cluster.gid };
  if (dataDir.uid !== 0) {
    return (
      [...users.values()].find(user => user.uid === dataDir.uid) ?? { uid: dataDir.uid, gid: dataDir.uid }
    );
  }
  const user = users.get('postgres') ?? users.get('nobody');
  if (user && user.uid !== 0) return user;
  throw new StartupError(
    `PostgreSQL does not run as root, and there is no user "postgres" or "nobody" to run it. ` +
      `Give ${dataDir.path} to an unprivileged user, or set DATABASE_URL.`,
  );
}

/** Users of a passwd(5) file by name; lines that do not parse are left out. */
export function parsePasswd(text: string): Map<string, Owner> {
  const users = new Map<string, Owner>();
  for (const line of text.split('\n')) {
    const match = /^([^:#]+):[^:]*:(\d+):(\d+):/.exec(line);
    if (match?.[1]) users.set(match[1], { uid: Number(match[2]), gid: Number(match[3]) });
  }
  return users;
}

/**
 * Throws a StartupError that names the first directory on the way to `path` (`path` included) that the
 * owner may not pass. It reads permission bits only; an access list that grants more is not seen.
 */
export async function assertReachable(path: string, owner: Owner): Promise<void> {
  for (const directory of ancestors(path)) {
    const { mode, uid, gid } = await stat(directory);
    const bit = uid === owner.uid ? 0o100 : gid === owner.gid ? 0o010 : 0o001;
    if (mode & bit) continue;
    throw new StartupError(
      `PostgreSQL runs as uid ${owner.uid}, which cannot reach ${path}: the directory ${directory} is closed to it. ` +
        `Run "chmod o+x ${directory}", or set OPSFLEET_DATA_DIR to a directory outside it, such as /var/lib/opsfleet.`,
    );
  }
}

function ancestors(path: string): string[] {
  const parent = dirname(path);
  return parent === path ? [path] : [...ancestors(parent), path];
}
