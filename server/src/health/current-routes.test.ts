import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Client, startTestApp, type TestApp } from '../../test/app.ts';
import { addServer, healthCheck } from '../../test/fleet.ts';
import type { OrganizationId, ServerId } from '../ids.ts';
import { type SystemDb, sql } from '../platform/db.ts';
import { insertHealthChecks } from './history.ts';

let test: TestApp;
let db: SystemDb;
let viewer: Client;
let organizationId: OrganizationId;
const ids: ServerId[] = [];
const minute = (count: number): Date => new Date(Math.floor(Date.now() / 60_000) * 60_000 - count * 60_000);
beforeAll(async () => {
  test = await startTestApp();
  db = test.database.db.system;
  viewer = await test.as('viewer');
  organizationId = await test.organization('default');
  for (const name of ['b', 'a', 'c'])
    ids.push(await addServer(test.database.db, organizationId, { name, tags: name === 'c' ? ['web'] : [] }));
  await insertHealthChecks(db, [
    healthCheck({ organizationId, serverId: ids[0]! }, minute(2), { responseTimeMs: 5 }),
    healthCheck({ organizationId, serverId: ids[0]! }, minute(1), {
      status: 'unreachable',
      reason: 'timeout',
      errorMessage: 'no answer',
      databaseHealthy: false,
    }),
    healthCheck({ organizationId, serverId: ids[2]! }, minute(3)),
  ]);
  await db.execute(sql`
    update managed_servers set health_status = 'healthy', health_reason = 'ok', health_since = ${minute(9)} where id = ${ids[0]}`);
});
afterAll(() => test.close());

const list = async (query = '') => (await viewer.get(`/api/v1/fleet/health${query}`)).body;
const namesOf = ({ servers }: { servers: { name: string }[] }): string[] => servers.map(({ name }) => name);

it('tells of each server by name what is believed, beside what its newest check found', async () => {
  const body = await list();
  expect(namesOf(body)).toEqual(['a', 'b', 'c']);
  expect(body.count).toBe(3);
  expect(body.servers[1]).toEqual({
    server_id: ids[0],
    name: 'b',
    health_status: 'healthy',
    reason: 'ok',
    since: minute(9).toISOString(),
    latest_check: {
      timestamp: minute(1).toISOString(),
      status: 'unreachable',
      reason: 'timeout',
      response_time_ms: null,
      database_healthy: false,
      redis_healthy: null,
      services_healthy: null,
      error_message: 'no answer',
    },
  });
  expect(body.servers[0]).toMatchObject({ health_status: 'unknown', latest_check: null });
});

it('is read page by page, and narrowed like any list', async () => {
  const first = await list('?limit=2');
  expect([namesOf(first), first.count]).toEqual([['a', 'b'], 2]);
  const second = await list(`?limit=2&cursor=${encodeURIComponent(first.next_cursor)}`);
  expect([namesOf(second), second.next_cursor]).toEqual([['c'], null]);
  expect(namesOf(await list('?tags=web'))).toEqual(['c']);
  expect(await list('?region=nowhere')).toEqual({ servers: [], count: 0, next_cursor: null });
});

it('is of one organization, and refuses what is no page', async () => {
  const other = await test.as('viewer', 'other');
  expect((await other.get('/api/v1/fleet/health')).body).toEqual({
    servers: [],
    count: 0,
    next_cursor: null,
  });
  for (const query of ['limit=0', 'limit=1001', 'cursor=nonsense'])
    expect((await viewer.get(`/api/v1/fleet/health?${query}`)).status, query).toBe(422);
  expect((await other.get('/api/v1/fleet/health?group_id=nonsense')).status).toBe(404);
});
