import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, open, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { zstdCompressSync } from 'node:zlib';
import { pack } from 'tar-stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { StartupError } from '../platform/errors.ts';
import { writeArchive } from './archive.ts';
import { type Header, headerName, manifestName } from './contents.ts';
import { readBackup } from './read.ts';

const { signal } = new AbortController();

const header: Header = {
  format: 1,
  opsfleet: '0.1.0',
  postgres: '18.4',
  postgresMajor: 18,
  architecture: 'x64',
  systemIdentifier: '7577311313131313131',
  migration: '0007_metric_rollups.sql',
  masterKeyIds: [],
  hasMasterKey: false,
  startedAt: '2026-11-28T23:05:32.000Z',
};

type File = [path: string, content: string | Buffer];

const database: File[] = [
  ['pgdata/PG_VERSION', '18\n'],
  ['pgdata/base/1/112', randomBytes(3_000)],
  ['pgdata/global/pg_control', randomBytes(8_192)],
  ['pgdata/backup_label', 'START WAL LOCATION'],
];

const manifestOf = (files: readonly File[]): File => [
  manifestName,
  JSON.stringify({
    endedAt: '2026-11-28T23:05:33.000Z',
    directories: ['pg_wal'],
    files: files.map(([path, content]) => ({
      path,
      bytes: Buffer.byteLength(content),
      sha256: createHash('sha256').update(content).digest('hex'),
    })),
  }),
];

/** A backup with these files of the cluster and what belongs around them. */
const wholeOf = (files: readonly File[], over: Record<string, unknown> = {}): File[] => {
  const all: File[] = [[headerName, JSON.stringify({ ...header, ...over })], ...files];
  return [...all, manifestOf(all)];
};

let directory: string;
let path: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'opsfleet-archive-'));
  path = join(directory, 'backup');
});
afterEach(() => rm(directory, { recursive: true }));

async function write(files: readonly File[]): Promise<void> {
  const handle = await open(path, 'w');
  await writeArchive(handle, signal, async add => {
    for (const [name, content] of files) {
      await add(
        name,
        Buffer.byteLength(content),
        (async function* () {
          yield Buffer.from(content);
        })(),
      );
    }
  });
  await handle.close();
}

/** Written without our writer, which would not write it; the end that says it is whole is right. */
async function forge(
  entries: readonly (Parameters<ReturnType<typeof pack>['entry']>[0] & { content?: string })[],
): Promise<void> {
  const tar = pack();
  for (const { content, ...entry } of entries) {
    if (content === undefined) tar.entry(entry);
    else tar.entry(entry, content);
  }
  tar.finalize();
  await forgeRaw(zstdCompressSync(await buffer(tar)));
}

async function forgeRaw(compressed: Buffer): Promise<void> {
  const digest = createHash('sha256').update(compressed).digest();
  const trailer = Buffer.concat([Buffer.from('502a4d1828000000', 'hex'), Buffer.from('opsfleet'), digest]);
  await writeFile(path, Buffer.concat([compressed, trailer]));
}

const read = () => readBackup(path, { signal });

async function expectRefusal(...words: string[]): Promise<void> {
  const refused: unknown = await read().catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(StartupError);
  for (const word of [path, ...words]) expect(String(refused)).toContain(word);
}

test('what was written is read back', async () => {
  await write(wholeOf(database));
  const taken: File[] = [];
  const found = await readBackup(path, {
    signal,
    take: async (name, _bytes, chunks) => void taken.push([name, await buffer(chunks)]),
  });
  expect(taken).toEqual(database.map(([name, content]) => [name, Buffer.from(content)]));
  expect(found.header).toEqual(header);
  expect(found.manifest.directories).toEqual(['pg_wal']);
});

/** More than all buffers on the way to the disk hold, so that it is in the middle of it that something happens. */
async function* large(before: (mebibyte: number) => void = () => undefined): AsyncGenerator<Buffer> {
  for (let mebibyte = 0; mebibyte < 64; mebibyte += 1) {
    before(mebibyte);
    yield randomBytes(1024 ** 2);
  }
}

test('a disk that fails in the middle of a file is told of, and ends it', async () => {
  const handle = await open('/dev/full', 'w');
  const writing = writeArchive(handle, signal, add => add('pgdata/x', 64 * 1024 ** 2, large()));
  await expect(writing).rejects.toMatchObject({ code: 'ENOSPC' });
  await handle.close();
});

test('a file that cannot be read in the middle is told of, and ends it', async () => {
  const handle = await open(path, 'w');
  const failing = large(mebibyte => {
    if (mebibyte === 20) throw new Error('a bad sector');
  });
  await expect(writeArchive(handle, signal, add => add('pgdata/x', 64 * 1024 ** 2, failing))).rejects.toThrow(
    'a bad sector',
  );
  await handle.close();
});

test('it can be interrupted in the middle of a file, written and read', async () => {
  const handle = await open(path, 'w');
  const [writing, reading] = [new AbortController(), new AbortController()];
  const interrupting = large(mebibyte => mebibyte === 20 && writing.abort());
  await expect(
    writeArchive(handle, writing.signal, add => add('pgdata/x', 64 * 1024 ** 2, interrupting)),
  ).rejects.toMatchObject({ name: 'AbortError' });
  await handle.close();
  await write([...wholeOf(database), ['pgdata/x', randomBytes(32 * 1024 ** 2)]]);
  const onProgress = () => reading.abort();
  await expect(readBackup(path, { signal: reading.signal, onProgress })).rejects.toMatchObject({
    name: 'AbortError',
  });
});

test('a bit that changes anywhere is noticed', { timeout: 60_000 }, async () => {
  await write(wholeOf(database));
  const whole = await readFile(path);
  const places = new Set(
    [...Array(40).keys(), ...Array(60).keys()].map((n, at) => (at < 40 ? n : whole.length - 1 - n)),
  );
  while (places.size < 400) places.add(randomBytes(4).readUInt32LE() % whole.length);
  for (const at of places) {
    const broken = Buffer.from(whole);
    broken[at]! ^= 1 << (at % 8);
    await writeFile(path, broken);
    await expect(read(), `byte ${at} of ${whole.length}`).rejects.toThrow(StartupError);
  }
});

test('a file that is cut off is noticed, wherever', async () => {
  await write(wholeOf(database));
  const { length } = await readFile(path);
  for (const bytes of [length - 1, length - 48, length - 49, length >> 1, 48, 1, 0]) {
    await truncate(path, bytes);
    await expectRefusal('its end is missing');
  }
});

test('more than a backup behind the end is noticed', async () => {
  await write(wholeOf(database));
  await writeFile(path, 'x', { flag: 'a' });
  await expectRefusal('no backup of opsfleet');
});

describe('a name', () => {
  test.each([
    '../evil',
    'pgdata/../../evil',
    '/etc/passwd',
    'pgdata//PG_VERSION',
    'pgdata/./x',
    'pgdata/.hidden',
    'pgdata/recovery.signal',
    'pgdata/standby.signal',
    'pgdata/a\nb',
    'spool/1/lock',
    'spool/../pgdata/x',
    'instance-id',
    'admin-token',
    `pgdata/${'a/'.repeat(200)}x`,
  ])('that no backup has is refused: %j', async name => {
    await forge([
      { name: headerName, content: JSON.stringify(header) },
      { name, content: 'x' },
    ]);
    await expectRefusal('which no backup has');
  });

  test.each(['symlink', 'link', 'directory', 'fifo', 'character-device'] as const)(
    'of a %s is refused',
    async type => {
      await forge([
        { name: headerName, content: JSON.stringify(header) },
        { name: 'pgdata/x', type, linkname: '/etc/passwd' },
      ]);
      await expectRefusal('which is no file but');
    },
  );

  test('that comes twice is refused', async () => {
    await forge([
      { name: headerName, content: JSON.stringify(header) },
      { name: 'pgdata/x', content: 'a' },
      { name: 'pgdata/x', content: 'a' },
    ]);
    await expectRefusal('"pgdata/x" twice');
  });

  test('in extended attributes is refused', async () => {
    await forge([
      { name: headerName, content: JSON.stringify(header) },
      { name: 'pgdata/x', content: 'a', pax: { path: 'pgdata/y' } },
    ]);
    await expectRefusal('which no backup has');
  });
});

test('a size that no file of PostgreSQL has is refused before it is read', async () => {
  const tar = pack();
  tar.entry({ name: headerName }, JSON.stringify(header));
  tar.entry({ name: 'pgdata/x', size: 2 ** 40 });
  let begun = Buffer.alloc(0);
  for await (const chunk of tar as AsyncIterable<Buffer>) {
    begun = Buffer.concat([begun, chunk]);
    if (begun.includes('pgdata/x')) break;
  }
  await forgeRaw(zstdCompressSync(begun));
  await expectRefusal('larger than 1073741824 bytes');
});

test('what asks for more memory than our writer makes needed is refused', async () => {
  // A frame that may look back on 128 MiB (RFC 8878 §3.1.1.1.2), and a last block of nothing.
  await forgeRaw(Buffer.from('28b52ffd0088010000', 'hex'));
  await expectRefusal('is damaged', 'memory');
});

test('what is no zstd is refused', async () => {
  await forgeRaw(randomBytes(500));
  await expectRefusal('is damaged');
});

describe('a backup is refused', () => {
  test.each([
    ['of another format', { format: 2 }, 'format 2'],
    ['of a strange version', { postgres: 'x' }, 'postgres must be'],
    ['that is wrong about its key', { hasMasterKey: true }, 'wrong about the master key'],
  ])('%s', async (_, over, words) => {
    await write(wholeOf(database, over));
    await expectRefusal(words);
  });

  test('without a manifest', async () => {
    await write(wholeOf(database).slice(0, -1));
    await expectRefusal('no manifest');
  });

  test('that does not begin with a header', async () => {
    await write(wholeOf(database).slice(1));
    await expectRefusal('does not begin with');
  });

  test('with a file that is not in the manifest, or not in it', async () => {
    const [first, ...rest] = wholeOf(database);
    await write([first!, ['pgdata/added', 'x'], ...rest]);
    await expectRefusal('not in its manifest');
    await write([first!, ...rest.slice(1)]);
    await expectRefusal('pgdata/PG_VERSION is in its manifest and not in it');
  });

  test('with a file that is another than the manifest says', async () => {
    const [first, , ...rest] = wholeOf(database);
    await write([first!, ['pgdata/PG_VERSION', '17\n'], ...rest]);
    await expectRefusal('pgdata/PG_VERSION does not have the checksum');
  });

  test('without what every cluster has', async () => {
    await write(wholeOf(database.slice(0, 3)));
    await expectRefusal('no pgdata/backup_label');
  });

  test('with anything behind the manifest', async () => {
    await write([...wholeOf(database), ['pgdata/x', '']]);
    await expectRefusal('behind its manifest');
  });
});
