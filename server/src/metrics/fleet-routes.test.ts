import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Client, startTestApp, type TestApp } from '../../test/app.ts';
import { addServer, sumUpMetrics } from '../../test/fleet.ts';
import type { OrganizationId, ServerId } from '../ids.ts';
import { sql } from '../platform/db.ts';
import type { Metrics } from './metric.ts';
import { insertMetrics } from './store.ts';

const summaryPath = '/api/v1/fleet/metrics/summary';
const aggregatedPath = '/api/v1/fleet/metrics/aggregated';
const minuteMs = 60_000;
const hourMs = 3_600_000;
let test: TestApp;
let viewer: Client;
let organizationId: OrganizationId;
let now: number;

beforeAll(async () => {
  test = await startTestApp();
  viewer = await test.as('viewer', 'ours');
  organizationId = await test.organization('ours');
  now = Date.now();
  const [one, two, late, slow, paused] = [
    await server('one', 'healthy', minuteMs, {
      cpu_percent: 10,
      active_users: 3,
      llm_requests: 500,
      llm_cost_usd: 1.25,
    }),
    await server('two', 'degraded', 30_000, { cpu_percent: 30, disk_percent: 50, llm_requests: 70 }),
    await server('late', 'unreachable', 4 * minuteMs, { cpu_percent: 99, llm_requests: 1000 }),
    await server('slow', 'healthy', 4 * minuteMs, { cpu_percent: 20 }, { interval: 120 }),
    await server('paused', 'unknown', 10_000, { cpu_percent: 99, llm_requests: 9 }, { status: 'inactive' }),
    await server('new', 'unknown', null, {}),
  ] as const;
  await server('theirs', 'critical', 0, { cpu_percent: 77 }, { organization: 'theirs' });
  await collected(one, 20 * hourMs, { cpu_percent: 10, llm_requests: 100, llm_cost_usd: 1 });
  await collected(one, minuteMs, { cpu_percent: 10, llm_requests: 500, llm_cost_usd: 1.25 });
  await collected(two, 2 * hourMs, { llm_requests: 50, active_users: 4 });
  await collected(two, 1.9 * hourMs, { llm_requests: 70, active_users: 6 });
  await collected(late, 30 * hourMs, { llm_requests: 1000 });
  await collected(slow, 4 * minuteMs, { cpu_percent: 20 });
  await collected(paused, 20 * hourMs, { llm_requests: 1 });
  await collected(paused, 10 * hourMs, { llm_requests: 9 });
  await sumUpMetrics(test.database.db);
});
afterAll(() => test.close());

async function server(
  name: string,
  health: string,
  agoMs: number | null,
  metrics: Metrics,
  { status = 'active', interval = null as number | null, organization = 'ours' } = {},
): Promise<ServerId> {
  const of = await test.organization(organization);
  const id = await addServer(test.database.db, of, { name, region: name });
  const told = agoMs === null ? null : new Date(now - agoMs);
  await test.database.db.system.execute(sql`
    update managed_servers set health_status = ${health}, status = ${status}, metrics_interval_seconds = ${interval},
      latest_metrics = ${told === null ? null : JSON.stringify(metrics)}::json, last_metrics_at = ${told}
    where organization_id = ${of} and id = ${id}`);
  return id;
}

const collected = (serverId: ServerId, agoMs: number, metrics: Metrics) =>
  insertMetrics(test.database.db.system, [
    { organizationId, serverId, at: new Date(now - agoMs), metrics, reportedAt: null },
  ]);

it('a fleet now: means and sums of who reports, each with how many they are of, and who does not is counted', async () => {
  const { status, body } = await viewer.get(summaryPath);
  expect(status).toBe(200);
  expect(body.summary.servers).toEqual({
    total: 6,
    active: 5,
    reporting: 3,
    silent: 1,
    never_reported: 1,
    oldest_metrics_at: new Date(now - 4 * minuteMs).toISOString(),
  });
  expect(body.summary.health).toEqual({ healthy: 2, degraded: 1, critical: 0, unreachable: 1, unknown: 1 });
  expect(body.summary.metrics).toMatchObject({
    cpu_percent: { mean: 20, servers: 3 },
    memory_percent: { mean: null, servers: 0 },
    disk_percent: { mean: 50, servers: 1 },
    active_users: { sum: 3, servers: 1 },
    total_users: { sum: 0, servers: 0 },
  });
});

it('requests and cost: what they have come to, also of who is silent, and how much of it is of the last day', async () => {
  const { llm } = (await viewer.get(summaryPath)).body.summary;
  expect(llm).toMatchObject({
    llm_requests: { total: 1570, servers: 3, recent: 420, recent_servers: 2 },
    llm_cost_usd: { total: 1.25, servers: 1, recent: 0.25, recent_servers: 1 },
  });
  const since = Date.parse(llm.recent_since);
  expect(since % hourMs).toBe(0);
  expect(Date.now() - since).toBeLessThanOrEqual(24 * hourMs);
  expect(Date.now() - since).toBeGreaterThan(23 * hourMs);
});

it('of a part of the fleet, of an empty one, and never of another organization', async () => {
  const of = async (client: Client, query: string) => (await client.get(summaryPath + query)).body.summary;
  expect((await of(viewer, '?region=two')).metrics.cpu_percent).toEqual({ mean: 30, servers: 1 });
  expect((await of(await test.as('viewer', 'theirs'), '')).metrics.cpu_percent).toEqual({
    mean: 77,
    servers: 1,
  });
  const empty = await of(await test.as('viewer', 'empty'), '');
  expect(empty.servers).toEqual({
    total: 0,
    active: 0,
    reporting: 0,
    silent: 0,
    never_reported: 0,
    oldest_metrics_at: null,
  });
  expect(empty.llm.llm_requests).toEqual({ total: 0, servers: 0, recent: 0, recent_servers: 0 });
});

it('the periods of a fleet: means of percentages, sums of counts, growth of counters, and of how many servers', async () => {
  const { status, body } = await viewer.get(`${aggregatedPath}?period=1h`);
  expect(status).toBe(200);
  // Of the silent server, the last that it told is older than a day; one is new.
  expect(body).toMatchObject({ period: '1h', servers: { total: 6, read: 6, without_data: 2 } });
  expect(body.count).toBe(body.metrics.length);
  const times = body.metrics.map((row: { timestamp: string }) => row.timestamp);
  expect(times).toEqual(times.toSorted().toReversed());
  const sum = (field: string) =>
    body.metrics.reduce((all: number, row: Record<string, number>) => all + (row[field] ?? 0), 0);
  expect(sum('llm_requests')).toBe(400 + 20 + 8);
  expect(sum('llm_cost_usd')).toBe(0.25);
  const hourOf = (agoMs: number) => new Date(Math.floor((now - agoMs) / hourMs) * hourMs).toISOString();
  const row = (agoMs: number) =>
    body.metrics.find(({ timestamp }: { timestamp: string }) => timestamp === hourOf(agoMs));
  expect(row(20 * hourMs)).toMatchObject({
    servers: 2,
    cpu_percent: 10,
    memory_percent: null,
    llm_requests: null,
  });
  expect(row(10 * hourMs)).toMatchObject({ servers: 1, cpu_percent: null, llm_requests: 8 });
});

it('periods can be chosen, and wrong ones are refused by name', async () => {
  const of = (query: string) => viewer.get(`${aggregatedPath}?${query}`);
  expect((await of('points=200')).body.period).toBe('15m');
  expect((await of('start_time=2026-11-01&end_time=2026-11-20')).body.period).toBe('1d');
  expect((await of('period=2h')).body.errors[0].pointer).toBe('/query/period');
  expect((await of('period=1m&start_time=2020-01-01')).body.errors[0].pointer).toBe('/query/period');
  expect((await of('start_time=2026-11-02&end_time=2026-11-01')).body.errors[0].pointer).toBe(
    '/query/start_time',
  );
  expect((await of('group_id=nonsense')).status).toBe(404);
});

it.each([summaryPath, `${aggregatedPath}?start_time=2026-10-01&end_time=2026-10-02&period=1h`])(
  '%s is not sent again to who has it',
  async path => {
    const first = await viewer.get(path);
    const etag = first.headers.get('etag')!;
    const again = await viewer.get(path, { 'if-none-match': `"other", ${etag}` });
    expect([again.status, again.text, again.headers.get('etag')]).toEqual([304, '', etag]);
    expect((await viewer.get(path, { 'if-none-match': '"other"' })).text).toBe(first.text);
  },
);
