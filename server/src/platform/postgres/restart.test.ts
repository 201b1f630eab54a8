import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from 'pg';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { DataDirFixture, query } from '../../../test/data-dir-fixture.ts';
import { StartupError } from '../errors.ts';
import type { EmbeddedPostgres } from './embedded.ts';

// Later starts on one data directory: each test begins with what the one before has left, stopped or killed.

let fixture: DataDirFixture;

beforeAll(async () => {
  fixture = await DataDirFixture.create();
  await (await fixture.start()).stop();
});

afterEach(() => fixture.stop());

afterAll(() => fixture.remove());

function exitOf(postgres: EmbeddedPostgres): Promise<{ code: number | null; signal: string | null }> {
  return new Promise(resolve => {
    postgres.onExit(resolve);
  });
}

test('finds the data of the one before', async () => {
  const first = await fixture.start();
  await query(first, 'create table kept as select 42 as answer');
  await first.stop();
  expect(await fixture.isRunning(first.pid)).toBe(false);

  const second = await fixture.start({ onProgress: line => expect.fail(line) });
  expect(await query(second, 'select answer from kept')).toEqual([{ answer: 42 }]);
});

test('recovers after the server was killed, and says so when that happens', async () => {
  const first = await fixture.start();
  await query(first, 'create table survivor as select 42 as answer');
  const exit = exitOf(first);
  process.kill(first.pid, 'SIGKILL');
  expect(await exit).toEqual({ code: null, signal: 'SIGKILL' });
  await first.stop();

  const second = await fixture.start();
  expect(second.adopted).toBe(false);
  expect(await query(second, 'select answer from survivor')).toEqual([{ answer: 42 }]);
});

test('adopts the server that an opsfleet killed with kill -9 left running', async () => {
  const orphan = await fixture.startAndKillParent();
  const adopted = await fixture.start();
  expect(adopted).toMatchObject({ adopted: true, pid: orphan });
  expect(await query(adopted, 'select 1 as one')).toEqual([{ one: 1 }]);
  await adopted.stop();
  expect(await fixture.isRunning(orphan)).toBe(false);
});

test('is told when an adopted server ends by itself', async () => {
  const orphan = await fixture.startAndKillParent();
  const exit = exitOf(await fixture.start());
  process.kill(orphan, 'SIGINT');
  expect(await exit).toEqual({ code: null, signal: null });
});

test('replaces an orphan whose socket is gone', async () => {
  const orphan = await fixture.startAndKillParent();
  await rm(join(fixture.dataDir, 'run/.s.PGSQL.5432'));
  const postgres = await fixture.start();
  expect(postgres.adopted).toBe(false);
  expect(await fixture.isRunning(orphan)).toBe(false);
});

test('waits for one that is shutting down, and then starts its own', async () => {
  const orphan = await fixture.startAndKillParent();
  process.kill(orphan, 'SIGINT');
  const postgres = await fixture.start();
  expect(await query(postgres, 'select 1 as one')).toEqual([{ one: 1 }]);
  expect(postgres.pid).not.toBe(orphan);
});

test('is not fooled by a stale pid file whose number another program has now', async () => {
  const first = await fixture.start();
  const stale = await readFile(join(fixture.dataDir, 'pgdata/postmaster.pid'), 'utf8');
  await first.stop();
  // A program of the same user: PostgreSQL by itself would refuse to start beside it.
  const { uid } = await stat(join(fixture.dataDir, 'pgdata'));
  const other = spawn('sleep', ['60'], { uid });
  await once(other, 'spawn');
  await writeFile(join(fixture.dataDir, 'pgdata/postmaster.pid'), stale.replace(/^\d+/, String(other.pid)));
  await writeFile(join(fixture.dataDir, 'run/.s.PGSQL.5432.lock'), stale.replace(/^\d+/, String(other.pid)));

  const second = await fixture.start();
  expect(second.adopted).toBe(false);
  expect(other.exitCode).toBeNull();
  other.kill();
});

test('goes on where a first start was interrupted', async () => {
  const first = await fixture.start();
  await first.stop();
  // As a kill leaves it in the middle of initdb, with half a copy of the programs.
  await rm(join(fixture.dataDir, 'pgdata'), { recursive: true });
  await mkdir(join(fixture.dataDir, 'pgdata.partial-0000/base'), { recursive: true });
  await writeFile(join(fixture.dataDir, 'pgdata.partial-0000/PG_VERSION'), '18\n');
  const [programs] = await fixture.entries('pgbin-');
  await writeFile(join(fixture.dataDir, programs ?? '', 'bin/initdb'), '');

  const second = await fixture.start();
  expect(await query(second, 'select 1 as one')).toEqual([{ one: 1 }]);
  expect(await fixture.entries('.partial')).toEqual([]);
});

test('makes the database where the first one was killed before it could', async () => {
  const first = await fixture.start();
  await query(first, 'drop database opsfleet', 'postgres');
  await first.stop();
  expect(await query(await fixture.start(), 'select current_database() as name')).toEqual([
    { name: 'opsfleet' },
  ]);
});

test('is stopped: that ends open connections, may be asked for twice, and is no unexpected end', async () => {
  const postgres = await fixture.start();
  const client = new Client(postgres.connection);
  const ended = new Promise<void>(resolve => {
    client.on('end', resolve);
  });
  client.on('error', () => undefined);
  await client.connect();
  postgres.onExit(() => expect.fail('a stop that was asked for'));

  await Promise.all([postgres.stop(), postgres.stop('immediate')]);
  await postgres.stop();
  await ended;
  expect(await fixture.isRunning(postgres.pid)).toBe(false);
});

test('is refused on the data of another major version', async () => {
  await writeFile(join(fixture.dataDir, 'pgdata/PG_VERSION'), '15\n');
  const refused = fixture.start();
  await expect(refused).rejects.toThrow(StartupError);
  await expect(refused).rejects.toThrow(
    /pgdata was made by PostgreSQL 15, and this opsfleet brings PostgreSQL 18/,
  );
  await writeFile(join(fixture.dataDir, 'pgdata/PG_VERSION'), '18\n');
});

test('is refused with the end of the server log when the server does not run', async () => {
  const refused = fixture.start({ settings: { shared_buffers: 'many' } });
  await expect(refused).rejects.toThrow(StartupError);
  await expect(refused).rejects.toThrow('invalid value for parameter "shared_buffers": "many"');
  expect(await query(await fixture.start(), 'select 1 as one')).toEqual([{ one: 1 }]);
});
