import { createHash } from 'node:crypto';
import { StartupError } from '../platform/errors.ts';
import { type Archive, readArchive, type TakeFile } from './archive.ts';
import {
  clusterFolder,
  type FileEntry,
  type Header,
  headerName,
  type Manifest,
  manifestName,
  masterKeyName,
  maxHeaderBytes,
  parseHeader,
  parseManifest,
  printable,
} from './contents.ts';

/** A backup that was read whole and found to be what its maker wrote. */
export type Backup = { archive: Archive; header: Header; manifest: Manifest };

export type Reader = {
  signal: AbortSignal;
  /** Comes before everything else; what it throws ends the reading. */
  begin?(header: Header): void;
  /** What to do with each file of the data directory. By default it is read and let go. */
  take?: TakeFile;
  onProgress?(unpackedBytes: number): void;
};

/**
 * Reads a whole backup and compares every file with the manifest. Throws a StartupError where anything is
 * missing, added, twice or different; what was handed to `take` by then counts for nothing.
 */
export async function readBackup(path: string, reader: Reader): Promise<Backup> {
  const seen = new Map<string, FileEntry>();
  let header: Header | undefined;
  let manifest: Manifest | undefined;
  let total = 0;
  const archive = await readArchive(path, reader.signal, async (name, bytes, chunks) => {
    if (manifest !== undefined) throw new StartupError(`It has ${printable(name)} behind its manifest.`);
    if ((name === headerName) !== (header === undefined))
      throw new StartupError(`It does not begin with one ${headerName}.`);
    if (seen.has(name)) throw new StartupError(`It has ${printable(name)} twice.`);
    const hash = createHash('sha256');
    const hashed = hashing(chunks, chunk => {
      hash.update(chunk);
      total += chunk.length;
      reader.onProgress?.(total);
    });
    if (name === headerName) {
      if (bytes > maxHeaderBytes)
        throw new StartupError(`Its ${headerName} is larger than ${maxHeaderBytes} bytes.`);
      header = parseHeader(await collect(hashed));
      reader.begin?.(header);
    } else if (name === manifestName) {
      manifest = parseManifest(await collect(hashed));
      return;
    } else if (reader.take === undefined) {
      for await (const _ of hashed);
    } else {
      await reader.take(name, bytes, hashed);
    }
    seen.set(name, { path: name, bytes, sha256: hash.digest('hex') });
  });
  if (header === undefined || manifest === undefined)
    throw new StartupError(`${path} is refused: It has no manifest.`);
  const problem = compare(header, manifest, seen);
  if (problem !== null) throw new StartupError(`${path} is refused: ${problem}`);
  return { archive, header, manifest };
}

const needed = ['PG_VERSION', 'backup_label', 'global/pg_control'].map(name => `${clusterFolder}/${name}`);

/** What is wrong with the files of a backup, or null. */
function compare(header: Header, manifest: Manifest, seen: ReadonlyMap<string, FileEntry>): string | null {
  for (const wanted of manifest.files) {
    const found = seen.get(wanted.path);
    if (found === undefined) return `${wanted.path} is in its manifest and not in it.`;
    if (found.bytes !== wanted.bytes || found.sha256 !== wanted.sha256) {
      return `${wanted.path} does not have the checksum of its manifest.`;
    }
  }
  if (seen.size !== manifest.files.length) return 'It has files that are not in its manifest.';
  if (seen.has(masterKeyName) !== header.hasMasterKey) return 'Its header is wrong about the master key.';
  const missing = needed.find(name => !seen.has(name));
  return missing === undefined ? null : `It has no ${missing}.`;
}

/** Passes chunks on, and each to `see` first. */
export async function* hashing(
  chunks: AsyncIterable<Buffer>,
  see: (chunk: Buffer) => void,
): AsyncGenerator<Buffer> {
  for await (const chunk of chunks) {
    see(chunk);
    yield chunk;
  }
}

async function collect(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const all: Buffer[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all);
}
