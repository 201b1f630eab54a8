import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { type Client, startTestApp, type TestApp } from '../../test/app.ts';
import { deleteAll } from '../../test/database.ts';
import { healthCheck } from '../../test/fleet.ts';
import { registration } from '../../test/route-examples.ts';
import type { OrganizationId, ServerId } from '../ids.ts';
import { type SystemDb, sql } from '../platform/db.ts';
import { ensurePartitionsFor } from '../retention/maintain.ts';
import { type CheckStatus, type HealthCheckRow, insertHealthChecks } from './history.ts';

const minuteMs = 60_000;
const dayMs = 86_400_000;
// Yesterday at ten, or the day before where that is closer than a day.
const day = new Date(Math.floor(Date.now() / dayMs) * dayMs - 2 * dayMs);
const start = new Date(day.getTime() + 10 * 3_600_000);
let test: TestApp;
let db: SystemDb;
let admin: Client;
let other: Client;
let organizationId: OrganizationId;
let serverId: ServerId;
const api = '/api/v1/fleet';
/** That of days. */
const keptFrom = new Date(day.getTime() + (2 - 1_830) * dayMs).toISOString();

beforeAll(async () => {
  test = await startTestApp({ settings: { role: 'api' } });
  db = test.database.db.system;
  admin = await test.as('admin');
  other = await test.as('admin', 'other');
  const { settings } = test.app.context;
  const policy = { interval: 'month', retention: settings.retention } as const;
  await ensurePartitionsFor(db, { table: 'server_health_checks', instants: [day], now: new Date(), policy });
  serverId = await register('one');
  organizationId = (
    await db.one(
      sql<{ id: OrganizationId }>`select organization_id as id from managed_servers where id = ${serverId}`,
    )
  ).id;
});
afterAll(() => test.close());
beforeEach(() => deleteAll(db, ['server_health_checks']));

const register = async (name: string): Promise<ServerId> =>
  (await admin.post(`${api}/servers`, { ...registration, name, api_url: `https://${name}.example.com` })).body
    .server.id;

const at = (ms: number): Date => new Date(start.getTime() + ms);
const check = (
  ms: number,
  status: CheckStatus,
  responseTimeMs: number | null = null,
  of = serverId,
): HealthCheckRow => healthCheck({ organizationId, serverId: of }, at(ms), { status, responseTimeMs });

const range = (fromMs: number, toMs: number): string =>
  `start_time=${at(fromMs).toISOString()}&end_time=${at(toMs).toISOString()}`;
const uptime = async (fromMs: number, toMs: number, of: string = serverId) =>
  (await admin.get(`${api}/servers/${of}/uptime?${range(fromMs, toMs)}`)).body;

it('tells for how long a server was in each state, of how much that is known, and how fast it answered', async () => {
  await insertHealthChecks(db, [
    check(0, 'healthy', 10),
    check(30_000, 'degraded', 20),
    check(60_000, 'unreachable'),
    check(75_000, 'error'),
    check(90_000, 'critical', 30),
  ]);
  expect(await uptime(15_000, 5 * minuteMs)).toEqual({
    server_id: serverId,
    start_time: at(15_000).toISOString(),
    end_time: at(5 * minuteMs).toISOString(),
    kept_from: keptFrom,
    uptime: { percent: 30, up_ms: 45_000, known_ms: 150_000 },
    states: {
      healthy_ms: 15_000,
      degraded_ms: 30_000,
      critical_ms: 90_000,
      unreachable_ms: 15_000,
      unknown_ms: 135_000,
    },
    checks: { healthy: 0, degraded: 1, critical: 1, unreachable: 1, error: 1 },
    response_time_ms: { count: 2, avg: 25, min: 20, max: 30, p50: 20, p95: 30, p99: 30 },
  });
});

it('of a server that was never checked nothing is known', async () => {
  const body = await uptime(0, minuteMs);
  expect(body.uptime).toEqual({ percent: null, up_ms: 0, known_ms: 0 });
  expect(body.states.unknown_ms).toBe(minuteMs);
  expect(body.response_time_ms).toBeNull();
});

it('tells how all servers were together, and which were worst', async () => {
  const [two, three] = [await register('two'), await register('three')];
  await insertHealthChecks(db, [
    ...[0, 30_000, 60_000].map(ms => check(ms, 'healthy', 10)),
    check(0, 'healthy', 40, two),
    check(45_000, 'unreachable', null, two),
  ]);
  const overview = async () => (await admin.get(`${api}/health/overview?${range(0, 90_000)}`)).body;
  const expected = {
    servers: { total: 3, without_data: 1 },
    start_time: at(0).toISOString(),
    end_time: at(90_000).toISOString(),
    kept_from: keptFrom,
    uptime: { percent: 75, up_ms: 135_000, known_ms: 180_000 },
    states: {
      healthy_ms: 135_000,
      degraded_ms: 0,
      critical_ms: 0,
      unreachable_ms: 45_000,
      unknown_ms: 90_000,
    },
    checks: { healthy: 4, degraded: 0, critical: 0, unreachable: 1, error: 0 },
    response_time_ms: { count: 4, avg: 17.5, min: 10, max: 40, p50: 10, p95: 40, p99: 40 },
    worst: [{ server_id: two, name: 'two', uptime: { percent: 50, up_ms: 45_000, known_ms: 90_000 } }],
  };
  expect(await overview()).toEqual(expected);

  // What is deleted is no part of it any more, at once.
  await admin.delete(`${api}/servers/${two}`);
  await admin.delete(`${api}/servers/${three}`);
  expect(await overview()).toMatchObject({
    servers: { total: 1, without_data: 0 },
    uptime: { percent: 100 },
    response_time_ms: { count: 3 },
    worst: [],
  });
});

it('an organization without servers has an overview of nothing', async () => {
  expect((await other.get(`${api}/health/overview`)).body).toMatchObject({
    servers: { total: 0, without_data: 0 },
    uptime: { percent: null },
    response_time_ms: null,
    worst: [],
  });
});

it("another organization's server is answered like a missing one", async () => {
  await insertHealthChecks(db, [check(0, 'healthy', 10)]);
  const { status } = await other.get(`${api}/servers/${serverId}/uptime`);
  expect(status).toBe(404);
  expect((await other.get(`${api}/health/overview?${range(0, minuteMs)}`)).body.checks.healthy).toBe(0);
});

it.each([
  ['start_time=2999-01-01', '/query/start_time', 'must lie in the past'],
  [
    'start_time=2026-01-01T00:00:00Z&end_time=2026-01-01T00:00:00Z',
    '/query/start_time',
    'must be before end_time',
  ],
  ['start_time=yesterday', '/query/start_time', 'must be an ISO 8601 time like 2026-01-31T12:00:00Z'],
])('refuses %s', async (query, pointer, detail) => {
  for (const path of [`servers/${serverId}/uptime`, 'health/overview']) {
    const { status, body } = await admin.get(`${api}/${path}?${query}`);
    expect(status).toBe(422);
    expect(body.errors).toEqual([{ pointer, detail }]);
  }
});
