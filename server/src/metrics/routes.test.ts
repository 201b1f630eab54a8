import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { type Client, startTestApp, type TestApp } from '../../test/app.ts';
import { addServer, sumUpMetrics } from '../../test/fleet.ts';
import type { OrganizationId, ServerId } from '../ids.ts';
import { ensurePartitionsFor } from '../retention/maintain.ts';
import { defaultRetention } from '../retention/retention.ts';
import { insertMetrics } from './store.ts';

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
    table: 'server_metrics_aggregated',
    instants: [instant],
    policy: { interval: 'month', retention: defaultRetention },
    now: instant,
  });
});
afterAll(() => test.close());
beforeEach(async () => {
  serverId = await addServer(test.database.db, organizationId);
  const rows = [0, 1, 2, 3, 4, 5].map(count => ({
    organizationId,
    serverId,
    at: minute(count),
    metrics: { cpu_percent: 10 * count, network_rx_bytes: 1_000 * count },
    reportedAt: null,
  }));
  const db = test.database.db.system;
  expect(await insertMetrics(db, rows)).toBe(6);
  await sumUpMetrics(test.database.db);
});

const minute = (count: number): Date => new Date(Date.parse('2026-11-24T12:00:00Z') + count * 60_000);
const path = (id: string, query = ''): string => `/api/v1/fleet/servers/${id}/metrics${query}`;

async function cpu(query: string): Promise<unknown> {
  const { status, body, text } = await viewer.get(path(serverId, query));
  expect(status, text).toBe(200);
  return body.metrics.map((row: { cpu_percent: number }) => row.cpu_percent);
}

it('gives what was collected, newest first, and null where nothing was reported', async () => {
  const { body } = await viewer.get(path(serverId, '?period=1m&limit=1440'));
  expect(body).toMatchObject({ server_id: serverId, period: '1m', count: 6, truncated: false });
  expect(body.metrics[0]).toMatchObject({
    server_id: serverId,
    timestamp: '2026-11-24T12:05:00.000Z',
    period: '1m',
    cpu_percent: 50,
    memory_percent: null,
  });
  expect((await viewer.get(path(serverId))).body).toEqual(body);
});

it.each(['1m', '5m', '1h', '1d'])('has no row of %s where none begins in the range', async period => {
  expect(
    await cpu(`?period=${period}&start_time=2026-11-24T12:00:01Z&end_time=2026-11-24T12:00:02Z`),
  ).toEqual([]);
});

it('gives the newest rows where there are more than asked for, and says so', async () => {
  const { body } = await viewer.get(path(serverId, '?limit=2'));
  expect(body).toMatchObject({
    count: 2,
    truncated: true,
    metrics: [{ cpu_percent: 50 }, { cpu_percent: 40 }],
  });
});

it('takes times with and without a zone; both ends belong to the range', async () => {
  expect(await cpu('?start_time=2026-11-24T12:01:00&end_time=2026-11-24T12:03:00Z')).toEqual([30, 20, 10]);
  expect(await cpu('?start_time=2026-11-24T14:04:00%2B02:00')).toEqual([50, 40]);
  expect(await cpu('?end_time=2026-11-24T12:00:00')).toEqual([0]);
  expect(await cpu('?end_time=2026-11-24')).toEqual([]);
  const always = '?start_time=0000-01-01T00:00:00%2B23:59&end_time=9999-12-31T23:59:59-23:59';
  expect(await cpu(always)).toHaveLength(6);
  expect(await cpu(`${always}&period=1d`)).toEqual([25]);
});

it('sums up longer periods', async () => {
  const { body } = await viewer.get(path(serverId, '?period=5m'));
  expect(body).toMatchObject({
    period: '5m',
    count: 2,
    metrics: [
      { timestamp: '2026-11-24T12:05:00.000Z', period: '5m', cpu_percent: 50, network_rx_bytes: 5_000 },
      { timestamp: '2026-11-24T12:00:00.000Z', period: '5m', cpu_percent: 20, network_rx_bytes: 4_000 },
    ],
  });
});

it('chooses the period when asked: the shortest of which the range has no more than the wanted points', async () => {
  const range = 'start_time=2026-11-24T12:00:00Z&end_time=2026-11-24T12:09:00Z';
  const chosen = async (query: string) => {
    const { body } = await viewer.get(path(serverId, `?period=auto&${query}`));
    return [body.period, body.count, body.truncated];
  };
  expect(await chosen(range)).toEqual(['1m', 6, false]);
  expect(await chosen(`${range}&points=10`)).toEqual(['1m', 6, false]);
  expect(await chosen(`${range}&points=9`)).toEqual(['5m', 2, false]);
  expect(await chosen(`${range}&points=1`)).toEqual(['15m', 1, false]);
  expect(await chosen(`${range}&limit=2`)).toEqual(['1m', 2, true]);
  expect((await chosen('start_time=2026-11-01&end_time=2026-11-30'))[0]).toBe('1d');
  // Without a range the last day, of which 500 points are five minutes each.
  expect((await chosen(''))[0]).toBe('5m');
});

it.each([
  ['/query/points', '?points=10'],
  ['/query/points', '?period=auto&points=0'],
  ['/query/period', '?period=2m'],
  ['/query/limit', '?limit=0'],
  ['/query/limit', '?limit=10001'],
  ['/query/start_time', '?start_time=yesterday'],
  ['/query/end_time', '?end_time=2026-02-30'],
  ['/query/start_time', '?start_time=2026-11-25&end_time=2026-11-24'],
  ['/query/since', '?since=2026-11-24'],
])('names %s as what is wrong with %s', async (pointer, query) => {
  const answer = await viewer.get(path(serverId, query));
  expect(answer.status).toBe(422);
  expect(answer.body.errors).toContainEqual({ pointer, detail: expect.any(String) });
});

it("answers another organization's server exactly like a missing or malformed one", async () => {
  const stranger = await test.as('admin', 'other');
  const answers = await Promise.all(
    [serverId, '019aa000-0000-7000-8000-000000000000', 'not-an-id'].map(id => stranger.get(path(id))),
  );
  for (const { status, body } of answers) {
    expect({ status, detail: body.detail }).toEqual({ status: 404, detail: 'Server not found' });
  }
});
