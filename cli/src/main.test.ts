import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type pg from 'pg';
import { afterEach, beforeEach, expect, inject, it } from 'vitest';
import { newId } from '../../server/src/ids.ts';
import { ensureOrganization } from '../../server/src/organizations/store.ts';
import { systemClock } from '../../server/src/platform/clock.ts';
import { type Database, openDatabase } from '../../server/src/platform/db.ts';
import { createLog } from '../../server/src/platform/log.ts';
import { migrate, readOwnMigrations } from '../../server/src/platform/migrate.ts';
import { startEmbeddedPostgres } from '../../server/src/platform/postgres/embedded.ts';
import { expirePartitions } from '../../server/src/retention/expire.ts';
import { ensurePartitions, ensurePartitionsFor } from '../../server/src/retention/maintain.ts';
import { defaultRetention } from '../../server/src/retention/retention.ts';
import { findToken } from '../../server/src/tokens/store.ts';
import { hashCredential } from '../../server/src/tokens/token.ts';

/** A busy machine may take long to start a control plane and a fleet. */
const PATIENCE_MS = 120_000;

const MAIN = join(import.meta.dirname, 'main.ts');

/** Where the command puts what it makes: its own, so that what is left there is its own too. */
let temporary: string;
/** What it is started with besides. */
let environment: Record<string, string>;

beforeEach(async () => {
  environment = { DATABASE_URL: '' };
  temporary = await mkdtemp(join(tmpdir(), 'opsfleet-cli-test-'));
  // As root, PostgreSQL runs as another user, who has to pass through.
  await chmod(temporary, 0o711);
});
afterEach(() => rm(temporary, { recursive: true, force: true }));

function start(...argv: string[]): ChildProcess {
  return spawn(process.execPath, [MAIN, ...argv], {
    env: { ...process.env, ...environment, TMPDIR: temporary },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function run(...argv: string[]): Promise<{ code: number | null; printed: string; said: string }> {
  const child = start(...argv);
  let [printed, said] = ['', ''];
  child.stdout!.on('data', chunk => (printed += String(chunk)));
  child.stderr!.on('data', chunk => (said += String(chunk)));
  const [code]: (number | null)[] = await once(child, 'close');
  return { code: code!, printed, said };
}

/** Processes that name the directory in their command line or their environment. */
async function processesOf(directory: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of (await readdir('/proc')).filter(name => /^\d+$/.test(name))) {
    const read = (file: string) => readFile(`/proc/${pid}/${file}`, 'latin1').catch(() => '');
    const [commandLine, environment] = [await read('cmdline'), await read('environ')];
    if (`${commandLine}${environment}`.includes(directory)) found.push(commandLine.replaceAll('\0', ' '));
  }
  return found;
}

it('tells what commands there are, and refuses others', { timeout: PATIENCE_MS }, async () => {
  expect(await run('--help')).toMatchObject({ code: 0, printed: expect.stringContaining('bench') });
  expect(await run('nothing')).toMatchObject({
    code: 2,
    said: expect.stringContaining('no command "nothing"'),
  });
  expect(await run()).toMatchObject({ code: 2, said: expect.stringContaining('a command is missing') });
  expect(await run('bench', '--servers', 'x')).toMatchObject({
    code: 2,
    said: 'opsfleet bench: --servers must be a whole number from 1 to 1000000, not "x"\n',
  });
});

it('tells what is wrong with the flags of backup and restore', { timeout: PATIENCE_MS }, async () => {
  for (const [name, flag] of [
    ['backup', '--to'],
    ['restore', '--from'],
  ] as const) {
    expect(await run(name, '--help')).toMatchObject({ code: 0, printed: expect.stringContaining(flag) });
    const refused = (words: string) => ({
      code: 2,
      printed: '',
      said: expect.stringContaining(`opsfleet ${name}: ${words}`),
    });
    expect(await run(name)).toMatchObject(refused(`${flag} is missing`));
    expect(await run(name, flag, '')).toMatchObject(refused(`${flag} must not be empty`));
    expect(await run(name, flag, 'x', '--force')).toMatchObject(refused("Unknown option '--force'"));
  }
});

it('leaves a database that is not the embedded one to its own tools', { timeout: PATIENCE_MS }, async () => {
  environment['DATABASE_URL'] = 'postgres://opsfleet@db.example.com/opsfleet';
  for (const [name, flag] of [
    ['backup', '--to'],
    ['restore', '--from'],
  ] as const) {
    expect(await run(name, flag, temporary)).toMatchObject({
      code: 1,
      printed: '',
      said: expect.stringContaining('docs/operations.md'),
    });
  }
  expect(await readdir(temporary)).toEqual([]);
});

it('backs up into a file that it restores, and prints one line of each', {
  timeout: PATIENCE_MS,
}, async () => {
  const [dataDir, copy, to] = ['data', 'copy', 'backup'].map(name => join(temporary, name)) as [
    string,
    string,
    string,
  ];
  const log = createLog({ level: 'silent' });
  await (await startEmbeddedPostgres({ dataDir, log, clock: systemClock })).stop();
  const backedUp = await run('backup', '--data-dir', dataDir, '--to', to, '--verify');
  expect(backedUp).toMatchObject({
    code: 0,
    printed: expect.stringMatching(
      /^\S+backup: [\d.]+ MiB from [\d.]+ MiB in \d+ files, as of .*, read back.*\n$/,
    ),
    said: expect.stringContaining('opsfleet backup: Reading it back\n'),
  });
  environment['OPSFLEET_DATA_DIR'] = copy;
  expect(await run('restore', '--from', to)).toMatchObject({
    code: 0,
    printed: expect.stringMatching(/^\S+copy: restored as of .*\n$/),
  });
  expect(await run('restore', '--from', to)).toMatchObject({
    code: 1,
    said: expect.stringContaining('holds a database already'),
  });
});

it('tells which archives there are, and brings one back', { timeout: PATIENCE_MS }, async () => {
  expect(await run('archive')).toMatchObject({ code: 2, said: expect.stringContaining('list or restore') });
  expect(await run('archive', '--help')).toMatchObject({
    code: 0,
    printed: expect.stringContaining('--partition'),
  });
  expect(await run('archive', 'restore')).toMatchObject({
    code: 2,
    said: expect.stringContaining('--partition is missing'),
  });
  const [dataDir, archives] = [join(temporary, 'data'), join(temporary, 'archives')];
  Object.assign(environment, { OPSFLEET_DATA_DIR: dataDir, OPSFLEET_ARCHIVE_DIR: archives });
  expect(await run('archive', 'list')).toMatchObject({
    code: 1,
    said: expect.stringContaining('Start it first'),
  });

  const log = createLog({ level: 'silent' });
  const embedded = await startEmbeddedPostgres({ dataDir, log, clock: systemClock });
  try {
    const name = await archiveOldChecks(embedded.connection, archives);
    expect(await run('archive', 'list')).toMatchObject({
      code: 0,
      printed: expect.stringMatching(new RegExp(`^${name}  0 rows .* gone since .*zst\n`)),
    });
    for (const days of ['0', '3651', 'x'])
      expect(await run('archive', 'restore', '--partition', name, '--days', days)).toMatchObject({
        code: 1,
        said: expect.stringContaining('--days must be a whole number from 1 to 3650'),
      });
    expect(await run('archive', 'restore', '--partition', 'events_1999_01')).toMatchObject({
      code: 1,
      said: expect.stringContaining('There is no archive of events_1999_01'),
    });
    expect(await run('archive', 'restore', '--partition', name)).toMatchObject({
      code: 0,
      printed: expect.stringContaining(`${name}: 0 rows are back until `),
    });
    expect(await run('archive', 'list')).toMatchObject({ printed: expect.stringContaining(' back until ') });
  } finally {
    await embedded.stop();
  }
});

it('makes organizations, lists them, and deletes one that is named twice', {
  timeout: PATIENCE_MS,
}, async () => {
  expect(await run('organization')).toMatchObject({
    code: 2,
    said: expect.stringContaining('list, create or delete'),
  });
  expect(await run('organization', '--help')).toMatchObject({
    code: 0,
    printed: expect.stringContaining('--confirm'),
  });
  environment['OPSFLEET_DATA_DIR'] = join(temporary, 'data');
  const log = createLog({ level: 'silent' });
  const embedded = await startEmbeddedPostgres({
    dataDir: environment['OPSFLEET_DATA_DIR'],
    log,
    clock: systemClock,
  });
  const organization = (...argv: string[]) => run('organization', ...argv);
  const refused = (code: number, words: string) => ({
    code,
    printed: '',
    said: expect.stringContaining(words),
  });
  try {
    await withMigrated(embedded.connection, async ({ system }) => {
      await ensurePartitions(system, { now: new Date(), interval: 'month' });
      expect(await organization('list')).toMatchObject({ code: 0, printed: 'There are no organizations.\n' });
      const made = await organization('create', '--name', 'Acme & Söhne');
      expect(made).toMatchObject({ code: 0, said: '' });
      const [, id, token] = /^Acme & Söhne: created with the id (\S+)\. .*:\n(flt_\S+)\n$/.exec(
        made.printed,
      )!;
      expect(await findToken(system, hashCredential(token!))).toMatchObject({
        organizationId: id,
        role: 'admin',
      });
      expect(await organization('create', '--name', 'Acme & Söhne')).toMatchObject(
        refused(1, 'There is an organization "Acme & Söhne" already'),
      );
      for (const name of ['a\u200bb', 'x'.repeat(101)])
        expect(await organization('create', '--name', name)).toMatchObject(
          refused(1, '--name must be 1 to 100'),
        );
      const named = ['--name', 'Acme & Söhne'];
      expect(await organization('delete', ...named, '--confirm', 'Acme')).toMatchObject(
        refused(1, '--confirm is not "Acme & Söhne"'),
      );
      expect(await organization('delete', '--confirm', 'Acme')).toMatchObject(refused(1, '--name or --id'));
      expect(await organization('delete', '--id', 'acme', '--confirm', 'acme')).toMatchObject(
        refused(1, 'There is no organization "acme"'),
      );
      await ensureOrganization(system, { id: newId(Date.now()), name: 'default', at: new Date() });
      expect(await organization('delete', '--name', 'default', '--confirm', 'default')).toMatchObject(
        refused(1, '"default" cannot be deleted'),
      );
      expect(await organization('delete', '--id', id!, '--confirm', id!)).toMatchObject({
        code: 0,
        printed: expect.stringMatching(
          /^Acme & Söhne \(\S+\): hidden\.[^]*archived and backed up still has it/,
        ),
      });
      expect(await findToken(system, hashCredential(token!))).toBeNull();
      expect(await organization('delete', ...named, '--confirm', named[1]!)).toMatchObject(
        refused(1, 'There is no organization'),
      );
      expect(await organization('create', ...named)).toMatchObject({ code: 0 });
      expect((await organization('list')).printed.split('\n')).toEqual([
        expect.stringMatching(/^Acme & Söhne {2}\S+ {2}0 servers {2}created \S+Z$/),
        expect.stringMatching(
          /^Acme & Söhne {2}\S+ {2}0 servers {2}created \S+ {2}deleted \S+Z, what else it had/,
        ),
        expect.stringMatching(/^default {2}/),
        '',
      ]);
    });
  } finally {
    await embedded.stop();
  }
});

/** The database, migrated. */
async function withMigrated<T>(connection: pg.ClientConfig, work: (db: Database) => Promise<T>): Promise<T> {
  const log = createLog({ level: 'silent' });
  const db = openDatabase({ connection, poolSize: 2, statementTimeoutMs: 0, log });
  try {
    const client = await db.dedicated();
    await migrate(client, await readOwnMigrations());
    await client.end();
    return await work(db);
  } finally {
    await db.close();
  }
}

/** A partition that was made, archived and dropped. Returns its name. */
async function archiveOldChecks(connection: pg.ClientConfig, directory: string): Promise<string> {
  return withMigrated(connection, async db => {
    const then = new Date('2019-02-10T00:00:00Z');
    const policy = { interval: 'month', retention: defaultRetention } as const;
    await ensurePartitionsFor(db.system, {
      table: 'server_health_checks',
      instants: [then],
      now: then,
      policy,
    });
    const gone = await expirePartitions({
      db,
      clock: systemClock,
      retention: defaultRetention,
      archive: { directory },
      signal: new AbortController().signal,
      release: (_tx, { table }) => Promise.resolve(table === 'server_health_checks'),
    });
    expect(gone?.archived).toEqual(['server_health_checks_2019_02']);
    return 'server_health_checks_2019_02';
  });
}

it('distributes no database that is not named, and no other flag', { timeout: PATIENCE_MS }, async () => {
  expect(await run('db', '--help')).toMatchObject({ code: 0, printed: expect.stringContaining('--dry-run') });
  expect(await run('db', 'drop')).toMatchObject({
    code: 2,
    said: expect.stringContaining('"distribute" is the only command'),
  });
  expect(await run('db', 'distribute', '--force')).toMatchObject({
    code: 2,
    said: expect.stringContaining('there is no flag "--force"'),
  });
  expect(await run('db', 'distribute')).toMatchObject({
    code: 1,
    said: expect.stringContaining('DATABASE_URL is not set. The embedded database is one machine'),
  });
});

/** That of the test run, of which nobody ever made anything. */
function emptyDatabase(): string {
  const { host, port, user, database } = inject('postgres');
  return `postgres://${user}@/${database}?host=${encodeURIComponent(host)}&port=${port}`;
}

it('distributes nothing where there is no Citus', { timeout: PATIENCE_MS }, async () => {
  environment['DATABASE_URL'] = emptyDatabase();
  expect(await run('db', 'distribute', '--dry-run')).toMatchObject({
    code: 1,
    printed: '',
    said: expect.stringContaining('the extension citus is not installed where the database is'),
  });
});

it('looks for organizations and archives only in a schema of its own version', {
  timeout: PATIENCE_MS,
}, async () => {
  environment['DATABASE_URL'] = emptyDatabase();
  for (const command of ['organization', 'archive']) {
    expect(await run(command, 'list')).toMatchObject({
      code: 1,
      printed: '',
      said: expect.stringMatching(
        /: the schema is not of this version yet \(0001_\w+\.sql is next\); start opsfleet once/,
      ),
    });
  }
});

const tiny = ['bench', '--servers', '5', '--health-interval', '0.5', '--metrics-interval', '0.5', '--json'];

it('measures a fleet, and leaves nothing behind', { timeout: PATIENCE_MS }, async () => {
  const { code, printed, said } = await run(...tiny, '--seconds', '1');
  expect(said).toContain('measuring for 1 s');
  expect(code).toBe(0);
  expect(JSON.parse(printed)).toMatchObject({
    fleet: { servers: 5, healthSeconds: 0.5, metricsSeconds: 0.5, tls: false },
    neverChecked: 0,
    headroom: { arithmetic: expect.stringContaining('(1/0.5 + 1/0.5) checks/s') },
  });
  expect(await readdir(temporary)).toEqual([]);
  expect(await processesOf(temporary)).toEqual([]);
});

it('leaves no process behind when it is killed', { timeout: PATIENCE_MS }, async () => {
  const child = start(...tiny, '--seconds', '3600');
  let said = '';
  for await (const chunk of child.stderr!) {
    said += String(chunk);
    if (said.includes('measuring')) break;
  }
  expect((await processesOf(temporary)).length).toBeGreaterThan(4);
  child.kill('SIGKILL');
  await expect.poll(() => processesOf(temporary), { timeout: PATIENCE_MS }).toEqual([]);
});
