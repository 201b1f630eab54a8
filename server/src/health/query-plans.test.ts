import { afterAll, beforeAll, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/database.ts';
import { addOrganization, addServer, healthCheck } from '../../test/fleet.ts';
import { tablesRead } from '../../test/plans.ts';
import type { OrganizationId, ServerId } from '../ids.ts';
import { horizonsOf } from '../organizations/retention.ts';
import { sql, type TenantTx } from '../platform/db.ts';
import { ensurePartitionsFor } from '../retention/maintain.ts';
import { defaultRetention } from '../retention/retention.ts';
import { roll } from '../rollups/roll.ts';
import { currentHealth, currentHealthOf } from './current-store.ts';
import { insertHealthChecks, listHealthChecks } from './history.ts';
import { healthRollup } from './rollup-store.ts';
import { timelineOf } from './uptime.ts';
import { type HealthRange, readFleetHealth, readServerHealth, readTimelines } from './uptime-store.ts';

const intervalMs = 300_000;
const policy = { interval: 'month', retention: defaultRetention } as const;
const months = ['2031-02', '2031-03', '2031-04', '2031-05', '2031-06'];
const rolledAt = new Date('2031-06-10T12:00:20Z');
let database: TestDatabase;
let organizationId: OrganizationId;
let serverIds: ServerId[];

/** Five months, in each of which a day was checked and summed up: of the last one, until noon. */
beforeAll(async () => {
  database = await createTestDatabase();
  const db = database.db.system;
  organizationId = await addOrganization(database.db);
  serverIds = [];
  for (let count = 0; count < 10; count += 1) serverIds.push(await addServer(database.db, organizationId));
  for (const month of months) {
    const start = new Date(`${month}-10T00:00:00Z`);
    const end = new Date(Math.min(start.getTime() + 86_400_000, rolledAt.getTime() + 300_000));
    await ensurePartitionsFor(db, { table: 'server_health_checks', instants: [start], policy, now: start });
    await db.execute(sql`update rollup_progress set closed_until = ${start}, rolled_until = ${start}`);
    const checks = Math.ceil((end.getTime() - start.getTime()) / intervalMs);
    const rows = Array.from({ length: checks }, (_, place) => new Date(start.getTime() + place * intervalMs));
    await insertHealthChecks(
      db,
      rows.flatMap(at => serverIds.map(serverId => healthCheck({ organizationId, serverId }, at))),
      true,
    );
    const now = new Date(Math.min(end.getTime() + 20_000, rolledAt.getTime()));
    await roll({ db, clock: { now: () => now } }, healthRollup({ intervalMs }));
  }
  await db.execute(sql`analyze`);
}, 60_000);
afterAll(() => database.close());

const tablesOf = (ask: (db: TenantTx) => Promise<unknown>): Promise<string[]> =>
  tablesRead(database.db.tenant(organizationId), 'server_health_', ask);

const range = (from: string, to: string): HealthRange => ({
  from: new Date(from),
  to: new Date(to),
  intervalMs,
  readFrom: null,
});
const auto = { points: 1, horizons: horizonsOf(defaultRetention, {}, rolledAt) };
/** Not the beginning of any period, and not the end. */
const ofApril = range('2031-04-10T01:02:30Z', '2031-04-10T21:58:10Z');
const all = (range: HealthRange) => ({
  'one server': (db: TenantTx) => readServerHealth(db, serverIds[0]!, range),
  'all servers': (db: TenantTx) => readFleetHealth(db, range, 10),
  timelines: (db: TenantTx) => readTimelines(db, serverIds, range, timelineOf(range, '1h', auto)),
});

it.each(Object.keys(all(ofApril)) as (keyof ReturnType<typeof all>)[])(
  'of a time in one month, %s are read from the partitions of that month alone',
  async who => {
    expect(await tablesOf(all(ofApril)[who])).toEqual([
      'server_health_15m_2031_04',
      'server_health_1h_2031_04',
      'server_health_5m_2031_04',
      'server_health_checks_2031_04',
    ]);
  },
);

it('of hours and days that have been summed up, no check is read', async () => {
  const hours = range('2031-04-10T00:00:00Z', '2031-04-10T22:00:00Z');
  for (const ask of Object.values(all(hours)))
    expect(await tablesOf(ask)).toEqual(['server_health_1h_2031_04']);
  const days = range('2031-04-01T00:00:00Z', '2031-05-01T00:00:00Z');
  const { 'one server': one, 'all servers': each } = all(days);
  expect(await tablesOf(one)).toEqual(['server_health_1d_2031_04']);
  expect(await tablesOf(each)).toEqual(['server_health_1d_2031_04']);
  expect(await tablesOf(db => readTimelines(db, serverIds, days, timelineOf(days, '1d', auto)))).toEqual([
    'server_health_1d_2031_04',
  ]);
});

it('of the newest, hours are read, and checks only where no sum is', async () => {
  for (const ask of Object.values(all(range('2031-06-10T00:00:00Z', '2031-06-10T12:03:00Z'))))
    expect(await tablesOf(ask)).toEqual(['server_health_1h_2031_06', 'server_health_checks_2031_06']);
});

it('what a server was before the range is looked for as long before it as a check can hold, and no longer', async () => {
  const april = 'server_health_checks_2031_04';
  const may = 'server_health_checks_2031_05';
  for (const ask of Object.values(all(range('2031-05-01T00:00:30Z', '2031-05-01T00:01:00Z'))))
    expect(await tablesOf(ask)).toEqual([april, may]);
  for (const ask of Object.values(all(range('2031-05-05T00:00:30Z', '2031-05-05T00:01:00Z'))))
    expect(await tablesOf(ask)).toEqual([may]);
});

it('a list of checks is read from the partitions that its range lies in, and of an open one, from the newest that fill it', async () => {
  const list = (from: string | null, to: string | null, limit: number) => (db: TenantTx) =>
    listHealthChecks(db, serverIds[0]!, {
      from: from === null ? null : new Date(from),
      to: to === null ? null : new Date(to),
      limit,
    });
  const april = ['server_health_checks_2031_04'];
  expect(await tablesOf(list('2031-04-10T00:00:00Z', '2031-04-10T12:00:00Z', 1_000))).toEqual(april);
  expect(await tablesOf(list(null, '2031-04-10T12:00:00Z', 100))).toEqual(april);
  expect(await tablesOf(list('2031-05-10T12:00:00Z', null, 100))).toEqual(['server_health_checks_2031_06']);
});

it('the latest check is read from where it is', async () => {
  const june = ['server_health_checks_2031_06'];
  expect(await tablesOf(db => currentHealth(db, serverIds[0]!, null))).toEqual(june);
  expect(await tablesOf(db => currentHealthOf(db, serverIds, null))).toEqual(june);
});
