import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { syncDirectory } from './private-file.ts';
import { acquireProcessLock, type ProcessLock } from './process-lock.ts';

/**
 * What the spool asks of the operating system: single calls, with no promise of what survives a power cut but
 * for what was synced. A port, so that a simulation can put a machine in its place that is killed between any
 * two of them. A call that fails rejects with the system's error.
 */
export type SpoolDisk = {
  /** Makes a directory, with those above it, for this user alone. Whether it was missing. */
  makeDirectory(path: string): Promise<boolean>;
  list(directory: string): Promise<readonly string[]>;
  read(path: string): Promise<Uint8Array>;
  /** `a`: to add to its end, making it for this user alone where it is missing. `r+`: one that is there. */
  open(path: string, how: 'a' | 'r+'): Promise<SpoolFile>;
  rename(from: string, to: string): Promise<void>;
  /** Removes a file, if it is there. */
  remove(path: string): Promise<void>;
  /** The names in it, as they are now, survive a power cut. */
  syncDirectory(path: string): Promise<void>;
  /** Null where another one has it. A process that ends, however it ends, has it no more. */
  lock(path: string): ProcessLock | null;
};

export type SpoolFile = {
  write(bytes: Uint8Array): Promise<void>;
  truncate(bytes: number): Promise<void>;
  /** What was written survives a power cut, if its name does. */
  sync(): Promise<void>;
  close(): Promise<void>;
};

/** The disk of this machine. */
export const systemDisk: SpoolDisk = {
  makeDirectory: async path => (await mkdir(path, { recursive: true, mode: 0o700 })) !== undefined,
  list: directory => readdir(directory),
  read: path => readFile(path),
  async open(path, how) {
    const handle = await open(path, how, 0o600);
    return {
      write: bytes => handle.writeFile(bytes),
      truncate: bytes => handle.truncate(bytes),
      sync: () => handle.datasync(),
      close: () => handle.close(),
    };
  },
  rename,
  remove: path => rm(path, { force: true }),
  syncDirectory,
  lock: acquireProcessLock,
};
