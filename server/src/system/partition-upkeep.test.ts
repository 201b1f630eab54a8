import { Client as Connection } from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Client, startTestApp, type TestApp } from '../../test/app.ts';
import { createFakeClock, type FakeClock } from '../../test/fakes/clock.ts';
import { advisoryLocks } from '../platform/advisory-locks.ts';
import { sql } from '../platform/db.ts';
import { createInstruments } from '../platform/instruments.ts';
import { partitionedTables } from '../retention/partitions.ts';
import { keepPartitions } from './partition-upkeep.ts';

const instruments = createInstruments();
let test: TestApp;
let admin: Client;
let clock: FakeClock;
beforeAll(async () => {
  test = await startTestApp({ settings: { role: 'api' } });
  admin = await test.as('admin');
  // The partitions that the database was made with are those of today.
  clock = createFakeClock(new Date());
});
afterAll(() => test.close());

const keep = (): Promise<number> => keepPartitions({ ...test.app.context, clock, instruments });

const conditions = async (): Promise<{ condition: string; detail: string }[]> =>
  (await admin.get('/api/v1/fleet/workers/status')).body.conditions;

const told = async (): Promise<{ type: string; condition: string }[]> =>
  test.database.db.system.many(sql`
    select distinct type, data ->> 'condition' as condition from events
    where data ->> 'condition' = 'partitions_behind' order by type`);

/** Somebody else changes partitions, and does not come to an end. */
async function whileLocked(work: () => Promise<void>): Promise<void> {
  const other = new Connection(test.database.connection);
  await other.connect();
  try {
    await other.query('select pg_advisory_lock($1)', [advisoryLocks.partitions]);
    await work();
  } finally {
    await other.end();
  }
}

function monthsOn(months: number): Date {
  const now = clock.now();
  return new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + months, 15));
}

async function gauge(name: string): Promise<number> {
  const text = await instruments.registry.metrics();
  return Number(new RegExp(`^${name}\\{table="events"\\} (\\d+)$`, 'm').exec(text)?.[1]);
}

it('prepares three months, and says how many are and what they take', async () => {
  expect(await keep()).toBe(0);
  expect(await gauge('opsfleet_partitions_ahead')).toBe(3);
  expect(await gauge('opsfleet_table_bytes')).toBeGreaterThan(0);
  expect(await conditions()).toEqual([]);
});

it('failing for a month, it says so once, and ends that when it works again', async () => {
  clock.setWall(monthsOn(1));
  await whileLocked(async () => {
    await expect(keep()).rejects.toMatchObject({ code: 'unavailable' });
    expect(await gauge('opsfleet_partitions_ahead')).toBe(2);
    await expect(keep()).rejects.toMatchObject({ code: 'unavailable' });
    expect(await conditions()).toMatchObject([
      { condition: 'partitions_behind', detail: expect.stringContaining('server_health_checks: 2') },
    ]);
    expect(await told()).toEqual([{ type: 'condition.began', condition: 'partitions_behind' }]);
  });
  expect(await keep()).toBe(partitionedTables.length);
  expect(await conditions()).toEqual([]);
  expect(await told()).toEqual([
    { type: 'condition.began', condition: 'partitions_behind' },
    { type: 'condition.ended', condition: 'partitions_behind' },
  ]);
});

it('admins see every table and partition, and nobody else does', async () => {
  const { status, body } = await admin.get('/api/v1/fleet/storage');
  expect(status).toBe(200);
  expect(body.partition_interval).toBe('month');
  expect(body.tables.map((table: { table: string }) => table.table)).toEqual(partitionedTables);
  for (const { intervals_ahead, bytes, partitions } of body.tables) {
    expect(intervals_ahead).toBeGreaterThanOrEqual(3);
    expect(partitions.length).toBeGreaterThanOrEqual(4);
    expect(bytes).toBe(partitions.reduce((sum: number, each: { bytes: number }) => sum + each.bytes, 0));
    expect(partitions.map((each: { from: string }) => each.from)).toEqual(
      partitions.map((each: { from: string }) => each.from).toSorted(),
    );
  }
  expect((await (await test.as('operator')).get('/api/v1/fleet/storage')).status).toBe(403);
});
