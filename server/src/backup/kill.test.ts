import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { DataDirFixture, query } from '../../test/data-dir-fixture.ts';

const cli = join(import.meta.dirname, '../../../cli/src/main.ts');

/** One for all tests, with a table that says whether it is what was there before or what was restored. */
let target: DataDirFixture;
let out: string;
let backup: string;

beforeAll(async () => {
  out = await mkdtemp(join(tmpdir(), 'opsfleet-backups-'));
  target = await DataDirFixture.create();
  const postgres = await target.start();
  await query(postgres, "create table precious as select 'restored' as answer");
  backup = join(out, 'backup');
  await run('backup', '--data-dir', target.dataDir, '--to', backup);
  await target.stop();
});
beforeEach(async () => {
  const postgres = await target.start();
  await query(postgres, "update precious set answer = 'there before'");
});
afterEach(() => target.stop());
afterAll(async () => {
  await target.remove();
  await rm(out, { recursive: true });
});

const answer = async () => {
  const postgres = await target.start();
  return (await query<{ answer: string }>(postgres, 'select answer from precious'))[0]!.answer;
};

function startCommand(...argv: string[]): ChildProcess {
  const env = { PATH: process.env['PATH'], OPSFLEET_LOG_LEVEL: 'fatal' };
  return spawn(process.execPath, [cli, ...argv], { env, stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Kills the command as soon as it says this on standard error, or a moment after. */
async function killAt(words: string, ...argv: string[]): Promise<void> {
  const child = startCommand(...argv);
  let said = '';
  for await (const chunk of child.stderr!) {
    said += String(chunk);
    if (said.includes(words)) break;
  }
  expect(said).toContain(words);
  child.kill('SIGKILL');
  await once(child, 'close');
}

async function run(...argv: string[]): Promise<{ code: number; printed: string }> {
  const child = startCommand(...argv);
  let printed = '';
  child.stdout!.on('data', chunk => (printed += String(chunk)));
  const [code]: number[] = (await once(child, 'close')) as number[];
  return { code: code!, printed };
}

/** PostgreSQL servers that run below the directory. */
async function serversIn(directory: string): Promise<string[]> {
  const all = await Promise.all(
    (await readdir('/proc'))
      .filter(name => /^\d+$/.test(name))
      .map(pid => readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '')),
  );
  return all.filter(line => line.includes(directory) && line.includes('/bin/postgres'));
}

const restoring = () => ['restore', '--from', backup, '--data-dir', target.dataDir, '--replace'];

test.each(['Unpacking and checking', 'Starting PostgreSQL on it'])(
  'a restore that is killed at "%s" leaves what was there, and a second one cleans up',
  async step => {
    await target.stop();
    await killAt(step, ...restoring());
    expect(await target.entries('unpacked-')).toHaveLength(1);
    expect(await run(...restoring())).toMatchObject({
      code: 0,
      printed: expect.stringMatching(/restored as of .*Z/),
    });
    expect(await target.entries('unpacked-')).toEqual([]);
    expect(await serversIn(target.dataDir)).toEqual([]);
    expect(await answer()).toBe('restored');
  },
);

test('a start cleans up as well, and has what was there', async () => {
  await target.stop();
  await killAt('Starting PostgreSQL on it', ...restoring());
  expect(await answer()).toBe('there before');
  expect(await target.entries('unpacked-')).toEqual([]);
  await target.stop();
  expect(await serversIn(target.dataDir)).toEqual([]);
});

test('a restore that was killed when it was decided is finished by the same one, which says so', async () => {
  await target.stop();
  await run(...restoring());
  const digest = (await readFile(backup)).subarray(-32).toString('hex');
  const decided = join(target.dataDir, `restored-20261128T230532Z-${digest}`);
  await mkdir(decided);
  await rename(join(target.dataDir, 'pgdata'), join(decided, 'pgdata'));
  expect(await run(...restoring().slice(0, -1))).toEqual({
    code: 0,
    printed: `${target.dataDir}: finished the restore that was interrupted\n`,
  });
  expect(await answer()).toBe('restored');
});

test.each(['Waiting for a checkpoint', 'Reading it back', 'Starting a PostgreSQL from it'])(
  'a backup that is killed at "%s" leaves no file that is called one, and nothing that a start does not clean up',
  async step => {
    const folder = await mkdtemp(join(out, 'killed-'));
    await killAt(step, 'backup', '--data-dir', target.dataDir, '--to', join(folder, 'b'), '--verify');
    expect(await readdir(folder)).toEqual([expect.stringMatching(/^b\.partial-[0-9a-f]{8}$/)]);
    await target.stop();
    const postgres = await target.start();
    expect(await query(postgres, 'select slot_name from pg_replication_slots', 'postgres')).toEqual([]);
    expect(await target.entries('unpacked-')).toEqual([]);
    expect(await serversIn(join(target.dataDir, 'unpacked-'))).toEqual([]);
  },
);
