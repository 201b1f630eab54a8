import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { createTestDatabase, deleteAll, type TestDatabase } from '../../test/database.ts';
import { createSteps, killed, steppedThrough } from '../../test/fakes/killed-database.ts';
import { addOrganization, addServer } from '../../test/fleet.ts';
import type { OrganizationId, ServerId } from '../ids.ts';
import { deleteOrganization } from '../organizations/deletion-store.ts';
import { type Database, sql } from '../platform/db.ts';
import { isIntact } from './archive.ts';
import { type ArchiveSetting, type ExpiryParts, expirePartitions, overduePartitions } from './expire.ts';
import { ensurePartitions, ensurePartitionsFor, isMissingPartition, partitionsOf } from './maintain.ts';
import { restoreArchive } from './restore.ts';
import { defaultRetention } from './retention.ts';
import { isArchivingRequired, listArchives, retiredPartitions } from './store.ts';

// September is over by 30 days on 31 October.
const now = new Date('2031-10-31T00:00:00Z');
const september = 'server_health_checks_2031_09';
const policy = { interval: 'month', retention: { ...defaultRetention, '5m': 36_500 } } as const;
let database: TestDatabase;
let db: Database;
let organizationId: OrganizationId;
let serverId: ServerId;
let directory: string;
const running = new AbortController();

beforeAll(async () => {
  database = await createTestDatabase();
  db = database.db;
  organizationId = await addOrganization(db);
  serverId = await addServer(db, organizationId);
});
afterAll(() => database.close());
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'opsfleet-archive-'));
  await deleteAll(db.system, ['partition_archives', 'archiving']);
  await ensurePartitionsFor(db.system, {
    table: 'server_health_checks',
    instants: [new Date('2031-09-01T00:00:00Z'), new Date('2031-10-01T00:00:00Z')],
    now: new Date('2031-10-01T00:00:00Z'),
    policy,
  });
  await deleteAll(db.system, ['server_health_checks']);
});
afterEach(() => rm(directory, { recursive: true }));

/** Texts that CSV has to be careful with. */
const texts = ['plain', 'with "quotes", and\nlines\r\n', '', null, '\\N', '\\.', 'ümläut\t'];

const restore = (name: string, days = 7, on: Database = db) =>
  restoreArchive({ db: on, clock: { now: () => now }, directory, signal: running.signal }, name, days);

const insert = (timestamp: string, message: string | null, of = serverId): Promise<number> =>
  db.system.execute(sql`
    insert into server_health_checks (organization_id, server_id, timestamp, status, reason, error_message, error_details)
    values (${organizationId}, ${of}, ${timestamp}, 'healthy', 'ok', ${message}, '{"a": "b\\"c\\n"}')`);

async function fillSeptember(): Promise<void> {
  for (const [day, text] of texts.entries()) await insert(`2031-09-${day + 10}T10:00:00.123Z`, text);
}

const expire = (
  archive: ArchiveSetting,
  parts: Partial<Pick<ExpiryParts, 'db' | 'release' | 'clock' | 'retention'>> = {},
) =>
  expirePartitions({
    db,
    clock: { now: () => now },
    retention: onlyChecks,
    archive,
    signal: running.signal,
    release: () => Promise.resolve(true),
    ...parts,
  });

// Partitions of today, which the test database has, are not what this is about.
const onlyChecks = {
  ...defaultRetention,
  '5m': 36_500,
  '15m': 36_500,
  '1h': 36_500,
  '1d': 36_500,
  events: 36_500,
  metrics: 36_500,
};

const tableExists = async (name: string): Promise<boolean> =>
  (await db.system.one(sql<{ found: boolean }>`select to_regclass(${name}) is not null as found`)).found;

const septemberRows = async (): Promise<number> =>
  (await tableExists(september))
    ? (await db.system.one(sql<{ rows: number }>`select count(*)::int as rows from ${sql.id(september)}`))
        .rows
    : 0;

test('what is older than what is kept goes, a whole partition at a time, and nothing else does', async () => {
  await fillSeptember();
  await insert('2031-10-01T00:00:00Z', 'stays');
  const early = { now: () => new Date(now.getTime() - 1) };
  expect((await expire('unchanged', { clock: early }))?.dropped).not.toContain(september);
  expect(await septemberRows()).toBe(texts.length);
  expect((await expire('unchanged'))?.dropped).toContain(september);
  expect(await tableExists(september)).toBe(false);
  expect(await retiredPartitions(db.system)).toEqual([]);
  expect(await db.system.many(sql`select from server_health_checks`)).toHaveLength(1);
});

test('what is still needed stays, and goes when it is not', async () => {
  await fillSeptember();
  let isNeeded = true;
  const release: ExpiryParts['release'] = (_tx, { name }) => Promise.resolve(name !== september || !isNeeded);
  expect((await expire('unchanged', { release }))?.dropped).not.toContain(september);
  expect(await septemberRows()).toBe(texts.length);
  isNeeded = false;
  expect((await expire('unchanged', { release }))?.dropped).toEqual([september]);
});

test('an archive has every row, is read back, and says what it is', async () => {
  await fillSeptember();
  const gone = await expire({ directory });
  expect(gone?.archived).toContain(september);
  expect(gone?.dropped).toContain(september);
  const [archive] = await listArchives(db.system, september);
  expect(archive).toMatchObject({
    partition: { table: 'server_health_checks', from: new Date('2031-09-01'), to: new Date('2031-10-01') },
    rows: texts.length,
    droppedAt: now,
    restoredUntil: null,
  });
  expect(await isIntact(directory, archive!, running.signal)).toBe(true);
  const beside = JSON.parse(await readFile(join(directory, `${archive!.file}.json`), 'utf8')) as object;
  expect(beside).toMatchObject({ rows: texts.length, sha256: archive!.sha256, columns: archive!.columns });
  await writeFile(join(directory, archive!.file), 'no longer that');
  expect(await isIntact(directory, archive!, running.signal)).toBe(false);
});

test('an empty partition is archived too, with a header alone', async () => {
  expect((await expire({ directory }))?.dropped).toContain(september);
  expect((await listArchives(db.system, september))[0]).toMatchObject({ rows: 0, rowHash: '0' });
});

test('where archives are wanted, a process that has no directory for them lets nothing go', async () => {
  await fillSeptember();
  await expire({ directory }, { release: () => Promise.resolve(false) });
  expect((await expire('unchanged'))?.dropped).toEqual([]);
  expect(await septemberRows()).toBe(texts.length);
  const overdue = await overduePartitions(db.system, { clock: { now: () => now }, retention: onlyChecks });
  expect(overdue.map(({ name }) => name)).toContain(september);
  // And no row comes to it any more.
  expect((await expire('none'))?.dropped).toContain(september);
  expect(await isArchivingRequired(db.system)).toBe(false);
});

test('where the directory cannot be written nothing goes, and the fault is told', async () => {
  await fillSeptember();
  const file = join(directory, 'a-file');
  await writeFile(file, '');
  await expect(expire({ directory: join(file, 'below') })).rejects.toMatchObject({ code: 'ENOTDIR' });
  expect(await septemberRows()).toBe(texts.length);
});

test('a row that comes in while its partition is archived is archived too', async () => {
  await fillSeptember();
  let detaching = 0;
  const slow = withClient(async text => {
    if (!/detach/.test(text) || !text.includes(september)) return;
    detaching += 1;
    await insert('2031-09-20T00:00:00Z', 'late');
  });
  const gone = await expire({ directory }, { db: slow });
  expect(detaching).toBe(1);
  expect(gone?.archived.filter(name => name === september)).toHaveLength(2);
  expect(
    (await listArchives(db.system, september)).map(({ rows }) => rows).toSorted((a, b) => a - b),
  ).toEqual([texts.length, texts.length + 1]);
  expect(await tableExists(september)).toBe(false);
});

test('nothing is stored in the time of a partition that is on its way out, nor is it made anew', async () => {
  await fillSeptember();
  const stuck = withClient(text => (/detach/.test(text) ? Promise.reject(killed) : Promise.resolve()));
  await expect(expire('unchanged', { db: stuck })).rejects.toBe(killed);
  await db.system.execute(sql`alter table server_health_checks detach partition ${sql.id(september)}`);
  const longer = { interval: 'month', retention: { ...defaultRetention, checks: 90 } } as const;
  await ensurePartitionsFor(db.system, {
    table: 'server_health_checks',
    instants: [new Date('2031-09-20')],
    now,
    policy: longer,
  });
  expect(await insert('2031-09-20T00:00:00Z', 'late').catch(isMissingPartition)).toBe(true);
  // Kept for longer from now on, it comes back.
  expect(
    (await expire('unchanged', { retention: { ...onlyChecks, checks: 90, '5m': 36_500 } }))?.dropped,
  ).toEqual([]);
  expect(await insert('2031-09-20T00:00:00Z', 'late')).toBe(1);
  expect(await septemberRows()).toBe(texts.length + 1);
});

test('two at once do it once', async () => {
  await fillSeptember();
  const both = await Promise.all([expire({ directory }), expire({ directory })]);
  const names = both.flatMap(gone => gone?.archived ?? []).filter(name => name === september);
  expect(names.length).toBeLessThanOrEqual(1);
  expect(await tableExists(september)).toBe(false);
  expect((await listArchives(db.system, september)).filter(({ rows }) => rows === texts.length)).toHaveLength(
    1,
  );
});

test('what a killed process left half written is removed', async () => {
  await writeFile(join(directory, `${september}.20311001T000000Z.csv.zst.partial`), 'half');
  await writeFile(join(directory, 'notes.txt'), 'not ours');
  await expire({ directory });
  const left = await readdir(directory);
  expect(left.filter(name => name.endsWith('.partial'))).toEqual([]);
  expect(left).toContain('notes.txt');
});

test('an archive is brought back to be read, for some days, without what has been deleted since', async () => {
  await fillSeptember();
  const gone = await addServer(db, organizationId);
  await insert('2031-09-05T00:00:00Z', 'deleted', gone);
  const hidden = await addOrganization(db);
  await db.system.execute(sql`
    insert into server_health_checks (organization_id, server_id, timestamp, status, reason)
    values (${hidden}, ${await addServer(db, hidden)}, '2031-09-05', 'healthy', 'ok')`);
  const rowsOfOne = () =>
    db
      .tenant(organizationId)
      .many(sql`select * from server_health_checks where server_id = ${serverId} order by timestamp`);
  const before = await rowsOfOne();
  await expire({ directory });
  await db.system.execute(sql`delete from managed_servers where id = ${gone}`);
  // Its servers have not been removed yet.
  await deleteOrganization(db.system, hidden, new Date());

  const restored = await restore(september, 3);
  expect(restored).toMatchObject({
    rows: texts.length,
    ofDeleted: 2,
    until: new Date('2031-11-03T00:00:00Z'),
  });
  expect(await rowsOfOne()).toEqual(before);
  expect((await expire('unchanged'))?.dropped).not.toContain(september);
  // No place for sums is made of it once more.
  await db.system.execute(sql`drop table server_health_1d_2031_09`);
  await ensurePartitions(db.system, { now, interval: 'month' });
  expect(await tableExists('server_health_1d_2031_09')).toBe(false);
  await expect(restore(september)).rejects.toThrow(
    `${september} holds the time of ${september}, and is there.`,
  );

  const later = { now: () => new Date('2031-11-03T00:00:00Z') };
  expect((await expire({ directory }, { clock: later }))?.dropped).toContain(september);
  expect(await rowsOfOne()).toEqual([]);
});

test('what cannot be brought back whole is not brought back', async () => {
  await fillSeptember();
  await expect(restore(september)).rejects.toThrow(`There is no archive of ${september}.`);
  await expire({ directory });
  const [archive] = await listArchives(db.system, september);
  const path = join(directory, archive!.file);
  const whole = await readFile(path);
  for (const at of [4, whole.length >> 1, whole.length - 1]) {
    const flipped = Buffer.from(whole);
    flipped[at]! ^= 1;
    await writeFile(path, flipped);
    await expect(restore(september)).rejects.toThrow('as it was written; nothing was brought back');
  }
  await writeFile(path, whole.subarray(0, -1));
  await expect(restore(september)).rejects.toThrow('as it was written; nothing was brought back');
  await rm(path);
  await expect(restore(september)).rejects.toThrow(`${archive!.file} is not in ${directory}`);
  expect(await tableExists(september)).toBe(false);
});

test('bringing back is killed before any of its statements, and done by the next call', async () => {
  await fillSeptember();
  await expire({ directory });
  for (let steps = 0, isDone = false; !isDone; steps += 1) {
    const failure = await restore(september, 3, killedAfterSteps(steps)).then(
      () => null,
      (error: unknown) => error,
    );
    isDone = failure === null;
    if (!isDone && failure !== killed) throw failure;
    // Upkeep that comes between takes nothing away that is not in the archive.
    if (!isDone) await expire({ directory });
  }
  expect(await septemberRows()).toBe(texts.length);
  await expire({ directory }, { clock: { now: () => new Date('2031-12-01T00:00:00Z') } });
  await expectAllRowsSomewhere();
}, 60_000);

test('killed before any of its statements, it loses no row, and the next pass completes it', async () => {
  let steps = 0;
  for (let isDone = false; !isDone; steps += 1) {
    await deleteAll(db.system, ['partition_archives']);
    await ensurePartitionsFor(db.system, {
      table: 'server_health_checks',
      instants: [new Date('2031-09-01T00:00:00Z')],
      now: new Date('2031-10-01T00:00:00Z'),
      policy,
    });
    await fillSeptember();
    const failure = await expire({ directory }, { db: killedAfterSteps(steps) }).then(
      () => null,
      (error: unknown) => error,
    );
    isDone = failure === null;
    if (!isDone && failure !== killed) throw failure;
    await expectAllRowsSomewhere();
    await expire({ directory });
    await expectAllRowsSomewhere();
    expect(await tableExists(september)).toBe(false);
    expect(await retiredPartitions(db.system)).toEqual([]);
  }
  // Lock, settle, look, give up, count, copy, note, detach, look again, drop: of each several.
  expect(steps).toBeGreaterThan(25);
}, 60_000);

async function expectAllRowsSomewhere(): Promise<void> {
  if ((await septemberRows()) === texts.length) return;
  const archives = await listArchives(db.system, september);
  const whole = archives.filter(({ rows }) => rows === texts.length);
  expect(whole.length).toBeGreaterThan(0);
  for (const archive of whole) expect(await isIntact(directory, archive, running.signal)).toBe(true);
}

/** The database, with something that happens before each statement of a dedicated connection. */
const withClient = (before: (text: string) => Promise<void>): Database => ({
  ...db,
  async dedicated() {
    const client = await db.dedicated();
    const query = client.query.bind(client) as (...args: unknown[]) => unknown;
    client.query = ((statement: unknown, ...values: unknown[]) => {
      if (typeof statement !== 'string') return query(statement, ...values);
      return before(statement).then(() => query(statement, ...values));
    }) as pg.Client['query'];
    return client;
  },
});

/** A process that is killed before the statement after so many, on whichever connection. */
function killedAfterSteps(count: number): Database {
  const step = createSteps(count);
  return {
    ...withClient(async text => {
      // What a connection was at is rolled back when it ends.
      if (text !== 'rollback') await Promise.resolve().then(step);
    }),
    system: steppedThrough(db.system, step),
  };
}

test('the partitions of other tables, and those of today, are left alone', async () => {
  const before = await partitionsOf(db.system, ['events', 'server_metrics_aggregated']);
  await expire('unchanged');
  expect(await partitionsOf(db.system, ['events', 'server_metrics_aggregated'])).toEqual(before);
});
