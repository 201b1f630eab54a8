import { afterAll, beforeAll, expect, it } from 'vitest';
import { forgetOldJobs } from '../src/health/checks.ts';
import { insertHealthChecks } from '../src/health/history.ts';
import type { OrganizationId, ServerId } from '../src/ids.ts';
import { insertMetrics } from '../src/metrics/store.ts';
import { type SystemDb, sql } from '../src/platform/db.ts';
import { ensurePartitionsFor } from '../src/retention/maintain.ts';
import { workers } from '../src/workers.ts';
import { type Client, startTestApp, type TestApp } from './app.ts';
import { until } from './fakes/until.ts';
import { healthCheck, sumUpHealth, sumUpMetrics } from './fleet.ts';
import { registration } from './route-examples.ts';

const api = '/api/v1/fleet';
const hourMs = 3_600_000;
const times = [0, 1, 2, 3].map(hours => new Date(Date.now() - hours * hourMs));
let test: TestApp;
let db: SystemDb;
let admin: Client;
beforeAll(async () => {
  test = await startTestApp({ settings: { role: 'api' } });
  db = test.database.db.system;
  admin = await test.as('admin');
  const { settings } = test.app.context;
  const policy = { interval: settings.partitionInterval, retention: settings.retention };
  // The first hours of a month have their history in the one before.
  for (const table of ['server_health_checks', 'server_metrics_aggregated'] as const)
    await ensurePartitionsFor(db, { table, instants: times, now: new Date(), policy });
});
afterAll(() => test.close());

/** In which tables, partitions by themselves, some row has this text anywhere. */
async function tablesThatMention(text: string): Promise<string[]> {
  const tables = await db.many(sql<{ name: string }>`
    select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' order by relname`);
  const found: string[] = [];
  for (const { name } of tables) {
    const { rows } = await db.one(sql<{ rows: number }>`
      select count(*)::int as rows from ${sql.table(name)} t where t::text like ${`%${text}%`}`);
    if (rows > 0) found.push(name.replace(/_\d{4}_\d\d$/, ''));
  }
  return [...new Set(found)];
}

/** A server with everything that can be known of one. */
async function serverWithEverything(name: string): Promise<ServerId> {
  const server = { ...registration, name, api_url: `https://${name}.example.com` };
  const id: ServerId = (await admin.post(`${api}/servers`, server)).body.server.id;
  const group = (await admin.post(`${api}/groups`, { name })).body.group.id;
  await admin.post(`${api}/groups/${group}/servers`, { server_ids: [id] });
  await admin.post(`${api}/health-check/all`, undefined, { prefer: 'respond-async' });
  const { organization } = await db.one(sql<{ organization: OrganizationId }>`
    select organization_id as organization from managed_servers where id = ${id}`);
  const of = { organizationId: organization, serverId: id };
  await insertHealthChecks(
    db,
    times.map(at => healthCheck(of, at)),
  );
  await insertMetrics(
    db,
    times.map(at => ({ ...of, at, metrics: { cpu_percent: 5 }, reportedAt: null })),
  );
  await sumUpHealth(test.database.db);
  await sumUpMetrics(test.database.db);
  return id;
}

const pass = (hours: number): Promise<number> =>
  db.execute(sql`update deleted_servers set deleted_at = deleted_at - ${hours}::int * interval '1 hour'`);

/** Upkeep, until it has looked through the queue. The program's own may be at it. */
const clear = (): Promise<unknown> =>
  until('the queue to be looked through', async () => {
    await workers(test.app.context)
      .find(({ name }) => name === 'deleted servers')!
      .runOnce();
    const waiting = sql`select from deleted_servers where cleared_at is null or deleted_at < now() - interval '1 hour'`;
    return (await db.many(waiting)).length === 0;
  });

it('of a server that is deleted nothing is left in any table, and of its neighbour all', async () => {
  const [gone, stays] = [await serverWithEverything('gone'), await serverWithEverything('stays')];
  const before = await tablesThatMention(gone);
  expect(before).toEqual(await tablesThatMention(stays));
  expect(before.length, before.join()).toBeGreaterThan(13);

  expect((await admin.delete(`${api}/servers/${gone}`)).status).toBe(204);
  expect((await admin.get(`${api}/servers/${gone}`)).status).toBe(404);
  await clear();
  await sumUpHealth(test.database.db);
  await sumUpMetrics(test.database.db);
  // Others may still have to read that it has gone, and how a check of all went.
  expect(await tablesThatMention(gone)).toEqual(['deleted_servers', 'events', 'health_check_jobs']);
  await pass(2);
  await clear();
  await forgetOldJobs(db, new Date(Date.now() + 25 * hourMs));
  expect(await tablesThatMention(gone)).toEqual([]);
  expect(await tablesThatMention(stays)).toEqual(before.filter(table => table !== 'health_check_jobs'));
});
