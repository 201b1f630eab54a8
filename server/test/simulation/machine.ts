import { dirname } from 'node:path';
import type { SpoolDisk, SpoolFile } from '../../src/platform/spool-disk.ts';
import type { Process } from './process.ts';
import type { Random } from './random.ts';
import type { Timeline } from './timeline.ts';

/** What processes have in common: a disk, and its power. */
export type Machine = {
  readonly name: string;
  /** Full: it takes half of a write. Away: every call fails. Set by the nemesis. */
  readonly trouble: { isFull: boolean; isAway: boolean };
  /** The disk as a process sees it. A call that was under way when its process was killed is done, or not, or half. */
  diskOf(process: Process): SpoolDisk;
  /** What was not synced is gone, or some of it, or there are zeros in its place. Its processes are dead by then. */
  losePower(): void;
  /** Has something done to the process that makes the disk call after that many others, before it or after it. */
  strikeAtCall(after: number, strike: (process: Process) => void): void;
  /** The files on its disk, with their sizes. */
  files(): { path: string; bytes: number }[];
};

/** `synced`: what survives a power cut for certain. */
type File = { bytes: Buffer; synced: Buffer };

const nothing = Buffer.alloc(0);
const errorOf = (code: string): Error => Object.assign(new Error(code), { code });

export function createMachine(name: string, timeline: Timeline, random: Random): Machine {
  const trouble = { isFull: false, isAway: false };
  // As they are, and as a power cut leaves them if no journal was written since the last sync of a directory.
  let files = new Map<string, File>();
  let directories = new Set<string>(['/']);
  let syncedFiles = new Map<string, File>();
  let syncedDirectories = new Set<string>(['/']);
  const locks = new Map<string, { owner: Process }>();
  let strike: { after: number; hit(process: Process): void } | null = null;
  let powerCuts = 0;

  /** One call of the operating system. `half`: what it may leave when its process is killed in it. */
  function call<T>(process: Process, apply: () => T, half: () => void = () => undefined): Promise<T> {
    const made = powerCuts;
    return new Promise((resolve, reject) => {
      timeline.after(random.between(0, 2), () => {
        if (made !== powerCuts) return;
        if (!process.isAlive()) {
          if (random.chance(0.5)) half();
          return;
        }
        if (strike !== null && strike.after-- === 0) {
          const { hit } = strike;
          strike = null;
          if (random.chance(0.5)) half();
          hit(process);
          return;
        }
        try {
          if (trouble.isAway) throw errorOf('EIO');
          const result = apply();
          process.run(() => resolve(result));
        } catch (error) {
          process.run(() => reject(error));
        }
      });
    });
  }

  const fileAt = (path: string): File => {
    const file = files.get(path);
    if (file === undefined) throw errorOf('ENOENT');
    return file;
  };
  const add = (file: File, bytes: Uint8Array): void => {
    file.bytes = Buffer.concat([file.bytes, bytes]);
  };

  function handleOf(process: Process, file: File): SpoolFile {
    return {
      write: bytes =>
        call(
          process,
          () => {
            add(file, trouble.isFull ? bytes.subarray(0, bytes.length >> 1) : bytes);
            if (trouble.isFull) throw errorOf('ENOSPC');
          },
          () => add(file, bytes.subarray(0, random.between(0, bytes.length))),
        ),
      truncate: length =>
        call(process, () => {
          file.bytes = file.bytes.subarray(0, length);
        }),
      sync: () =>
        call(process, () => {
          file.synced = file.bytes;
        }),
      close: () => Promise.resolve(),
    };
  }

  function syncNames(directory: string): void {
    for (const path of syncedFiles.keys()) if (dirname(path) === directory) syncedFiles.delete(path);
    for (const [path, file] of files) if (dirname(path) === directory) syncedFiles.set(path, file);
    for (const path of directories) if (dirname(path) === directory) syncedDirectories.add(path);
  }

  function makeDirectory(path: string): boolean {
    if (directories.has(path)) return false;
    if (trouble.isFull) throw errorOf('ENOSPC');
    makeDirectory(dirname(path));
    directories.add(path);
    return true;
  }

  function afterPowerCut({ bytes, synced }: File): Buffer {
    if (!bytes.subarray(0, synced.length).equals(synced)) return random.pick([bytes, synced]);
    const tail = Buffer.from(bytes.subarray(synced.length));
    const kept = random.between(0, tail.length);
    tail.fill(0, kept);
    return Buffer.concat([synced, random.chance(0.3) ? tail : tail.subarray(0, kept)]);
  }

  return {
    name,
    trouble,
    diskOf: process => ({
      makeDirectory: path => call(process, () => makeDirectory(path)),
      list: directory =>
        call(process, () =>
          [...files.keys(), ...directories]
            .filter(path => dirname(path) === directory && path !== directory)
            .map(path => path.slice(directory.length + 1)),
        ),
      read: path => call(process, () => Uint8Array.from(fileAt(path).bytes)),
      open: (path, how) =>
        call(process, () => {
          if (how === 'a' && !files.has(path)) files.set(path, { bytes: nothing, synced: nothing });
          return handleOf(process, fileAt(path));
        }),
      rename: (from, to) =>
        call(process, () => {
          files.set(to, fileAt(from));
          files.delete(from);
        }),
      remove: path =>
        call(process, () => {
          files.delete(path);
        }),
      syncDirectory: path => call(process, () => syncNames(path)),
      lock(path) {
        if (trouble.isAway) throw errorOf('EIO');
        if (locks.get(path)?.owner.isAlive() === true) return null;
        const lock = { owner: process };
        locks.set(path, lock);
        return {
          release() {
            if (locks.get(path) === lock) locks.delete(path);
          },
        };
      },
    }),
    losePower() {
      powerCuts += 1;
      if (random.chance(0.5)) {
        directories = new Set(syncedDirectories);
        files = new Map([...syncedFiles].filter(([path]) => directories.has(dirname(path))));
      }
      for (const file of files.values()) {
        file.bytes = afterPowerCut(file);
        file.synced = file.bytes;
      }
      syncedFiles = new Map(files);
      syncedDirectories = new Set(directories);
    },
    strikeAtCall(after, hit) {
      strike = { after, hit };
    },
    files: () => [...files].map(([path, { bytes }]) => ({ path, bytes: bytes.length })),
  };
}
