import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import { type Migration, migrate, readMigrations, readOwnMigrations } from './migrate.ts';

describe('reading the files', () => {
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'opsfleet-migrations-'));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  const add = (...names: string[]) =>
    Promise.all(names.map(name => writeFile(join(directory, name), `-- ${name}`)));

  it('files are read in order, and what is no SQL is left alone', async () => {
    await add('0002_second.sql', '0001_first.sql', 'README.md');
    const migrations = await readMigrations(directory);
    expect(migrations.map(each => each.name)).toEqual(['0001_first.sql', '0002_second.sql']);
    expect(migrations[0]!.text).toBe('-- 0001_first.sql');
  });

  it('the checksum tells a changed file', async () => {
    await add('0001_first.sql');
    const [before] = await readMigrations(directory);
    await writeFile(join(directory, '0001_first.sql'), '-- changed');
    const [after] = await readMigrations(directory);
    expect(after!.checksum).not.toBe(before!.checksum);
  });

  it.each([
    [['0002_second.sql'], 'migration 0002_second.sql is out of order: number 1 was expected'],
    [['0001_first.sql', '0003_third.sql'], 'migration 0003_third.sql is out of order: number 2 was expected'],
    [['0001_a.sql', '0001_b.sql'], 'migration 0001_b.sql is out of order: number 2 was expected'],
    [['1_first.sql'], 'migration 1_first.sql is out of order'],
    [['0001_First.sql'], 'migration 0001_First.sql is out of order'],
  ])('the names %j are refused', async (names, message) => {
    await add(...names);
    await expect(readMigrations(directory)).rejects.toThrow(message);
  });
});

describe('migrating', () => {
  const { superuser: _superuser, ...server } = inject('postgres');
  let admin: Client;
  let database: string;
  let clients: Client[];

  beforeAll(async () => {
    admin = await connect(server.database);
  });
  afterAll(() => admin.end());

  async function connect(to: string): Promise<Client> {
    const client = new Client({ ...server, database: to });
    // A connection that a test cuts must not end the test.
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }

  /** Runs the work on an empty database of its own; each call of `open` is one more process that starts. */
  async function onEmptyDatabase(work: (open: () => Promise<Client>) => Promise<void>): Promise<void> {
    database = `test_${randomBytes(6).toString('hex')}`;
    clients = [];
    await admin.query(`create database ${database}`);
    try {
      await work(async () => {
        const client = await connect(database);
        clients.push(client);
        return client;
      });
    } finally {
      await Promise.all(clients.map(client => client.end().catch(() => undefined)));
      await admin.query(`drop database ${database}`);
    }
  }

  const migration = (name: string, text: string): Migration => ({ name, text, checksum: text });
  const tables = async (client: Client): Promise<string[]> => {
    const { rows } = await client.query<{ name: string }>(
      "select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' order by 1",
    );
    return rows.map(row => row.name);
  };

  it('brings an empty database to today, and finds nothing to do the second time', async () => {
    const migrations = await readOwnMigrations();
    await onEmptyDatabase(async open => {
      const client = await open();
      expect(await migrate(client, migrations)).toEqual(migrations.map(each => each.name));
      expect(await migrate(client, migrations)).toEqual([]);
    });
  });

  it('goes on from the release before', async () => {
    const first = migration('0001_first.sql', 'create table first ()');
    const second = migration('0002_second.sql', 'create table second ()');
    await onEmptyDatabase(async open => {
      const client = await open();
      expect(await migrate(client, [first])).toEqual([first.name]);
      expect(await migrate(client, [first, second])).toEqual([second.name]);
      expect(await tables(client)).toEqual(['first', 'schema_migrations', 'second']);
    });
  });

  it('is done once by any number of processes that start at once', async () => {
    const migrations = await readOwnMigrations();
    await onEmptyDatabase(async open => {
      const starters = await Promise.all([open(), open(), open(), open()]);
      const applied = await Promise.all(starters.map(client => migrate(client, migrations)));
      expect(applied.flat()).toEqual(migrations.map(each => each.name));
    });
  });

  it('refuses a file that was changed after it was applied, and a database of a newer program', async () => {
    const first = migration('0001_first.sql', 'create table first ()');
    const second = migration('0002_second.sql', 'create table second ()');
    await onEmptyDatabase(async open => {
      const client = await open();
      await migrate(client, [first, second]);
      const changed = { ...first, checksum: 'another' };
      await expect(migrate(client, [changed, second])).rejects.toThrow(
        '0001_first.sql was changed after it was applied',
      );
      await expect(migrate(client, [first])).rejects.toThrow('a newer opsfleet (0002_second.sql)');
    });
  });

  it('leaves nothing of a file that fails, and keeps those before it', async () => {
    const first = migration('0001_first.sql', 'create table first ()');
    const broken = migration('0002_broken.sql', 'create table second (); select 1 / 0');
    await onEmptyDatabase(async open => {
      const client = await open();
      await expect(migrate(client, [first, broken])).rejects.toThrow(
        '0002_broken.sql failed: division by zero',
      );
      expect(await tables(client)).toEqual(['first', 'schema_migrations']);
    });
  });

  it('leaves nothing of a file in whose middle its process dies, and does not hold up the next one', async () => {
    const slow = migration('0001_slow.sql', 'create table slow (); select pg_sleep(60)');
    await onEmptyDatabase(async open => {
      const dying = await open();
      const death = expect(migrate(dying, [slow])).rejects.toThrow('0001_slow.sql failed');
      let killed = 0;
      while (killed === 0) {
        const { rows } = await admin.query(
          "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and wait_event = 'PgSleep'",
          [database],
        );
        killed = rows.length;
      }
      await death;
      const next = await open();
      expect(await tables(next)).toEqual(['schema_migrations']);
      const mended = migration('0001_slow.sql', 'create table slow ()');
      expect(await migrate(next, [mended])).toEqual([mended.name]);
    });
  });
});
