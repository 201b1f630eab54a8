import { chmod, chown, mkdir, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DataDirFixture, query } from '../../../test/data-dir-fixture.ts';
import { StartupError } from '../errors.ts';

const isRoot = process.geteuid?.() === 0;
const nobody = 65_534;

let fixture: DataDirFixture;

beforeEach(async () => {
  fixture = await DataDirFixture.create();
});

afterEach(() => fixture.remove());

describe('a first start', () => {
  test('creates a database that the application owns as an ordinary role', async () => {
    const lines: string[] = [];
    const postgres = await fixture.start({ onProgress: line => lines.push(line) });

    expect(postgres).toMatchObject({
      connection: { host: join(fixture.dataDir, 'run'), port: 5432, user: 'opsfleet', database: 'opsfleet' },
      version: expect.stringMatching(/^18\.\d+$/),
      adopted: false,
    });
    const rows = await query(
      postgres,
      `select rolsuper, rolbypassrls, rolcreatedb, pg_get_userbyid(datdba) as owner,
              pg_encoding_to_char(encoding) as encoding, datlocale as locale
         from pg_roles, pg_database where rolname = current_user and datname = current_database()`,
    );
    expect(rows).toEqual([
      {
        rolsuper: false,
        rolbypassrls: false,
        rolcreatedb: false,
        owner: 'opsfleet',
        encoding: 'UTF8',
        locale: 'C.UTF-8',
      },
    ]);
    expect(lines).toEqual([expect.stringMatching(/^Unpacking PostgreSQL 18\./), 'Creating the database']);
  });

  test('listens on no network address, and writes through unless a test says otherwise', async () => {
    const postgres = await fixture.start({ settings: {} });
    const rows = await query<{ name: string; setting: string }>(
      postgres,
      `select name, setting from pg_settings
        where name in ('listen_addresses', 'fsync', 'data_checksums', 'jit', 'TimeZone', 'checkpoint_timeout') order by name`,
    );
    expect(Object.fromEntries(rows.map(row => [row.name, row.setting]))).toEqual({
      checkpoint_timeout: '900',
      listen_addresses: '',
      fsync: 'on',
      data_checksums: 'on',
      jit: 'off',
      TimeZone: 'UTC',
    });
  });

  test('finds a shorter place for its socket when the data directory has a long path', async () => {
    const dataDir = join(fixture.parent, 'a'.repeat(60), "b, 'c' ".repeat(8).trim());
    const postgres = await fixture.start({ dataDir });
    expect(postgres.connection.host).toMatch(/^\/tmp\/opsfleet-[0-9a-f]{16}$/);
    expect(await query(postgres, 'select 1 as one')).toEqual([{ one: 1 }]);
    await rm(postgres.connection.host, { recursive: true });
  });

  test('ends when it is aborted, and leaves the directory free', async () => {
    const abort = new AbortController();
    const reason = new Error('enough');
    const starting = fixture.start({
      signal: abort.signal,
      onProgress: line => line === 'Creating the database' && abort.abort(reason),
    });
    await expect(starting).rejects.toMatchObject({ name: 'AbortError', cause: reason });
    expect((await fixture.start()).adopted).toBe(false);
  });
});

/** Expects a start to be refused by a message for the operator that has all these words. */
async function expectRefusal(...words: string[]): Promise<void> {
  const refused: unknown = await fixture.start().catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(StartupError);
  for (const word of words) expect(String(refused)).toContain(word);
}

describe('a start is refused', () => {
  test('while another opsfleet holds the data directory', async () => {
    await fixture.start();
    await expectRefusal(fixture.dataDir, `process ${process.pid}`);
  });

  test('while another opsfleet holds it that has no server yet', async () => {
    const [first, second] = await Promise.allSettled([fixture.start(), fixture.start()]);
    expect([first.status, second.status].toSorted()).toEqual(['fulfilled', 'rejected']);
  });

  test('on something in the place of the database', async () => {
    await (await fixture.start()).stop();
    await rm(join(fixture.dataDir, 'pgdata'), { recursive: true });
    await mkdir(join(fixture.dataDir, 'pgdata'));
    if (isRoot) await chown(join(fixture.dataDir, 'pgdata'), nobody, nobody);
    await expectRefusal(join(fixture.dataDir, 'pgdata'), 'PG_VERSION');
    await rm(join(fixture.dataDir, 'pgdata'), { recursive: true });
    await symlink('/var', join(fixture.dataDir, 'pgdata'));
    await expectRefusal(join(fixture.dataDir, 'pgdata'), 'link');
  });

  test.runIf(isRoot)('below a directory that only root can pass', async () => {
    await chmod(fixture.parent, 0o700);
    await expectRefusal(fixture.dataDir, fixture.parent, 'uid', 'chmod o+x');
  });
});
