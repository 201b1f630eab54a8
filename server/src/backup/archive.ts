import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { constants, createZstdCompress, createZstdDecompress } from 'node:zlib';
import { extract, type Pack, pack } from 'tar-stream';
import { StartupError } from '../platform/errors.ts';
import { errorCode } from '../platform/postgres/files.ts';
import {
  isBackedUpPath,
  manifestName,
  maxFileBytes,
  maxFiles,
  maxManifestBytes,
  printable,
} from './contents.ts';

// The file is a tar in a zstd frame, so that `tar --zstd -tf` lists it, and a frame of the kind that every zstd skips
// (RFC 8878 §3.1.2) with the SHA-256 of all bytes before it: no bit of the file can change unnoticed, the format's
// spare ones included, and where the end is missing that is known before anything else is read.
const skippableMagic = 0x184d2a50;
const signature = Buffer.from('opsfleet');
const digestBytes = 32;
const trailerBytes = 4 + 4 + signature.length + digestBytes;

const compression = {
  [constants.ZSTD_c_compressionLevel]: 3,
  [constants.ZSTD_c_checksumFlag]: 1,
};
// Level 3 needs 2 MiB to look back on. A file that asks for more than 8 is none of ours.
const decompression = { [constants.ZSTD_d_windowLogMax]: 23 };

const chunkBytes = 1024 * 1024;

/** Adds a file of exactly this many bytes. */
export type AddFile = (path: string, bytes: number, chunks: AsyncIterable<Buffer>) => Promise<void>;

/** What identifies a finished archive, and how large it is. `digest`: SHA-256 in hex. */
export type Archive = { bytes: number; digest: string };

/** Writes the archive that `fill` adds files to, one after the other. Rejects with what went wrong; half of it is then written. */
export async function writeArchive(
  handle: FileHandle,
  signal: AbortSignal,
  fill: (add: AddFile) => Promise<void>,
): Promise<Archive> {
  signal.throwIfAborted();
  const tar = pack();
  tar.on('error', () => undefined);
  const hash = createHash('sha256');
  let bytes = 0;
  const toDisk = async (chunks: AsyncIterable<Buffer>): Promise<void> => {
    for await (const chunk of chunks) {
      hash.update(chunk);
      bytes += chunk.length;
      await handle.writeFile(chunk);
    }
  };
  const written = pipeline(
    tar as unknown as NodeJS.ReadableStream,
    createZstdCompress({ params: compression, chunkSize: chunkBytes }),
    toDisk,
    { signal },
  );
  const filled = fill((path, size, chunks) => addFile(tar, { path, bytes: size }, chunks)).then(
    () => tar.finalize(),
    (error: unknown) => {
      // Where the disk has failed or it is interrupted, what is being added fails for that, and only after it.
      if (tar.destroying) return written;
      tar.destroy();
      throw error;
    },
  );
  // First what was filled: where that has failed by itself, the writing has for that.
  const outcomes = await Promise.allSettled([filled, written]);
  const failure = outcomes.find(outcome => outcome.status === 'rejected');
  if (failure !== undefined) throw failure.reason;
  const digest = hash.digest();
  await handle.writeFile(trailerOf(digest));
  return { bytes: bytes + trailerBytes, digest: digest.toString('hex') };
}

async function addFile(
  tar: Pack,
  { path, bytes }: { path: string; bytes: number },
  chunks: AsyncIterable<Buffer>,
): Promise<void> {
  const { promise: finished, resolve, reject } = Promise.withResolvers<void>();
  const sink = tar.entry({ name: path, size: bytes, mode: 0o600 }, error =>
    error ? reject(error) : resolve(),
  );
  finished.catch(() => undefined);
  // Streams of this library throw an error that nobody listens to; `finished` rejects with it.
  sink.on('error', () => undefined);
  for await (const chunk of chunks) {
    if (sink.write(chunk)) continue;
    const drained = new Promise<void>(drain => void sink.once('drain', drain));
    await Promise.race([drained, finished]);
  }
  sink.end(undefined);
  await finished;
}

function trailerOf(digest: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(skippableMagic);
  head.writeUInt32LE(signature.length + digestBytes, 4);
  return Buffer.concat([head, signature, digest]);
}

/** Opens a file that ends as an archive does. Throws a StartupError where it does not, or cannot be read. */
async function openArchive(path: string): Promise<Archive & { handle: FileHandle }> {
  const handle = await open(path, 'r').catch((error: unknown) => {
    throw new StartupError(`${path} cannot be read (${errorCode(error) ?? String(error)}).`, {
      cause: error,
    });
  });
  try {
    const found = await handle.stat();
    if (!found.isFile()) throw new StartupError(`${path} is not a file.`);
    const trailer = Buffer.alloc(trailerBytes);
    if (found.size > trailerBytes) await handle.read(trailer, 0, trailerBytes, found.size - trailerBytes);
    const digest = trailer.subarray(-digestBytes);
    if (!trailer.equals(trailerOf(digest))) {
      throw new StartupError(`${path} is no backup of opsfleet, or its end is missing.`);
    }
    return { handle, bytes: found.size, digest: digest.toString('hex') };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** What the archive's own end says of it. Nothing else of it is read. */
export async function identifyArchive(path: string): Promise<Archive> {
  const { handle, ...archive } = await openArchive(path);
  await handle.close();
  return archive;
}

/** Is given each file in turn, and has to read all of it. */
export type TakeFile = (path: string, bytes: number, chunks: AsyncIterable<Buffer>) => Promise<void>;

/**
 * Reads a whole archive, holding each name, kind and size to what a backup may have, and the bytes to their
 * SHA-256. Throws a StartupError that says why the file is refused; what `take` throws is passed on. Until it has
 * resolved, nothing that `take` was given may be trusted.
 */
export async function readArchive(path: string, signal: AbortSignal, take: TakeFile): Promise<Archive> {
  signal.throwIfAborted();
  const { handle, bytes, digest } = await openArchive(path);
  const hash = createHash('sha256');
  const source = handle.createReadStream({
    end: bytes - trailerBytes - 1,
    highWaterMark: chunkBytes,
    autoClose: false,
  });
  const counted = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      done(null, chunk);
    },
  });
  const tar = extract();
  const fed = pipeline(
    source,
    counted,
    createZstdDecompress({ params: decompression, chunkSize: chunkBytes }),
    tar as unknown as NodeJS.WritableStream,
    { signal },
  );
  fed.catch(() => undefined);
  let taking: unknown;
  try {
    let files = 0;
    for await (const entry of tar) {
      if ((files += 1) > maxFiles) throw new StartupError(`It has more than ${maxFiles} files.`);
      assertExpected(entry.header);
      await take(entry.header.name, entry.header.size, entry as unknown as AsyncIterable<Buffer>).catch(
        (error: unknown) => {
          taking = error;
          throw error;
        },
      );
    }
    await fed;
    if (hash.digest('hex') !== digest)
      throw new StartupError('It does not have the checksum that it was written with.');
    return { bytes, digest };
  } catch (error) {
    signal.throwIfAborted();
    tar.destroy();
    throw asRefusal(path, error, taking);
  } finally {
    await fed.catch(() => undefined);
    await handle.close();
  }
}

function assertExpected({
  name,
  type,
  size,
  pax,
}: {
  name: string;
  type: string | null;
  size: number;
  pax?: unknown;
}): void {
  if (type !== 'file')
    throw new StartupError(`It has ${printable(name)}, which is no file but ${printable(String(type))}.`);
  if (pax || !isBackedUpPath(name))
    throw new StartupError(`It has a file ${printable(name)}, which no backup has.`);
  const limit = name === manifestName ? maxManifestBytes : maxFileBytes;
  if (!(size <= limit)) throw new StartupError(`Its file ${printable(name)} is larger than ${limit} bytes.`);
}

function asRefusal(path: string, error: unknown, taking: unknown): unknown {
  if (error instanceof StartupError)
    return new StartupError(`${path} is refused: ${error.message}`, { cause: error });
  // The disk that it is unpacked to is full, or the like; but an entry that breaks off in the middle is the archive's.
  if (error === taking && errorCode(error) !== undefined && !/^(Z|ERR_)/.test(errorCode(error)!))
    return error;
  return new StartupError(`${path} is damaged: ${error instanceof Error ? error.message : String(error)}.`, {
    cause: error,
  });
}
