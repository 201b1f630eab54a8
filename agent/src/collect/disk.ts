import { readFile, statfs } from 'node:fs/promises';

/** A line of /proc/mounts. */
export type Mount = { source: string; mountPoint: string; type: string };

/** Sizes of a file system in blocks; `bavail` is what users other than root may still take. */
export type FileSystemSizes = { blocks: number; bfree: number; bavail: number };

const statfsTimeoutMs = 2_000;

// Read-only images are always full, and nobody can do anything about it.
const imageTypes = new Set(['squashfs', 'iso9660', 'udf', 'erofs', 'cramfs', 'romfs']);
// Pools name themselves where others name a device.
const deviceless = new Set(['zfs', 'bcachefs']);

const fullestOf = createFullest(statfs, statfsTimeoutMs);

/** Use of the fullest local file system, 0 to 100 as `df` counts it; undefined when there is none. */
export async function readDiskPercent(): Promise<number | undefined> {
  return fullestOf(localMounts(parseMounts(await readFile('/proc/mounts', 'utf8'))));
}

/**
 * A function that finds the fullest of some mounts. One that does not answer within `timeoutMs`, or that we
 * may not ask, is left out. Since a statfs that hangs holds one of Node's four file threads, a mount is not
 * asked again before it has answered: a dead disk costs one thread, not all.
 */
export function createFullest(
  ask: (mountPoint: string) => Promise<FileSystemSizes>,
  timeoutMs: number,
): (mounts: readonly Mount[]) => Promise<number | undefined> {
  const asked = new Set<string>();

  async function percentOf(mountPoint: string): Promise<number | undefined> {
    if (asked.has(mountPoint)) return undefined;
    asked.add(mountPoint);
    const answer = ask(mountPoint)
      .then(usedPercent)
      .catch(() => undefined)
      .finally(() => asked.delete(mountPoint));
    let timer: NodeJS.Timeout | undefined;
    const gaveUp = new Promise<undefined>(resolve => {
      timer = setTimeout(() => resolve(undefined), timeoutMs);
    });
    return Promise.race([answer, gaveUp]).finally(() => clearTimeout(timer));
  }

  return async mounts => {
    const percents = await Promise.all(mounts.map(({ mountPoint }) => percentOf(mountPoint)));
    const known = percents.filter(percent => percent !== undefined);
    return known.length === 0 ? undefined : Math.max(...known);
  };
}

/** Parses /proc/mounts (fstab(5)); a line that is none is left out. */
export function parseMounts(text: string): Mount[] {
  const mounts = text.split('\n').map(line => line.split(' '));
  return mounts.flatMap(([source, mountPoint, type]) =>
    source && mountPoint?.startsWith('/') && type
      ? [{ source: unescape(source), mountPoint: unescape(mountPoint), type }]
      : [],
  );
}

/**
 * The mounts worth asking: on a block device (or a pool), each file system once however often it is bound,
 * no images, no snaps, no network, no memory. In a container where that leaves nothing, its root.
 */
export function localMounts(mounts: readonly Mount[]): Mount[] {
  // Of several mounts on one directory only the last can be seen.
  const visible = new Map(mounts.map(mount => [mount.mountPoint, mount]));
  const bySource = new Map<string, Mount>();
  for (const mount of visible.values()) {
    const known = bySource.get(mount.source);
    const isShorter = known === undefined || mount.mountPoint.length < known.mountPoint.length;
    if (isLocal(mount) && isShorter) bySource.set(mount.source, mount);
  }
  if (bySource.size > 0) return [...bySource.values()];
  const root = visible.get('/');
  return root === undefined ? [] : [root];
}

/** As `df` computes it; undefined for a file system without blocks, and for sizes that make no sense. */
export function usedPercent(sizes: FileSystemSizes): number | undefined {
  const used = sizes.blocks - sizes.bfree;
  const usable = used + sizes.bavail;
  const percent = (100 * used) / usable;
  return sizes.blocks > 0 && percent >= 0 && percent <= 100 ? percent : undefined;
}

function isLocal({ source, type }: Mount): boolean {
  if (deviceless.has(type)) return true;
  return (
    source.startsWith('/dev/') &&
    !source.startsWith('/dev/loop') &&
    !imageTypes.has(type) &&
    !/^fuse(\.|$)/.test(type)
  );
}

/** The kernel writes space, tab, newline and backslash as three octal digits. */
function unescape(text: string): string {
  return text.replace(/\\([0-3][0-7]{2})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
