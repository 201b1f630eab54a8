import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { type Client, startTestApp, type TestApp } from '../../test/app.ts';
import { deleteAll } from '../../test/database.ts';
import { healthCheck, sumUpHealth } from '../../test/fleet.ts';
import { registration } from '../../test/route-examples.ts';
import type { OrganizationId, ServerId } from '../ids.ts';
import { type SystemDb, sql } from '../platform/db.ts';
import { ensurePartitionsFor } from '../retention/maintain.ts';
import { type CheckStatus, type HealthCheckRow, insertHealthChecks } from './history.ts';

const minuteMs = 60_000;
const dayMs = 86_400_000;
const api = '/api/v1/fleet';
// Ten in the morning of the day before yesterday.
const start = new Date(Math.floor(Date.now() / dayMs) * dayMs - 2 * dayMs + 10 * 60 * minuteMs);
let test: TestApp;
let db: SystemDb;
let admin: Client;
let other: Client;
let organizationId: OrganizationId;
let [one, two]: ServerId[] = [];

beforeAll(async () => {
  test = await startTestApp({ settings: { role: 'api' } });
  db = test.database.db.system;
  admin = await test.as('admin');
  other = await test.as('admin', 'other');
  const policy = { interval: 'month', retention: test.app.context.settings.retention } as const;
  await ensurePartitionsFor(db, {
    table: 'server_health_checks',
    instants: [start],
    now: new Date(),
    policy,
  });
  [one, two] = [await register('one'), await register('two')];
  organizationId = (
    await db.one(
      sql<{ id: OrganizationId }>`select organization_id as id from managed_servers where id = ${one}`,
    )
  ).id;
});
afterAll(() => test.close());
beforeEach(() => deleteAll(db, ['server_health_checks']));

const register = async (name: string): Promise<ServerId> =>
  (await admin.post(`${api}/servers`, { ...registration, name, api_url: `https://${name}.example.com` })).body
    .server.id;

const at = (ms: number): string => new Date(start.getTime() + ms).toISOString();
const check = (serverId: ServerId, ms: number, status: CheckStatus): HealthCheckRow =>
  healthCheck({ organizationId, serverId }, new Date(at(ms)), { status });

const ask = (body: object, who = admin) => who.post(`${api}/health/query`, body);
const tenMinutes = { start_time: at(0), end_time: at(10 * minuteMs), period: '5m' };

it('tells of each period for how long each server was in each state', async () => {
  await insertHealthChecks(db, [
    check(one!, -30_000, 'healthy'),
    check(one!, 60_000, 'critical'),
    check(one!, 6 * minuteMs, 'degraded'),
    check(one!, 6 * minuteMs + 10_000, 'unreachable'),
  ]);
  await sumUpHealth(test.database.db);
  const { status, body } = await ask(tenMinutes);
  expect(status).toBe(200);
  expect(body).toEqual({
    period: '5m',
    start_time: at(0),
    end_time: at(10 * minuteMs),
    kept_from: expect.any(String),
    timestamps: [at(0), at(5 * minuteMs)],
    servers: { total: 2, read: 2, without_data: 1 },
    series: [
      {
        server_id: one,
        name: 'one',
        uptime: { percent: 28, up_ms: 70_000, known_ms: 250_000 },
        healthy_ms: [60_000, 0],
        degraded_ms: [0, 10_000],
        critical_ms: [90_000, 0],
        unreachable_ms: [0, 90_000],
      },
      {
        server_id: two,
        name: 'two',
        uptime: { percent: null, up_ms: 0, known_ms: 0 },
        healthy_ms: null,
        degraded_ms: null,
        critical_ms: null,
        unreachable_ms: null,
      },
    ],
    next_cursor: null,
  });
});

it('periods are whole, and chosen by how many are wanted', async () => {
  const periodOf = async (hours: number, points?: number) => {
    const range = { start_time: at(-hours * 60 * minuteMs + 1), end_time: at(-1) };
    const { body } = await ask({ ...range, ...(points === undefined ? {} : { points }) });
    expect(Date.parse(body.start_time)).toBeLessThanOrEqual(Date.parse(range.start_time));
    expect(Date.parse(body.end_time)).toBeGreaterThanOrEqual(Date.parse(range.end_time));
    return [body.period, body.timestamps.length];
  };
  expect(await periodOf(1)).toEqual(['5m', 12]);
  expect(await periodOf(12)).toEqual(['15m', 48]);
  expect(await periodOf(24)).toEqual(['1h', 24]);
  expect(await periodOf(24, 1_000)).toEqual(['5m', 288]);
  expect(await periodOf(24 * 10, 10)).toEqual(['1d', 11]);
});

it.each([
  ['1d', 61],
  ['1h', 60 * 24 + 1],
])('a long range is told in periods of %s, each in its place', async (period, count) => {
  await insertHealthChecks(test.database.db.system, [check(two!, 0, 'healthy')]);
  await sumUpHealth(test.database.db);
  const { status, body } = await ask({ start_time: at(-60 * dayMs), end_time: at(1), period });
  expect(status).toBe(200);
  expect(body.timestamps.length).toBe(count);
  const places = (body.series[1].healthy_ms as number[]).flatMap((ms, place) => (ms > 0 ? [place] : []));
  expect(places).toEqual([count - 1]);
});

it('a page goes on where the one before it ended', async () => {
  const first = (await ask({ ...tenMinutes, limit: 1 })).body;
  expect(first.series.map((each: { name: string }) => each.name)).toEqual(['one']);
  const second = (await ask({ ...tenMinutes, limit: 1, cursor: first.next_cursor })).body;
  expect(second.series.map((each: { name: string }) => each.name)).toEqual(['two']);
  expect(second).toMatchObject({ servers: { total: 2, read: 1 }, next_cursor: null });
});

it('shows no servers of another organization, and takes their ids for missing ones', async () => {
  await insertHealthChecks(db, [check(one!, 0, 'healthy')]);
  expect((await ask(tenMinutes, other)).body).toMatchObject({ servers: { total: 0, read: 0 }, series: [] });
  const { status, body } = await ask({ ...tenMinutes, servers: { ids: [one] } }, other);
  expect(status).toBe(422);
  expect(body.errors).toEqual([{ pointer: '/servers/ids/0', detail: 'is no server of this organization' }]);
});

it.each([
  [{ period: '5m', points: 10 }, '/points', 'goes with period=auto alone'],
  [{ start_time: '2999-01-01' }, '/start_time', 'must lie in the past'],
  [{ start_time: at(0), end_time: at(0) }, '/start_time', 'must be before end_time'],
  [
    { start_time: at(-20 * dayMs), end_time: at(0), period: '5m' },
    '/period',
    '50 servers in 5760 periods of 5m are 288000 values, and 100000 at most are returned: choose longer periods, a shorter range or a smaller page',
  ],
])('refuses %j', async (request, pointer, detail) => {
  const { status, body } = await ask(request);
  expect(status).toBe(422);
  expect(body.errors).toEqual([{ pointer, detail }]);
});
