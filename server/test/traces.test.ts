import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSignInLink } from '../src/bootstrap.ts';
import { announceOnce } from '../src/events/feed.ts';
import { forgetOldJobs } from '../src/health/checks.ts';
import { insertHealthChecks } from '../src/health/history.ts';
import { newId, type OrganizationId, type ServerId } from '../src/ids.ts';
import { insertMetrics } from '../src/metrics/store.ts';
import { deleteOrganization } from '../src/organizations/deletion-store.ts';
import { ensureOrganization } from '../src/organizations/store.ts';
import { type SystemDb, sql } from '../src/platform/db.ts';
import { ensurePartitionsFor } from '../src/retention/maintain.ts';
import { workers } from '../src/workers.ts';
import { type Client, startTestApp, type TestApp } from './app.ts';
import { until } from './fakes/until.ts';
import { healthCheck, sumUpHealth, sumUpMetrics } from './fleet.ts';
import { registration } from './route-examples.ts';
import { fillOrganization, rowsOf, tablesThatMention, tenantTables } from './tenants.ts';

const api = '/api/v1/fleet';
const hourMs = 3_600_000;
// Of yesterday too, at whatever hour it is: a day is summed up when it is over.
const times = [0, 1, 2, 3, 24].map(hours => new Date(Date.now() - hours * hourMs));
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

/** Upkeep, until a statement finds nothing that waits for it. The program's own may be at it. */
const runUntilNone = (task: string, waiting: string): Promise<unknown> =>
  until(`nothing to be left to ${task}`, async () => {
    await workers(test.app.context)
      .find(({ name }) => name === task)!
      .runOnce();
    return (await db.many(sql.raw(waiting))).length === 0;
  });

const clear = (): Promise<unknown> =>
  runUntilNone(
    'deleted servers',
    "select from deleted_servers where cleared_at is null or deleted_at < now() - interval '1 hour'",
  );

it('of a server that is deleted nothing is left in any table, and of its neighbour all', async () => {
  const [gone, stays] = [await serverWithEverything('gone'), await serverWithEverything('stays')];
  const before = await tablesThatMention(db, gone);
  expect(before).toEqual(await tablesThatMention(db, stays));
  expect(before.length, before.join()).toBeGreaterThan(13);

  expect((await admin.delete(`${api}/servers/${gone}`)).status).toBe(204);
  expect((await admin.get(`${api}/servers/${gone}`)).status).toBe(404);
  await clear();
  await sumUpHealth(test.database.db);
  await sumUpMetrics(test.database.db);
  // Others may still have to read that it has gone, and how a check of all went.
  expect(await tablesThatMention(db, gone)).toEqual(['deleted_servers', 'events', 'health_check_jobs']);
  await pass(2);
  await clear();
  await forgetOldJobs(db, new Date(Date.now() + 25 * hourMs));
  expect(await tablesThatMention(db, gone)).toEqual([]);
  expect(await tablesThatMention(db, stays)).toEqual(before.filter(table => table !== 'health_check_jobs'));
});

describe('of an organization that is deleted', () => {
  const name = 'gone-for-ever';
  let ids: string[];
  let id: OrganizationId;
  let token: Client;
  let cookie: string;
  let link: string;
  let neighbour: { id: OrganizationId; rows: Record<string, string>; tables: string[] };
  const nobody = (): Client => test.with(null);
  const neighbours = async (): Promise<Record<string, string>> => {
    // What upkeep changes meanwhile of whoever is there.
    const {
      api_tokens: _used,
      deleted_servers: _cleared,
      ...rows
    } = await rowsOf(test.database.db, neighbour.id);
    return rows;
  };

  beforeAll(async () => {
    const { server, group, job, token: viewer } = await fillOrganization(test, name);
    id = await test.organization(name);
    ids = [id, server, group, job, viewer];
    token = await test.as('admin', name);
    const signedIn = await nobody().post('/api/v1/session', { token: token.token });
    cookie = signedIn.headers.get('set-cookie')!.split(';')[0]!;
    link = await createSignInLink(test.app.context, id);
    await fillOrganization(test, 'stays-for-ever');
    neighbour = { id: await test.organization('stays-for-ever'), rows: {}, tables: [] };
    neighbour.tables = await tablesThatMention(db, neighbour.id);
    neighbour.rows = await neighbours();
    expect((await token.get(`${api}/servers`)).status).toBe(200);
    expect((await nobody().get(`${api}/servers`, { cookie })).status).toBe(200);
  });

  it('nobody is known any more, and its streams end, as soon as a process hears of it', async () => {
    const stream = await fetch(`${test.url}${api}/events`, {
      headers: { authorization: `Bearer ${token.token}` },
    });
    const told = stream.text();
    expect(await deleteOrganization(db, id, new Date())).toEqual({ id, name });
    await announceOnce(db);
    expect(await told).toMatch(/event: organization.deleted\ndata: .*\n\n$/);
    expect((await token.get(`${api}/servers`)).status).toBe(401);
    expect((await nobody().get(`${api}/servers`, { cookie })).status).toBe(401);
    expect((await nobody().post('/api/v1/session', { link })).status).toBe(401);
    expect((await nobody().post('/api/v1/session', { token: token.token })).status).toBe(401);
    expect(await deleteOrganization(db, id, new Date())).toBeNull();
  });

  it('another one may have the name at once', async () => {
    const at = new Date();
    const other = await ensureOrganization(db, { id: newId<OrganizationId>(at.getTime()), name, at });
    expect(other.id).not.toBe(id);
    expect(await ensureOrganization(db, { id, name, at })).toEqual(other);
    expect(await deleteOrganization(db, other.id, at)).toEqual(other);
  });

  it('nothing is left in any table, and of its neighbour all', async () => {
    const tables = (await tenantTables(test.database.db)).map(({ table }) => table).toSorted();
    expect(await tablesThatMention(db, neighbour.id)).toEqual(tables);
    const deleted = sql`update organizations set deleted_at = deleted_at - interval '2 minutes' where deleted_at is not null`;
    await db.execute(deleted);
    const removal = 'deleted organizations';
    await runUntilNone(
      removal,
      'select from organizations where deleted_at is not null and cleared_at is null',
    );
    await sumUpHealth(test.database.db);
    await sumUpMetrics(test.database.db);
    // Others may still have to read that it has gone, and its servers.
    expect(await tablesThatMention(db, id)).toEqual(['events', 'organizations']);
    await db.execute(sql`update organizations set cleared_at = cleared_at - interval '61 minutes'`);
    await runUntilNone(removal, 'select from organizations where deleted_at is not null');
    for (const each of [...ids, name]) expect(await tablesThatMention(db, each), each).toEqual([]);
    expect(await tablesThatMention(db, neighbour.id)).toEqual(neighbour.tables);
    expect(await neighbours()).toEqual(neighbour.rows);
  });
});
