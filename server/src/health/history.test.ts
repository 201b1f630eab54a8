import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/database.ts';
import { addOrganization, addServer } from '../../test/fleet.ts';
import type { OrganizationId, ServerId } from '../ids.ts';
import { isFaultOfValues } from '../platform/database-failure.ts';
import { sql } from '../platform/db.ts';
import { ensurePartitionsFor, isMissingPartition } from '../retention/maintain.ts';
import { defaultRetention } from '../retention/retention.ts';
import { deleteServer } from '../servers/store.ts';
import { currentHealth } from './current-store.ts';
import { type HealthCheckRow, insertHealthChecks, listHealthChecks } from './history.ts';

let database: TestDatabase;
let organizationId: OrganizationId;
let serverId: ServerId;
beforeAll(async () => {
  database = await createTestDatabase();
  const instant = minute(0);
  await ensurePartitionsFor(database.db.system, {
    table: 'server_health_checks',
    instants: [instant],
    policy: { interval: 'month', retention: defaultRetention },
    now: instant,
  });
});
afterAll(() => database.close());
beforeEach(async () => {
  organizationId = await addOrganization(database.db);
  serverId = await addServer(database.db, organizationId);
});

const minute = (count: number): Date => new Date(Date.parse('2031-11-24T12:00:00Z') + count * 60_000);

const check = (at: Date, facts: Partial<HealthCheckRow> = {}): HealthCheckRow => ({
  organizationId,
  serverId,
  at,
  status: 'healthy',
  reason: 'ok',
  responseTimeMs: 12,
  databaseHealthy: true,
  redisHealthy: null,
  servicesHealthy: false,
  errorMessage: null,
  errorDetails: null,
  ...facts,
});

const insert = (rows: HealthCheckRow[], isFirstTry = false): Promise<number> =>
  insertHealthChecks(database.db.system, rows, isFirstTry);

async function list(query: Partial<Parameters<typeof listHealthChecks>[2]> = {}, from = organizationId) {
  const all = { from: null, to: null, limit: 100 };
  const page = await listHealthChecks(database.db.tenant(from), serverId, { ...all, ...query });
  if (page === null) return null;
  const rows = JSON.parse(page.rows) as { timestamp: string; reason: string }[];
  return { ...page, rows, times: rows.map(row => row.timestamp) };
}

test('a check comes back with all it told', async () => {
  const details = { components: { redis: { healthy: false, message: 'it said "no" \\ näin' } } };
  const failed = check(minute(0), {
    status: 'critical',
    reason: 'component_failed',
    errorMessage: 'redis',
    errorDetails: details,
  });
  expect(await insert([failed])).toBe(1);
  expect((await list())?.rows).toEqual([
    {
      id: expect.any(Number),
      server_id: serverId,
      timestamp: '2031-11-24T12:00:00.000Z',
      status: 'critical',
      reason: 'component_failed',
      response_time_ms: 12,
      database_healthy: true,
      redis_healthy: null,
      services_healthy: false,
      error_message: 'redis',
      error_details: details,
      created_at: expect.stringMatching(/Z$/),
    },
  ]);
});

test('a batch written again adds only what is new, and changes nothing', async () => {
  expect(await insert([])).toBe(0);
  expect(await insert([check(minute(0)), check(minute(1))])).toBe(2);
  expect(await insert([check(minute(0), { reason: 'changed' }), check(minute(1)), check(minute(2))])).toBe(1);
  expect((await list())?.rows.map(row => row.reason)).toEqual(['ok', 'ok', 'ok']);
});

test('a check of a server deleted meanwhile is passed over; its neighbours are stored', async () => {
  const gone = await addServer(database.db, organizationId);
  await deleteServer(database.db.tenant(organizationId), gone);
  expect(await insert([check(minute(0), { serverId: gone }), check(minute(0))])).toBe(1);
});

test('a first try stores the same, all of it or nothing where one is there already', async () => {
  expect(await insert([check(minute(0)), check(minute(1))], true)).toBe(2);
  const repeated: unknown = await insert([check(minute(1)), check(minute(2))], true).catch(
    (each: unknown) => each,
  );
  expect(isFaultOfValues(repeated)).toBe(true);
  expect((await list())?.count).toBe(2);
  expect(await insert([check(minute(1)), check(minute(2))])).toBe(1);
});

test('what a first try adds to a server deleted meanwhile is seen by nobody', async () => {
  const gone = await addServer(database.db, organizationId);
  await deleteServer(database.db.tenant(organizationId), gone);
  expect(await insert([check(minute(0), { serverId: gone })], true)).toBe(1);
  const page = await listHealthChecks(database.db.tenant(organizationId), gone, {
    from: null,
    to: null,
    limit: 9,
  });
  expect(page).toBeNull();
});

test('a check is never stored for a server under the id of another organization', async () => {
  const other = await addOrganization(database.db);
  expect(await insert([check(minute(0), { organizationId: other })])).toBe(0);
});

test('a month without a partition is told apart from every other failure', async () => {
  const error: unknown = await insert([check(new Date('2031-01-01T00:00:00Z'))]).catch(
    (each: unknown) => each,
  );
  expect(isMissingPartition(error)).toBe(true);
});

test('the newest come first, both bounds belong to the range, and what is cut off is said', async () => {
  await insert([0, 1, 2, 3].map(count => check(minute(count))));
  const times = [3, 2, 1, 0].map(count => minute(count).toISOString());
  expect(await list()).toMatchObject({ times, count: 4, truncated: false });
  expect(await list({ from: minute(1), to: minute(2) })).toMatchObject({
    times: times.slice(1, 3),
    count: 2,
  });
  expect(await list({ limit: 3 })).toMatchObject({ times: times.slice(0, 3), count: 3, truncated: true });
  expect(await list({ limit: 4 })).toMatchObject({ count: 4, truncated: false });
  expect(await list({ from: minute(4) })).toMatchObject({ rows: [], count: 0, truncated: false });
});

test('another organization sees no such server', async () => {
  await insert([check(minute(0))]);
  const other = await addOrganization(database.db);
  expect(await list({}, other)).toBeNull();
  expect(await currentHealth(database.db.tenant(other), serverId, null)).toBeNull();
});

test('the current health is what is believed, beside what the latest check found', async () => {
  const read = async (): Promise<unknown> =>
    JSON.parse((await currentHealth(database.db.tenant(organizationId), serverId, null))!);
  const unchecked = {
    server_id: serverId,
    health_status: 'unknown',
    reason: 'not_checked',
    detail: null,
    since: '2026-11-01T00:00:00.000Z',
    suspect_since: null,
    recovering_since: null,
    flapping_since: null,
    breaker_opened_at: null,
    components: null,
    last_seen_at: null,
    last_health_check_at: null,
    response_time_ms: null,
    latest_check: null,
  };
  expect(await read()).toEqual(unchecked);

  await insert([check(minute(0)), check(minute(1), { status: 'unreachable', reason: 'timeout' })]);
  await database.db.tenant(organizationId).execute(sql`
    update managed_servers set health_status = 'healthy', health_reason = 'ok', components = '{"database":{}}',
      suspect_since = ${minute(2)}, recovering_since = ${minute(3)}, flapping_since = ${minute(4)},
      breaker_opened_at = ${minute(5)}, last_seen_at = ${minute(0)}, last_health_check_at = ${minute(1)}, response_time_ms = 12
    where organization_id = ${organizationId} and id = ${serverId}`);
  expect(await read()).toMatchObject({
    health_status: 'healthy',
    reason: 'ok',
    suspect_since: '2031-11-24T12:02:00.000Z',
    recovering_since: '2031-11-24T12:03:00.000Z',
    flapping_since: '2031-11-24T12:04:00.000Z',
    breaker_opened_at: '2031-11-24T12:05:00.000Z',
    components: { database: {} },
    last_seen_at: '2031-11-24T12:00:00.000Z',
    last_health_check_at: '2031-11-24T12:01:00.000Z',
    response_time_ms: 12,
    latest_check: { timestamp: '2031-11-24T12:01:00.000Z', status: 'unreachable', reason: 'timeout' },
  });
});
