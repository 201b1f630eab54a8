import { StartupError } from '../platform/errors.ts';
import { parseSegmentName } from '../platform/spool.ts';

/** Of what is in a backup and how. A reader refuses any other: it could misunderstand it. */
export const formatVersion = 1;

export const headerName = 'header.json';
export const manifestName = 'manifest.json';
export const masterKeyName = 'master-key';
/** The cluster's files, under their names in its data directory. */
export const clusterFolder = 'pgdata';
export const spoolFolder = 'spool';

/** The first file of a backup: what has to be known before anything else of it is read. */
export type Header = {
  format: number;
  /** The version of the program that made it. */
  opsfleet: string;
  /** Of the server that ran, such as `18.4`. Another major version cannot read its files. */
  postgres: string;
  postgresMajor: number;
  /** Node's name of the processor, such as `x64`: PostgreSQL's files are laid out for it. */
  architecture: string;
  /** PostgreSQL's name for the cluster, decimal; a copy keeps it. */
  systemIdentifier: string;
  /** The newest migration when the backup began; null where the program had never run on the database. */
  migration: string | null;
  /** The master keys that the stored secrets need, by id. */
  masterKeyIds: readonly string[];
  hasMasterKey: boolean;
  startedAt: string;
};

export type FileEntry = { path: string; bytes: number; sha256: string };

/** The last file of a backup: every other one, in the order in which they are in it. */
export type Manifest = {
  endedAt: string;
  /** Of the cluster, also the empty ones: PostgreSQL does not make those that it misses. */
  directories: readonly string[];
  files: readonly FileEntry[];
};

const maxPathChars = 200;

/** PostgreSQL cuts relations and log at 1 GiB; nothing else in a backup is as large. */
export const maxFileBytes = 1024 ** 3;
/** A relation is three files and more. Far beyond what one machine polls. */
export const maxFiles = 300_000;
/** A line for each of that many files. */
const manifestBytesPerFile = 400;
export const maxManifestBytes = maxFiles * manifestBytesPerFile;
export const maxHeaderBytes = 65_536;

/**
 * Whether a backup may have a file of this name. What is not on the list is not ours: nothing can lead outside
 * of the directory that it is unpacked into, and nothing replaces what a data directory has besides.
 */
export function isBackedUpPath(path: string): boolean {
  if ([headerName, manifestName, masterKeyName].includes(path)) return true;
  const [folder, ...rest] = path.split('/');
  if (folder === clusterFolder) return isClusterPath(rest.join('/'));
  const [number, name] = rest;
  return (
    folder === spoolFolder &&
    rest.length === 2 &&
    /^[1-9]\d{0,3}$/.test(number!) &&
    parseSegmentName(name!) !== null
  );
}

/** A path below the cluster's directory. PostgreSQL makes no other names. */
export function isClusterPath(path: string): boolean {
  return (
    path.length <= maxPathChars &&
    path
      .split('/')
      .every(
        part =>
          /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(part) &&
          part !== 'recovery.signal' &&
          part !== 'standby.signal',
      )
  );
}

/** Reads the header. Throws a StartupError where it is none, or of a backup that this program cannot read. */
export function parseHeader(bytes: Buffer): Header {
  const value = parseObject(bytes, headerName);
  const format = value['format'];
  if (format !== formatVersion) {
    throw new StartupError(
      `It has format ${JSON.stringify(format)}, and this opsfleet reads format ${formatVersion}. Use the opsfleet that made it${typeof value['opsfleet'] === 'string' ? ` (${printable(value['opsfleet'])})` : ''}.`,
    );
  }
  return {
    format,
    opsfleet: text(value, 'opsfleet', /^[\w.+-]{1,64}$/),
    postgres: text(value, 'postgres', /^\d{1,3}[\w. ()+~-]{0,60}$/),
    postgresMajor: integer(value, 'postgresMajor', 1_000),
    architecture: text(value, 'architecture', /^[a-z0-9]{1,16}$/),
    systemIdentifier: text(value, 'systemIdentifier', /^\d{1,20}$/),
    migration: value['migration'] === null ? null : text(value, 'migration', /^\d{4}_[a-z0-9_]{1,100}\.sql$/),
    masterKeyIds: list(value, 'masterKeyIds', 10_000).map((_, index, all) =>
      text(all, index, /^[0-9a-f]{16}$/),
    ),
    hasMasterKey: value['hasMasterKey'] === true,
    startedAt: text(value, 'startedAt', /^\d{4}-\d\d-\d\dT[\d:.]{1,15}Z$/),
  };
}

/** Reads the manifest. Throws a StartupError where it is none, or names what no backup has, or something twice. */
export function parseManifest(bytes: Buffer): Manifest {
  const value = parseObject(bytes, manifestName);
  const files = list(value, 'files', maxFiles).map((file, index): FileEntry => {
    const entry = object(file, `files[${index}]`);
    return {
      path: text(entry, 'path', /^[\w./-]+$/),
      bytes: integer(entry, 'bytes', maxFileBytes),
      sha256: text(entry, 'sha256', /^[0-9a-f]{64}$/),
    };
  });
  const directories = list(value, 'directories', maxFiles).map((_, index, all) =>
    text(all, index, /^[\w./-]+$/),
  );
  const strange =
    files.find(({ path }) => !isBackedUpPath(path) || path === manifestName)?.path ??
    directories.find(path => !isClusterPath(path));
  if (strange !== undefined) throw new StartupError(`Its manifest names ${printable(strange)}.`);
  if (new Set(files.map(({ path }) => path)).size !== files.length) {
    throw new StartupError('Its manifest names a file twice.');
  }
  return { endedAt: text(value, 'endedAt', /^\d{4}-\d\d-\d\dT[\d:.]{1,15}Z$/), directories, files };
}

/** A name out of a file, so that it changes nothing but one line of a terminal. */
export const printable = (name: string): string => JSON.stringify(name.slice(0, maxPathChars));

function parseObject(bytes: Buffer, name: string): Record<string, unknown> {
  try {
    return object(JSON.parse(bytes.toString('utf8')), name);
  } catch (error) {
    if (error instanceof StartupError) throw error;
    throw new StartupError(`Its ${name} is no JSON.`, { cause: error });
  }
}

function object(value: unknown, name: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw new StartupError(`${name} must be an object.`);
}

function list(value: Record<string, unknown>, name: string, maxLength: number): unknown[] {
  const found = value[name];
  if (Array.isArray(found) && found.length <= maxLength) return found;
  throw new StartupError(`${name} must be a list of ${maxLength} at most.`);
}

function text(value: Record<string, unknown> | unknown[], name: string | number, pattern: RegExp): string {
  const found = (value as Record<string | number, unknown>)[name];
  if (typeof found === 'string' && pattern.test(found)) return found;
  throw new StartupError(`${name} must be text of the form ${pattern.source}.`);
}

function integer(value: Record<string, unknown>, name: string, max: number): number {
  const found = value[name];
  if (Number.isSafeInteger(found) && Number(found) >= 0 && Number(found) <= max) return Number(found);
  throw new StartupError(`${name} must be a whole number from 0 to ${max}.`);
}
