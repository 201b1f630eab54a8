import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DataDirFixture, query } from '../../test/data-dir-fixture.ts';
import { createLog } from '../platform/log.ts';
import { withSuperuser } from '../platform/postgres/connection.ts';
import type { EmbeddedPostgres } from '../platform/postgres/embedded.ts';
import { beginBaseBackup, walFilesBetween } from './base-backup.ts';

let fixture: DataDirFixture;
let postgres: EmbeddedPostgres;

beforeAll(async () => {
  fixture = await DataDirFixture.create();
  postgres = await fixture.start({
    settings: { fsync: 'off', wal_keep_size: '0', min_wal_size: '32MB', max_wal_size: '32MB' },
  });
});
afterAll(() => fixture.remove());

const logFiles = async () =>
  (await readdir(join(fixture.dataDir, 'pgdata/pg_wal'))).filter(name => /^[0-9A-F]{24}$/.test(name));

/** Ends some files of the log, and has PostgreSQL remove those that nobody needs. */
async function passOn(): Promise<void> {
  for (let files = 0; files < 5; files += 1) {
    await query(postgres, 'select pg_logical_emit_message(false, $$test$$, $$x$$)', 'postgres');
    await query(postgres, 'select pg_switch_wal()', 'postgres');
  }
  for (let times = 0; times < 2; times += 1) await query(postgres, 'checkpoint', 'postgres');
}

test('the log that a backup needs is kept until it has ended, however much comes behind it', async () => {
  const address = { host: postgres.connection.host, port: postgres.connection.port };
  const needed = await withSuperuser(address, createLog({ level: 'silent' }), async client => {
    const base = await beginBaseBackup(client, 'opsfleet_backup_test');
    await passOn();
    const { walFiles, label } = await base.stop();
    expect(walFiles.length).toBeGreaterThan(4);
    expect(await logFiles()).toEqual(expect.arrayContaining(walFiles));
    expect(label.toString()).toContain(`START WAL LOCATION: `);
    expect(label.toString()).toContain(walFiles[0]);
    return walFiles;
  });
  // Without the slot, PostgreSQL gives away what was needed: it would have been gone.
  await expect.poll(() => query(postgres, 'select from pg_replication_slots', 'postgres')).toEqual([]);
  await passOn();
  expect(await logFiles()).not.toContain(needed[0]);
});

test.each([
  ['000000010000000000000004', '000000010000000000000004', 16, 1],
  ['0000000100000000000000FE', '000000010000000100000001', 16, 4],
  ['000000010000000000000003', '000000010000000100000000', 1024, 2],
])('the log from %s to %s in files of %i MiB has %i', (first, last, mib, count) => {
  const files = walFilesBetween(first, last, mib * 1024 ** 2);
  expect(files).toHaveLength(count);
  expect([files[0], files.at(-1)]).toEqual([first, last]);
});
