import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { link, mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform, type TransformCallback, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { constants, createZstdCompress, createZstdDecompress } from 'node:zlib';
import type pg from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import { syncDirectory } from '../platform/private-file.ts';
import type { Partition } from './partitions.ts';
import type { Archive } from './store.ts';

/** What a table holds: how many rows, and the sum of their hashes. */
export type Content = Pick<Archive, 'rows' | 'rowHash'>;

const partial = '.partial';

/** Makes the directory, and removes what a killed process left half written in it. */
export async function prepareDirectory(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  for (const name of await readdir(directory)) {
    if (name.endsWith(`.csv.zst${partial}`)) await rm(join(directory, name), { force: true });
  }
}

/**
 * Writes all rows of a partition to a new file of the directory, as CSV (RFC 4180, with a header; PostgreSQL's NULL is
 * the empty field without quotes) in zstd, syncs it, and reads it back: what is on the disk has as many rows, byte for byte
 * as PostgreSQL sent them. Beside it lies what the database notes of it, as JSON. On any failure nothing is left.
 */
export async function writeArchive(
  client: pg.Client,
  partition: Partition,
  { directory, id, now, signal }: { directory: string; id: string; now: Date; signal: AbortSignal },
): Promise<Archive> {
  const stamp = now.toISOString().replaceAll(/[-:]|\.\d+/g, '');
  const file = `${partition.name}.${stamp}.${id.slice(0, 8)}.csv.zst`;
  const draft = join(directory, file + partial);
  try {
    const columns = await columnsOf(client, partition.name);
    const { content, sentRows, sent } = await copyOut(
      client,
      { name: partition.name, columns },
      draft,
      signal,
    );
    const found = await readBack(draft, signal);
    if (found.text !== sent || found.rows !== content.rows || sentRows !== content.rows) {
      throw new Error(
        `${file} does not read back as it was written: ${content.rows} rows in the partition, ${sentRows} sent, ${found.rows} in the file`,
      );
    }
    const archive: Archive = {
      id,
      partition,
      file,
      columns,
      ...content,
      bytes: found.bytes,
      sha256: found.file,
      createdAt: now,
      droppedAt: null,
      restoredUntil: null,
    };
    // Unlike a rename, this never puts one archive in the place of another.
    await link(draft, join(directory, file));
    await rm(draft);
    await writeSynced(join(directory, `${file}.json`), `${JSON.stringify(archive, null, 2)}\n`);
    await syncDirectory(directory);
    return archive;
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}

/** Whether the file of an archive is there, byte for byte as it was written. */
export async function isIntact(
  directory: string,
  { file, bytes, sha256, rows }: Archive,
  signal: AbortSignal,
): Promise<boolean> {
  const path = join(directory, file);
  const size = await stat(path).then(
    found => found.size,
    () => null,
  );
  if (size !== bytes) return false;
  // What zstd cannot read is not what was written.
  const found = await readBack(path, signal).catch(() => null);
  return found?.file === sha256 && found.rows === rows;
}

/** Copies the rows of an archive into a table that has its columns. It must not have row security yet. */
export async function copyIn(
  client: pg.Client,
  table: string,
  { directory, archive, signal }: { directory: string; archive: Archive; signal: AbortSignal },
): Promise<void> {
  const into = client.query(
    copyFrom(`copy ${quoted(table)} (${list(archive.columns)}) from stdin (format csv, header match)`),
  );
  await pipeline(createReadStream(join(directory, archive.file)), createZstdDecompress(), into, { signal });
}

/**
 * A transaction that acts for the whole installation, and changes nothing unless `work` commits. Row security would hide
 * every row from another, and where the tables are distributed other machines learn of it in a transaction alone.
 */
export async function forAll<T>(client: pg.Client, begin: string, work: () => Promise<T>): Promise<T> {
  await client.query(begin);
  try {
    await client.query(`set local opsfleet.organization to '*'`);
    return await work();
  } finally {
    await client.query('rollback').catch(() => undefined);
  }
}

const oneMoment = 'begin transaction isolation level repeatable read read only';

/** What a table holds, in these columns. */
export const contentOf = (client: pg.Client, name: string, columns: readonly string[]): Promise<Content> =>
  forAll(client, oneMoment, () => readContent(client, name, columns));

/** The same, in a transaction that acts for the whole installation. */
export async function readContent(
  client: pg.Client,
  name: string,
  columns: readonly string[],
): Promise<Content> {
  const { rows } = await client.query<{ rows: string; hash: string }>(`
    select count(*) as rows, coalesce(sum(hashtextextended(row(${list(columns)})::text, 0)::numeric), 0) as hash
    from ${quoted(name)}`);
  return { rows: Number(rows[0]!.rows), rowHash: rows[0]!.hash };
}

async function columnsOf(client: pg.Client, name: string): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `select attname as name from pg_attribute
     where attrelid = $1::regclass and attnum > 0 and not attisdropped order by attnum`,
    [quoted(name)],
  );
  return rows.map(row => row.name);
}

/** Both what is counted and what is written are of one moment. */
function copyOut(
  client: pg.Client,
  { name, columns }: { name: string; columns: readonly string[] },
  path: string,
  signal: AbortSignal,
): Promise<{ content: Content; sentRows: number; sent: string }> {
  return forAll(client, oneMoment, async () => {
    const content = await readContent(client, name, columns);
    const out = client.query(
      copyTo(`copy (select ${list(columns)} from ${quoted(name)}) to stdout (format csv, header)`),
    );
    const sent = digest();
    const compress = createZstdCompress({ params: { [constants.ZSTD_c_checksumFlag]: 1 } });
    // flush: synced before it is closed.
    const file = createWriteStream(path, { flags: 'wx', mode: 0o600, flush: true });
    await pipeline(out, sent.through, compress, file, { signal });
    return { content, sentRows: out.rowCount, sent: sent.hex() };
  });
}

type Found = { bytes: number; file: string; text: string; rows: number };

/** What is in a file: its size and hash, and the hash and the number of rows of its text. */
async function readBack(path: string, signal: AbortSignal): Promise<Found> {
  const [file, text, records] = [digest(), digest(), createRecordCounter()];
  const count = new Writable({
    write(chunk: Buffer, _encoding, done) {
      records.add(chunk);
      done();
    },
  });
  await pipeline(createReadStream(path), file.through, createZstdDecompress(), text.through, count, {
    signal,
  });
  return { bytes: file.bytes(), file: file.hex(), text: text.hex(), rows: Math.max(0, records.count() - 1) };
}

/** Passes on what it hashes (SHA-256) and counts. */
function digest(): { through: Transform; hex(): string; bytes(): number } {
  const hash = createHash('sha256');
  let bytes = 0;
  const through = new Transform({
    transform(chunk: Buffer, _encoding, done: TransformCallback) {
      bytes += chunk.length;
      hash.update(chunk);
      done(null, chunk);
    },
  });
  return { through, hex: () => hash.digest('hex'), bytes: () => bytes };
}

const newline = 0x0a;
const quote = 0x22;

/** Counts the records of CSV that comes in pieces: lines that end outside quotes. A quote within quotes is doubled. */
export function createRecordCounter(): { add(chunk: Buffer): void; count(): number } {
  let records = 0;
  let isQuoted = false;
  return {
    add(chunk) {
      for (let at = 0; at < chunk.length; at += 1) {
        const byte = chunk[at];
        if (byte === quote) isQuoted = !isQuoted;
        else if (byte === newline && !isQuoted) records += 1;
      }
    },
    count: () => records,
  };
}

async function writeSynced(path: string, text: string): Promise<void> {
  const handle = await open(path, 'wx', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

export const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;
const list = (names: readonly string[]): string => names.map(quoted).join(', ');
