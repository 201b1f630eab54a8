import { copyFile, mkdtemp, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { DataDirFixture, query } from '../../test/data-dir-fixture.ts';
import { systemClock } from '../platform/clock.ts';
import { StartupError } from '../platform/errors.ts';
import { createKeyring } from '../platform/keyring.ts';
import { createLog } from '../platform/log.ts';
import { parseMasterKeys } from '../platform/master-key.ts';
import { migrate, readOwnMigrations } from '../platform/migrate.ts';
import { openDataDir } from '../platform/postgres/data-dir.ts';
import type { EmbeddedPostgres } from '../platform/postgres/embedded.ts';
import { makeBackup } from './backup.ts';
import { type RestoreOptions, restoreBackup } from './restore.ts';

const log = createLog({ level: 'silent' });
const common = { clock: systemClock, log, signal: new AbortController().signal, onProgress: () => undefined };
const [keyText, otherKeyText] = ['a1', 'b2'].map(part => part.repeat(31) + '00') as [string, string];

let source: DataDirFixture;
let target: DataDirFixture;
let out: string;
/** Of a database with an organization whose data key the first master key wraps; without and with that key. */
let backup: string;
let backupWithKey: string;

beforeAll(async () => {
  [source, target] = [await DataDirFixture.create(), await DataDirFixture.create()];
  out = await mkdtemp(join(tmpdir(), 'opsfleet-backups-'));
  const postgres = await source.start();
  await fill(postgres);
  await writeFile(join(source.dataDir, 'master-key'), `${keyText}\n`, { mode: 0o600 });
  const settings = { dataDir: source.dataDir, masterKey: null, masterKeyFile: null, sharedBuffersMib: 16 };
  const options = { ...common, settings, verify: false };
  backup = (await makeBackup({ ...options, to: join(out, 'plain'), withMasterKey: false })).path;
  backupWithKey = (await makeBackup({ ...options, to: join(out, 'with-key'), withMasterKey: true })).path;
  await source.stop();
});
beforeEach(() => openDataDir(target.dataDir, process.geteuid!()));
afterEach(async () => {
  await target.stop();
  // What a start makes again each time stays, for it takes longest.
  for (const name of await readdir(target.dataDir)) {
    if (!/^(pgbin-|opsfleet-data$)/.test(name)) await rm(join(target.dataDir, name), { recursive: true });
  }
});
afterAll(async () => {
  await target.remove();
  await source.remove();
  await rm(out, { recursive: true });
});

async function fill(postgres: EmbeddedPostgres): Promise<void> {
  const client = new Client({ ...postgres.connection, options: '-c opsfleet.organization=*' });
  await client.connect();
  await migrate(client, await readOwnMigrations());
  const [organization, key, worker] = ['01', '02', '03'].map(
    end => `01a22474-f742-751e-a7c3-2981fc4ab1${end}`,
  ) as [string, string, string];
  const wrapped = createKeyring(parseMasterKeys(keyText, 'the key')).createDataKey(organization, key);
  await client.query(
    'insert into organizations (id, name, created_at, updated_at) values ($1, $2, now(), now())',
    [organization, 'acme'],
  );
  await client.query(
    'insert into data_keys (organization_id, id, master_key_id, wrapped_key, created_at) values ($1, $2, $3, $4, now())',
    [organization, key, wrapped.masterKeyId, wrapped.wrappedKey],
  );
  await client.query(
    "insert into workers (id, name, version, started_at, heartbeat_at) values ($1, 'w', '1', now(), now() + interval '1 hour')",
    [worker],
  );
  await client.query(
    "update poll_slots set owner = $1, expires_at = now() + interval '1 hour' where slot < 9",
    [worker],
  );
  await client.end();
}

function restore(from: string, over: Partial<RestoreOptions> & { keys?: object } = {}) {
  const settings = { dataDir: target.dataDir, masterKey: null, masterKeyFile: null, ...over.keys };
  return restoreBackup({ ...common, settings, from, replace: false, ...over });
}

async function expectRefusal(restoring: Promise<unknown>, ...words: string[]): Promise<void> {
  const refused: unknown = await restoring.catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(StartupError);
  for (const word of words) expect(String(refused)).toContain(word);
  expect(await target.entries('unpacked-')).toEqual([]);
  expect(await target.entries('restored-')).toEqual([]);
}

/** Starts the restored database. */
async function organizations(): Promise<string[]> {
  const { connection } = await target.start();
  const client = new Client({ ...connection, options: '-c opsfleet.organization=*' });
  // It is cut off where the server is stopped.
  client.on('error', () => undefined);
  await client.connect();
  const { rows } = await client.query<{ name: string }>('select name from organizations');
  await client.end();
  return rows.map(row => row.name);
}

describe('the master key', () => {
  test('may be set, and is asked for where none is at hand', async () => {
    await expectRefusal(restore(backup), 'need the master key', 'not in the backup', 'OPSFLEET_MASTER_KEY');
    expect(await target.entries('pgdata')).toEqual([]);
    expect((await restore(backup, { keys: { masterKey: `${otherKeyText},${keyText}` } })).masterKey).toBe(
      'OPSFLEET_MASTER_KEY',
    );
    expect(await target.entries('master-key')).toEqual([]);
    expect(await organizations()).toEqual(['acme']);
  });

  test('may lie in the data directory already, and has to be the right one', async () => {
    await writeFile(join(target.dataDir, 'master-key'), otherKeyText, { mode: 0o600 });
    await expectRefusal(restore(backup), 'does not open all of them', 'Nothing was restored');
    await writeFile(join(target.dataDir, 'master-key'), keyText, { mode: 0o600 });
    expect((await restore(backup)).masterKey).toContain('master-key');
  });

  test('comes with the backup where it was asked for, behind what is there', async () => {
    await restore(backupWithKey);
    const path = join(target.dataDir, 'master-key');
    expect(await readFile(path, 'utf8')).toBe(`${keyText}\n`);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await writeFile(path, `${otherKeyText}\n`);
    await restore(backupWithKey, { replace: true });
    expect(await readFile(path, 'utf8')).toBe(`${otherKeyText},${keyText}\n`);
  });

  test('of the backup is no way round one that is set and wrong, which a start would use', async () => {
    await expectRefusal(
      restore(backupWithKey, { keys: { masterKey: otherKeyText } }),
      'OPSFLEET_MASTER_KEY does not open',
    );
  });
});

test('workers of the past hold nothing, however far ahead their clock was', async () => {
  await restore(backupWithKey);
  const postgres = await target.start();
  expect(
    await query(
      postgres,
      'select (select count(*)::int from workers) as workers, (select count(*)::int from poll_slots where owner is not null) as held',
    ),
  ).toEqual([{ workers: 0, held: 0 }]);
});

test('a database that is there is kept, and with --replace moved aside whole', async () => {
  const postgres = await target.start();
  await query(postgres, 'create table precious as select 42 as answer');
  await postgres.stop();
  await expectRefusal(restore(backupWithKey), 'holds a database already', '--replace');
  const { aside } = await restore(backupWithKey, { replace: true });
  expect(await organizations()).toEqual(['acme']);
  await target.stop();
  await rm(join(target.dataDir, 'pgdata'), { recursive: true });
  await rm(join(target.dataDir, 'spool'), { recursive: true });
  for (const name of await readdir(aside!)) {
    await rename(join(aside!, name), join(target.dataDir, name));
  }
  expect(await query(await target.start(), 'select answer from precious')).toEqual([{ answer: 42 }]);
});

test('a server that a kill has left on the old database is ended first', async () => {
  const orphan = await target.startAndKillParent();
  await expectRefusal(restore(backupWithKey), 'holds a database already');
  expect(await target.isRunning(orphan)).toBe(true);
  await restore(backupWithKey, { replace: true });
  expect(await target.isRunning(orphan)).toBe(false);
  expect(await organizations()).toEqual(['acme']);
});

describe('is refused', () => {
  test('while an opsfleet runs on the data directory', async () => {
    await target.start();
    await expectRefusal(restore(backupWithKey, { replace: true }), 'is in use by another opsfleet');
  });

  test('for a file that is no backup, is missing or damaged, before anything is made', async () => {
    const file = join(out, 'broken');
    const nowhere = { keys: { dataDir: join(target.parent, 'nowhere') } };
    await expectRefusal(restore(join(out, 'missing'), nowhere), 'cannot be read (ENOENT)');
    await expectRefusal(restore(import.meta.filename, nowhere), 'is no backup of opsfleet');
    await expect(stat(nowhere.keys.dataDir)).rejects.toThrow('ENOENT');
    await copyFile(backupWithKey, file);
    const bytes = await readFile(file);
    bytes[bytes.length >> 1]! ^= 1;
    await writeFile(file, bytes);
    await expectRefusal(restore(file), file);
    expect(await target.entries('pgdata')).toEqual([]);
  });

  test('where a link is in the place of the database', async () => {
    await symlink(source.dataDir, join(target.dataDir, 'pgdata'));
    await expectRefusal(restore(backupWithKey, { replace: true }), 'is a link');
  });
});
