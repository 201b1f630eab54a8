import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { type Client, startTestApp, type TestApp } from '../../test/app.ts';
import { addServer } from '../../test/fleet.ts';
import type { OrganizationId, ServerId } from '../ids.ts';
import { ensurePartitionsFor } from '../retention/maintain.ts';
import { defaultRetention } from '../retention/retention.ts';
import { insertHealthChecks } from './history.ts';

let test: TestApp;
let viewer: Client;
let organizationId: OrganizationId;
let serverId: ServerId;
beforeAll(async () => {
  test = await startTestApp();
  viewer = await test.as('viewer');
  organizationId = await test.organization('default');
  const instant = minute(0);
  await ensurePartitionsFor(test.database.db.system, {
    table: 'server_health_checks',
    instants: [instant],
    policy: { interval: 'month', retention: defaultRetention },
    now: instant,
  });
});
afterAll(() => test.close());
beforeEach(async () => {
  serverId = await addServer(test.database.db, organizationId);
});

const minute = (count: number): Date => new Date(Date.parse('2026-11-24T12:00:00Z') + count * 60_000);
const path = (id: string, query = ''): string => `/api/v1/fleet/servers/${id}/health-history${query}`;

async function checkEveryMinute(minutes: number): Promise<void> {
  const rows = Array.from({ length: minutes }, (_row, count) => ({
    organizationId,
    serverId,
    at: minute(count),
    status: 'degraded' as const,
    reason: 'component_failed',
    responseTimeMs: count,
    databaseHealthy: true,
    redisHealthy: true,
    servicesHealthy: false,
    errorMessage: 'services: cron',
    errorDetails: { services: 'cron' },
  }));
  expect(await insertHealthChecks(test.database.db.system, rows)).toBe(minutes);
}

it('gives the last hundred checks, newest first, and says that there are more', async () => {
  await checkEveryMinute(101);
  const { body } = await viewer.get(path(serverId));
  expect(body).toMatchObject({ server_id: serverId, count: 100, truncated: true });
  expect(body.health_checks[0]).toEqual({
    id: expect.any(Number),
    server_id: serverId,
    timestamp: '2026-11-24T13:40:00.000Z',
    status: 'degraded',
    reason: 'component_failed',
    response_time_ms: 100,
    database_healthy: true,
    redis_healthy: true,
    services_healthy: false,
    error_message: 'services: cron',
    error_details: { services: 'cron' },
    created_at: expect.any(String),
  });
  expect((await viewer.get(path(serverId, '?limit=101'))).body).toMatchObject({
    count: 101,
    truncated: false,
  });
});

it('takes times with and without a zone; both ends belong to the range', async () => {
  await checkEveryMinute(5);
  const times = async (query: string): Promise<unknown> =>
    (await viewer.get(path(serverId, query))).body.health_checks.map(
      (check: { response_time_ms: number }) => check.response_time_ms,
    );
  expect(await times('?start_time=2026-11-24T12:01:00&end_time=2026-11-24T13:03:00%2B01:00')).toEqual([
    3, 2, 1,
  ]);
  expect(await times('?start_time=2026-11-24T12:04:00Z')).toEqual([4]);
});

it.each([
  ['/query/limit', '?limit=0'],
  ['/query/limit', '?limit=1001'],
  ['/query/start_time', '?start_time=1732449600'],
  ['/query/start_time', '?start_time=2026-11-25&end_time=2026-11-24'],
])('names %s as what is wrong with %s', async (pointer, query) => {
  const answer = await viewer.get(path(serverId, query));
  expect(answer.status).toBe(422);
  expect(answer.body.errors).toContainEqual({ pointer, detail: expect.any(String) });
});

it('tells the health of a server now, before and after its first check', async () => {
  const health = async () => (await viewer.get(`/api/v1/fleet/servers/${serverId}/health`)).body;
  expect(await health()).toMatchObject({
    server_id: serverId,
    health_status: 'unknown',
    reason: 'not_checked',
    last_health_check_at: null,
    latest_check: null,
  });
  await checkEveryMinute(2);
  expect(await health()).toMatchObject({
    latest_check: { timestamp: '2026-11-24T12:01:00.000Z', status: 'degraded' },
  });
});

it("answers another organization's server exactly like a missing or malformed one", async () => {
  const stranger = await test.as('admin', 'other');
  for (const id of [serverId, '019aa000-0000-7000-8000-000000000000', 'not-an-id']) {
    for (const each of [path(id), `/api/v1/fleet/servers/${id}/health`]) {
      const { status, body } = await stranger.get(each);
      expect({ status, detail: body.detail }).toEqual({ status: 404, detail: 'Server not found' });
    }
  }
});

it('all of a range can be downloaded, however many there are', async () => {
  const minutes = 1_500;
  await checkEveryMinute(minutes);
  const lines = async (query: string): Promise<string[]> => {
    const response = await fetch(
      `${test.url}/api/v1/fleet/servers/${serverId}/health-history/export${query}`,
      {
        headers: { authorization: `Bearer ${viewer.token}` },
      },
    );
    expect(response.status).toBe(200);
    expect(response.headers.get('content-disposition')).toMatch(
      new RegExp(`^attachment; filename="health-${serverId}\\.(csv|ndjson)"$`),
    );
    return (await response.text()).trimEnd().split('\n');
  };
  const range = `?start_time=${minute(0).toISOString()}&end_time=${minute(minutes).toISOString()}`;
  const csv = await lines(range);
  expect(csv).toHaveLength(1 + minutes);
  expect(csv[0]).toContain('id,server_id,timestamp,status,');
  const ndjson = await lines(`${range}&format=ndjson`);
  expect(new Set(ndjson.map(line => (JSON.parse(line) as { id: number }).id)).size).toBe(minutes);
});

it('what is known already is not sent again', async () => {
  await checkEveryMinute(3);
  // Within five minutes: what is summed up meanwhile changes nothing.
  const range = `?start_time=${minute(0).toISOString()}&end_time=${minute(4).toISOString()}`;
  const paths = [path(serverId, range), `/api/v1/fleet/servers/${serverId}/uptime${range}`];
  for (const each of paths) {
    const { status, headers } = await viewer.get(each);
    expect(status).toBe(200);
    const again = await viewer.get(each, { 'if-none-match': headers.get('etag')! });
    expect(again.status).toBe(304);
  }
});
