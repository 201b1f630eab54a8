import { spawnSync } from 'node:child_process';
import { chown, mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { DataDirFixture, query } from '../../test/data-dir-fixture.ts';
import { systemClock } from '../platform/clock.ts';
import { StartupError } from '../platform/errors.ts';
import { createLog } from '../platform/log.ts';
import { superuser } from '../platform/postgres/cluster.ts';
import { type BackupOptions, makeBackup } from './backup.ts';
import { restoreBackup } from './restore.ts';

const log = createLog({ level: 'silent' });

let fixture: DataDirFixture;
let restored: DataDirFixture;
let out: string;

beforeAll(async () => {
  fixture = await DataDirFixture.create();
  await (await fixture.start()).stop();
});
beforeEach(async () => {
  restored = await DataDirFixture.create();
  out = await mkdtemp(join(tmpdir(), 'opsfleet-backups-'));
});
afterEach(async () => {
  await fixture.stop();
  await restored.remove();
  await rm(out, { recursive: true });
});
afterAll(() => fixture.remove());

function backUp(over: Partial<BackupOptions> = {}) {
  return makeBackup({
    settings: { dataDir: fixture.dataDir, masterKey: null, masterKeyFile: null, sharedBuffersMib: 16 },
    to: join(out, 'backup'),
    withMasterKey: false,
    verify: false,
    clock: systemClock,
    log,
    signal: new AbortController().signal,
    onProgress: () => undefined,
    ...over,
  });
}

const restore = (from: string) =>
  restoreBackup({
    settings: { dataDir: restored.dataDir, masterKey: null, masterKeyFile: null },
    from,
    replace: false,
    clock: systemClock,
    log,
    signal: new AbortController().signal,
    onProgress: () => undefined,
  });

/**
 * Writes pairs of rows, each in a transaction, until it is stopped, and ends a file of the log with every 40th: a
 * backup then needs several. Returns when each was acknowledged.
 */
async function writePairs(
  connection: object,
  writer: number,
  stopping: AbortSignal,
): Promise<Map<number, number>> {
  const acknowledged = new Map<number, number>();
  const client = new Client({ ...connection, user: superuser });
  await client.connect();
  for (let number = 0; !stopping.aborted; number += 1) {
    await client.query('begin');
    await client.query('insert into lefts select $1, $2, repeat($3, 500)', [writer, number, 'l']);
    await client.query('insert into rights select $1, $2, repeat($3, 500)', [writer, number, 'r']);
    await client.query('update lefts set filler = $3 where writer = $1 and number = $2 / 2', [
      writer,
      number,
      `${number}`,
    ]);
    await client.query('commit');
    acknowledged.set(number, Date.now());
    if (number % 40 === 0) await client.query('select pg_switch_wal()');
  }
  await client.end();
  return acknowledged;
}

test('has every row that was acknowledged before it ended, and no half transaction', {
  timeout: 60_000,
}, async () => {
  // Off as far as PostgreSQL lets us: pages that are copied while they are written must come right all the same.
  const postgres = await fixture.start({
    settings: {
      fsync: 'off',
      full_page_writes: 'off',
      wal_keep_size: '0',
      max_wal_size: '64MB',
      checkpoint_timeout: '30s',
    },
  });
  await query(
    postgres,
    `create table lefts (writer int, number int, filler text, primary key (writer, number));
     create table rights (writer int, number int, filler text, primary key (writer, number))`,
  );
  const stopping = new AbortController();
  const writers = [1, 2, 3, 4].map(each => writePairs(postgres.connection, each, stopping.signal));
  await expect
    .poll(async () => (await query<{ n: number }>(postgres, 'select count(*)::int as n from lefts'))[0]!.n, {
      timeout: 20_000,
    })
    .toBeGreaterThan(200);

  const { path, manifest } = await backUp({ verify: true });
  stopping.abort();
  expect(manifest.files.filter(({ path: name }) => name.startsWith('pgdata/pg_wal/')).length).toBeGreaterThan(
    2,
  );
  const endedMs = new Date(manifest.endedAt).getTime();
  const acknowledged = await Promise.all(writers);
  const written = acknowledged.reduce((sum, each) => sum + each.size, 0);

  await restore(path);
  const copy = await restored.start();
  const [{ unpaired }] = (await query(
    copy,
    'select count(*)::int as unpaired from lefts full join rights using (writer, number) where lefts.filler is null or rights.filler is null',
  )) as [{ unpaired: number }];
  expect(unpaired).toBe(0);
  let [before, found] = [0, 0];
  for (const [index, each] of acknowledged.entries()) {
    const rows = await query<{ number: number }>(
      copy,
      `select number from lefts where writer = ${index + 1}`,
    );
    const there = new Set(rows.map(row => row.number));
    found += there.size;
    for (const [number, atMs] of each) {
      if (atMs >= endedMs) continue;
      before += 1;
      expect(there.has(number), `pair ${number} of writer ${index + 1}`).toBe(true);
    }
  }
  expect(before).toBeGreaterThan(200);
  // They wrote while it was made, and went on when it had ended.
  expect(written).toBeGreaterThan(found);
  // The indexes, too, and every page's checksum.
  await query(copy, 'set enable_seqscan = off; select sum(length(filler)) from lefts where writer > 0');
});

test('leaves nothing behind in the database that it was made of', async () => {
  const postgres = await fixture.start();
  await backUp();
  expect(await query(postgres, 'select slot_name from pg_replication_slots', 'postgres')).toEqual([]);
  expect(await readdir(out)).toEqual(['backup']);
  expect((await stat(join(out, 'backup'))).mode & 0o777).toBe(0o600);
});

test('can be made while nothing runs, and of what a kill has left', async () => {
  const postgres = await fixture.start();
  await query(postgres, 'create table if not exists kept as select 42 as answer');
  process.kill(postgres.pid, 'SIGKILL');
  await fixture.stop();
  const { path } = await backUp();
  expect(await fixture.entries('unpacked-')).toEqual([]);
  await restore(path);
  expect(await query(await restored.start(), 'select answer from kept')).toEqual([{ answer: 42 }]);
});

test('can be made of a server that an opsfleet killed with kill -9 has left running', async () => {
  const orphan = await fixture.startAndKillParent();
  await backUp();
  expect(await fixture.isRunning(orphan)).toBe(false);
});

test('has the results that wait on disk, and no lock, key or name of the installation', async () => {
  const segment = `health_history-${'1'.padStart(12, '0')}-1700000000000.spool`;
  const secrets = ['master-key', 'admin-token', 'instance-id', 'agent-token'];
  await mkdir(join(fixture.dataDir, 'spool/2'), { recursive: true });
  await writeFile(join(fixture.dataDir, 'spool/2', segment), 'results');
  await writeFile(join(fixture.dataDir, 'spool/2/lock'), '');
  for (const name of secrets) await writeFile(join(fixture.dataDir, name), 'secret', { mode: 0o600 });
  const { path, manifest } = await backUp();
  for (const name of [...secrets, 'spool']) await rm(join(fixture.dataDir, name), { recursive: true });

  const strange = manifest.files.filter(file => !/^pgdata\/|^header\.json$/.test(file.path));
  expect(strange.map(file => file.path)).toEqual([`spool/2/${segment}`]);
  expect(manifest.files.filter(file => /postmaster|pg_replslot|pgsql_tmp|\.old$/.test(file.path))).toEqual(
    [],
  );
  await restore(path);
  expect(await readFile(join(restored.dataDir, 'spool/2', segment), 'utf8')).toBe('results');
  for (const name of secrets) expect(await restored.entries(name)).toEqual([]);
});

test('in a directory it is named after the time', async () => {
  const clock = { ...systemClock, now: () => new Date('2026-11-28T23:05:32.123Z') };
  expect((await backUp({ to: out, clock })).path).toBe(join(out, 'opsfleet-20261128T230532Z.tar.zst'));
});

test('removes what killed backups left in the directory an hour ago, and nothing else', async () => {
  const names = [
    'backup.partial-0123abcd',
    'opsfleet-20260101T000000Z.tar.zst.partial-0123abcd',
    'mine.partial-0123abcd',
    'backup.partial-dcba3210',
  ];
  for (const name of names) {
    await writeFile(join(out, name), '');
    const at = Date.now() / 1000 - (name.endsWith('3210') ? 60 : 7_200);
    await utimes(join(out, name), at, at);
  }
  await backUp();
  expect((await readdir(out)).toSorted()).toEqual([
    'backup',
    'backup.partial-dcba3210',
    'mine.partial-0123abcd',
  ]);
});

/** Expects a refusal by a message for the operator, and nothing that was not there before. */
async function expectRefusal(over: Partial<BackupOptions>, ...words: string[]): Promise<void> {
  const before = await readdir(out);
  const refused: unknown = await backUp(over).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(StartupError);
  for (const word of words) expect(String(refused)).toContain(word);
  expect(await readdir(out)).toEqual(before);
}

const settingsWith = (over: object) => ({
  settings: { dataDir: fixture.dataDir, masterKey: null, masterKeyFile: null, sharedBuffersMib: 16, ...over },
});

describe('is refused', () => {
  test('where there is no database, which is not made then', async () => {
    const dataDir = join(out, '../nothing-here');
    await expectRefusal(settingsWith({ dataDir }), 'There is no embedded database in');
    await expect(stat(dataDir)).rejects.toThrow('ENOENT');
  });

  test('over a file that is there, into the data directory, and into no directory', async () => {
    await writeFile(join(out, 'backup'), 'precious');
    await expectRefusal({}, 'is there already');
    expect(await readFile(join(out, 'backup'), 'utf8')).toBe('precious');
    await expectRefusal({ to: join(fixture.dataDir, 'backup') }, 'is in the data directory');
    await expectRefusal({ to: join(out, 'missing/backup') }, 'ENOENT');
  });

  test('with a tablespace elsewhere', async () => {
    const postgres = await fixture.start();
    const { uid } = await stat(join(fixture.dataDir, 'pgdata'));
    const elsewhere = join(fixture.parent, 'space');
    await mkdir(elsewhere, { mode: 0o777 });
    await chown(elsewhere, uid, uid);
    await query(postgres, `create tablespace elsewhere location '${elsewhere}'`, 'postgres');
    await expectRefusal({}, 'the tablespace elsewhere');
    await query(postgres, 'drop tablespace elsewhere', 'postgres');
  });

  test('where the master key is asked for and there is none', async () => {
    await expectRefusal({ withMasterKey: true }, 'There is no master key in');
  });

  test('where the disk is full, and what was written is removed', async () => {
    await fixture.start();
    // What a process may write to one file ends like a disk, and needs none of its own.
    const main = join(import.meta.dirname, '../../../cli/src/main.ts');
    const child = spawnSync(
      'sh',
      [
        '-c',
        `ulimit -f 500; trap '' XFSZ; exec "$0" "$@"`,
        process.execPath,
        main,
        'backup',
        '--data-dir',
        fixture.dataDir,
        '--to',
        out,
      ],
      { encoding: 'utf8', env: { ...process.env, DATABASE_URL: '' } },
    );
    expect(child.stderr).toMatch(
      /allows no file as large as .*opsfleet-.*tar\.zst\. What was written of it has been removed/,
    );
    expect(child.status).toBe(1);
    expect(await readdir(out)).toEqual([]);
  });

  test('when it is interrupted, at whatever step', async () => {
    for (const step of ['Waiting for a checkpoint', 'Reading it back', 'Starting a PostgreSQL from it']) {
      const abort = new AbortController();
      const interrupted = backUp({
        verify: true,
        signal: abort.signal,
        onProgress: line => line === step && abort.abort(),
      });
      await expect(interrupted, step).rejects.toMatchObject({ name: 'AbortError' });
      expect(await readdir(out), step).toEqual([]);
      expect(await fixture.entries('unpacked-'), step).toEqual([]);
    }
  });

  test('when the database is stopped meanwhile', async () => {
    const postgres = await fixture.start();
    const backup = backUp({
      onProgress: line => line === 'Waiting for a checkpoint' && process.kill(postgres.pid, 'SIGQUIT'),
    });
    await expect(backup).rejects.toThrow('The database went away');
    expect(await readdir(out)).toEqual([]);
  });
});
