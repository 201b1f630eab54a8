import type { TSchema } from 'typebox';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Client, startTestApp, type TestApp } from '../../test/app.ts';
import { addServer, healthCheck, sumUpHealth, sumUpMetrics } from '../../test/fleet.ts';
import { nameOf } from '../../test/route-examples.ts';
import { insertHealthChecks } from '../health/history.ts';
import type { OrganizationId, ServerId } from '../ids.ts';
import { insertMetrics } from '../metrics/store.ts';
import { type SystemDb, sql } from '../platform/db.ts';
import { ensurePartitionsFor } from '../retention/maintain.ts';
import { defaultRetention } from '../retention/retention.ts';
import { routes } from '../routes.ts';

const api = '/api/v1/fleet';
const dayMs = 86_400_000;
const midnight = Math.floor(Date.now() / dayMs) * dayMs;
/** Some minutes at noon, so many days ago. */
const minutesOf = (daysAgo: number): Date[] =>
  [0, 1, 2, 3].map(minute => new Date(midnight - (daysAgo - 0.5) * dayMs + minute * 60_000));
let test: TestApp;
let db: SystemDb;
beforeAll(async () => {
  test = await startTestApp();
  db = test.database.db.system;
  for (const table of ['server_health_checks', 'server_metrics_aggregated'] as const)
    await ensurePartitionsFor(db, {
      table,
      instants: [...minutesOf(5), ...minutesOf(1)],
      now: new Date(),
      policy: { interval: 'month', retention: defaultRetention },
    });
});
afterAll(() => test.close());

type Tenant = { admin: Client; viewer: Client; organizationId: OrganizationId; serverId: ServerId };

/** An organization with one server that has a history of these days. */
async function tenantWith(name: string, daysAgo: readonly number[]): Promise<Tenant> {
  const [admin, viewer] = [await test.as('admin', name), await test.as('viewer', name)];
  const organizationId = await test.organization(name);
  const serverId = await addServer(test.database.db, organizationId, { name: 'one' });
  const instants = daysAgo.flatMap(minutesOf);
  await insertHealthChecks(
    db,
    instants.map(at => healthCheck({ organizationId, serverId }, at, { responseTimeMs: 7 })),
  );
  await insertMetrics(
    db,
    instants.map(at => ({
      organizationId,
      serverId,
      at,
      metrics: { cpu_percent: at.getUTCDate(), network_rx_bytes: 1_000 * at.getUTCMinutes() },
      reportedAt: null,
    })),
  );
  await sumUpHealth(test.database.db);
  await sumUpMetrics(test.database.db);
  return { admin, viewer, organizationId, serverId };
}

const choose = async ({ admin }: Tenant, days: object): Promise<void> => {
  const { status, text } = await admin.put(`${api}/retention`, days);
  expect(status, text).toBe(200);
};

const shortest = { checks: 3, metrics: 3, '5m': 3, '15m': 3, '1h': 3, '1d': 3 };
const range = {
  start_time: new Date(midnight - 8 * dayMs).toISOString(),
  end_time: new Date().toISOString(),
};
const field = { field: 'network_rx_bytes', value: 'increase', period: '1d' };

/** They tell of the newest check, of whenever it is. */
const newest = ['GET /api/v1/fleet/servers/:id/health', 'GET /api/v1/fleet/health'];

/** How each route is asked that tells of a range of history, or of the newest of it. */
const questions: Record<string, Record<string, string | object>[]> = {
  'GET /api/v1/fleet/servers/:id/health': [{}],
  'GET /api/v1/fleet/health': [{}],
  'GET /api/v1/fleet/servers/:id/health-history': [{}, range],
  'GET /api/v1/fleet/servers/:id/health-history/export': [{}, range],
  'GET /api/v1/fleet/servers/:id/uptime': [range],
  'GET /api/v1/fleet/health/overview': [range],
  'POST /api/v1/fleet/health/query': [range, { ...range, period: '1h' }],
  'GET /api/v1/fleet/servers/:id/metrics': [
    {},
    { ...range, period: 'auto' },
    ...['1m', '5m', '15m', '1h', '1d'].map(period => ({ period })),
  ],
  'GET /api/v1/fleet/servers/:id/metrics/export': ['1m', '5m', '15m', '1h', '1d'].map(period => ({ period })),
  'POST /api/v1/fleet/metrics/query': ['server', 'fleet', 'total'].map(by => ({ ...range, ...field, by })),
  'GET /api/v1/fleet/metrics/aggregated': [{ ...range, period: '1h' }],
  'POST /api/v1/fleet/health/query/export': [{ ...range, period: '1h' }],
  'POST /api/v1/fleet/metrics/query/export': ['server', 'fleet', 'total'].map(by => ({
    ...range,
    ...field,
    by,
  })),
  'GET /api/v1/fleet/metrics/aggregated/export': [{ ...range, period: '1h' }],
};

/** All answers to a route's questions, without what two organizations always differ in. */
async function answers({ viewer, serverId }: Tenant, name: string): Promise<string[]> {
  const [method, path] = name.replace(':id', serverId).split(' ') as [string, string];
  const asked = questions[name]!.map(async question => {
    const { status, text } =
      method === 'GET'
        ? await viewer.get(`${path}?${String(new URLSearchParams(question as Record<string, string>))}`)
        : await viewer.post(path, question);
    expect(status, text).toBe(200);
    return text
      .replaceAll(serverId, 'the server')
      .replaceAll(/"id" ?: ?\d+|^\d+(?=,)|"created_at" ?: ?"[^"]+"|[^,]+Z(?=\r$)/gm, '');
  });
  return Promise.all(asked);
}

describe('an organization that keeps less than the installation', () => {
  let withMore: Tenant;
  let withLess: Tenant;
  beforeAll(async () => {
    withMore = await tenantWith('more', [5, 1]);
    withLess = await tenantWith('less', [1]);
  });

  it('is asked by every route that tells of a range', () => {
    const hasRange = (schema: TSchema | undefined): boolean =>
      schema !== undefined && JSON.stringify(schema).includes('"start_time"');
    const ranged = routes.filter(({ query, body }) => hasRange(query) || hasRange(body)).map(nameOf);
    expect([...ranged, ...newest].toSorted()).toEqual(Object.keys(questions).toSorted());
  });

  it.each(Object.keys(questions))('%s tells the same as if there had never been more', async name => {
    await choose(withMore, {});
    await choose(withLess, shortest);
    const all = await answers(withMore, name);
    await choose(withMore, shortest);
    const [kept, expected] = [await answers(withMore, name), await answers(withLess, name)];
    expect(kept).toEqual(expected);
    // The newest check is there in any case.
    if (!newest.includes(name)) expect(all).not.toEqual(kept);
  });
});

it('is not told the newest check of a server either where that is older', async () => {
  const tenant = await tenantWith('long ago', [5]);
  const latest = async (): Promise<unknown[]> => [
    (await tenant.viewer.get(`${api}/servers/${tenant.serverId}/health`)).body.latest_check,
    (await tenant.viewer.get(`${api}/health`)).body.servers[0].latest_check,
  ];
  expect(await latest()).toMatchObject([{ status: 'healthy' }, { status: 'healthy' }]);
  await choose(tenant, shortest);
  expect(await latest()).toEqual([null, null]);
});

describe('the retention of an organization', () => {
  it('is that of the installation until it chooses', async () => {
    const viewer = await test.as('viewer', 'fresh');
    const { retention } = (await viewer.get(`${api}/retention`)).body;
    expect(Object.keys(retention)).toEqual(['checks', 'metrics', '5m', '15m', '1h', '1d']);
    expect(retention.checks).toEqual({
      days: 30,
      own_days: null,
      limit_days: 30,
      kept_from: new Date(midnight - 30 * dayMs).toISOString(),
    });
  });

  it('is of its own, told to others as an event, and comes back with more days', async () => {
    const tenant = await tenantWith('its own', [5, 1]);
    const other = await tenantWith('another', [5, 1]);
    const checks = async ({ viewer, serverId }: Tenant): Promise<number> =>
      (await viewer.get(`${api}/servers/${serverId}/health-history`)).body.count;
    await choose(tenant, { checks: 4 });
    expect(await checks(tenant)).toBe(4);
    expect(await checks(other)).toBe(8);
    expect((await tenant.viewer.get(`${api}/retention`)).body.retention).toMatchObject({
      checks: { days: 4, own_days: 4, limit_days: 30 },
      metrics: { days: 30, own_days: null },
    });
    expect(
      await db.one(sql`
        select data from events where organization_id = ${tenant.organizationId}
          and type = 'organization.retention_changed' and subject_id = ${tenant.organizationId}`),
    ).toEqual({ data: { days: { checks: 4 } } });
    await choose(tenant, { metrics: 4 });
    expect(await checks(tenant)).toBe(8);
  });

  it('leaves an archive that was brought back to be read by who chose nothing', async () => {
    const tenant = await tenantWith('archived', [1]);
    const { organizationId, serverId, viewer } = tenant;
    const at = new Date(midnight - 40 * dayMs);
    // Where the installation keeps it no longer, nobody makes a partition but who brings one back.
    const policy = { interval: 'month', retention: { ...defaultRetention, checks: 90 } } as const;
    await ensurePartitionsFor(db, { table: 'server_health_checks', instants: [at], now: new Date(), policy });
    await insertHealthChecks(db, [healthCheck({ organizationId, serverId }, at)]);
    const oldest = async (): Promise<string> =>
      (await viewer.get(`${api}/servers/${serverId}/health-history`)).body.health_checks.at(-1).timestamp;
    expect(await oldest()).toBe(at.toISOString());
    await choose(tenant, { checks: 30 });
    expect(await oldest()).not.toBe(at.toISOString());
  });

  it.each([
    [{ checks: 2 }, '/checks', 'must be >= 3'],
    [{ checks: 31 }, '/checks', 'must be at most 30, for which the installation keeps it'],
    [{ '1d': 9_999 }, '/1d', 'must be at most 1830, for which the installation keeps it'],
    [{ '1h': 100 }, '/1h', 'must keep 1h (100 days) for at least as long as 15m (180 days)'],
    [{ checks: 7.5 }, '/checks', 'must be integer'],
    [{ checks: null }, '/checks', 'must be integer'],
    [{ events: 30 }, '/events', ''],
  ])('%j is refused, with its field and limit, and changes nothing', async (body, pointer, detail) => {
    const admin = await test.as('admin', 'refused');
    expect((await admin.put(`${api}/retention`, { checks: 9 })).status).toBe(200);
    const refused = await admin.put(`${api}/retention`, body);
    expect(refused.status).toBe(422);
    expect(refused.body.errors[0].pointer).toBe(pointer);
    expect(refused.body.errors[0].detail).toContain(detail);
    expect((await admin.get(`${api}/retention`)).body.retention.checks.days).toBe(9);
  });
});
