import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';
import { routes } from '../src/routes.ts';
import { type Answer, type Client, startTestApp, type TestApp } from './app.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';
import { type DatabaseProxy, startDatabaseProxy } from './fakes/database-proxy.ts';
import { until } from './fakes/until.ts';
import { exampleOf, nameOf } from './route-examples.ts';

let database: TestDatabase;
let proxy: DatabaseProxy;
let test: TestApp;
let admin: Client;

beforeAll(async () => {
  database = await createTestDatabase();
  proxy = await startDatabaseProxy(database.connection);
  test = await startTestApp({
    database: { ...database, connection: { ...database.connection, host: '127.0.0.1', port: proxy.port } },
    settings: { databasePoolSize: 3 },
  });
  admin = await test.as('admin');
});
afterEach(async () => {
  proxy.restore();
  await until('the program to be itself again', async () => (await ready()).status === 200);
});
afterAll(async () => {
  await test.close();
  await proxy.stop();
  await database.close();
});

const ready = () => test.with(null).get('/health/ready');
const asSuperuser = async (...statements: string[]): Promise<void> => {
  const { superuser: user, database: elsewhere } = inject('postgres');
  const client = new pg.Client({ ...database.connection, user, database: elsewhere });
  await client.connect();
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
};
const endSessions = (name: string): string =>
  `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${name}'`;

/** A client whose token this process has not seen for a while, so that it must be looked up. */
function stranger(): Client {
  test.app.context.authenticator.forget();
  return admin;
}

function expectUnavailable(answer: Answer, name: string, detail = /database/): void {
  expect(answer, name).toMatchObject({ status: 503, body: { code: 'unavailable', status: 503 } });
  expect(answer.headers.get('content-type')).toMatch('application/problem+json');
  expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
  expect(answer.body.detail).toMatch(detail);
}

const group = { name: 'never made' };
/** What is answered from this process alone, to somebody whom it knows. */
const needNoDatabase = ['GET /health/live', 'GET /metrics', 'GET /api/v1/session', 'DELETE /api/v1/session'];

/** Every route there is, with a request that could succeed, all at once, and one by somebody to be looked up. */
async function askEverything(): Promise<Map<string, Answer>> {
  const id = '0192f0c1-7e4a-7c3e-8f00-000000000001';
  const ids = { server: id, group: id, token: id, job: id };
  const asked = routes.map(async (route): Promise<[string, Answer]> => {
    const { path, body } = exampleOf(route, ids);
    const verb = { GET: 'get', POST: 'post', PUT: 'put', PATCH: 'patch', DELETE: 'delete' } as const;
    const method = verb[route.method];
    if (method === 'get' || method === 'delete') return [nameOf(route), await admin[method](path)];
    return [nameOf(route), await admin[method](path, body)];
  });
  const answers = new Map(await Promise.all(asked));
  return answers.set('a stranger', await stranger().get('/api/v1/fleet/groups'));
}

describe('while the database is away, every route that needs it says so, and the others answer', () => {
  it.each<[string, () => void, RegExp]>([
    ['refuses connections', () => proxy.cut(), /cannot be reached/],
    ['swallows everything', () => proxy.hang(), /cannot be reached/],
    ['swallows its answers', () => proxy.loseAllAnswers(), /cannot be reached/],
    ['is starting up', () => proxy.refuse('57P03'), /starting up/],
    ['has no connections left', () => proxy.refuse('53300'), /no connections left/],
    ['refuses the password', () => proxy.refuse('28P01'), /refuses us/],
  ])('when it %s', async (_what, breakIt, detail) => {
    await admin.get('/api/v1/fleet/servers');
    breakIt();
    // Those that find a line of before broken do not learn why.
    for (const [name, answer] of await askEverything()) {
      if (needNoDatabase.includes(name)) expect(answer.status, name).toBeLessThan(300);
      else expectUnavailable(answer, name);
    }
    expectUnavailable(await ready(), 'readiness', detail);
    expect((await test.with(null).get('/api')).status).toBe(200);
    proxy.restore();
    await until('an answer', async () => (await admin.get('/api/v1/fleet/servers')).status === 200);
    expect((await admin.post('/api/v1/fleet/groups', group)).status).toBe(201);
    const { groups } = (await admin.get('/api/v1/fleet/groups')).body;
    const made = groups.filter((each: { name: string }) => each.name === group.name);
    expect(made).toHaveLength(1);
    await admin.delete(`/api/v1/fleet/groups/${made[0].id}`);
  });

  it('when it takes no writes', async () => {
    const { database: name } = database.connection;
    await asSuperuser(`alter database ${name} set default_transaction_read_only = on`, endSessions(name));
    await until('a new connection', async () => (await admin.get('/api/v1/fleet/groups')).status === 200);
    expectUnavailable(await admin.post('/api/v1/fleet/groups', group), 'a write', /takes no writes/);
    await asSuperuser(`alter database ${name} reset default_transaction_read_only`);
    // Each connection of that time is given up when a write on it fails.
    await until('a write', async () => {
      return (await admin.post('/api/v1/fleet/groups', { name: 'made again' })).status === 201;
    });
  });
});

it('a database that is far away is waited for', async () => {
  proxy.delay(150);
  expect((await admin.get('/api/v1/fleet/groups')).status).toBe(200);
});

it('a live stream outlives an outage, and tells what happens after it', async () => {
  const stopped = new AbortController();
  const response = await fetch(`${test.url}/api/v1/fleet/events?watch=0192f0c1-7e4a-7c3e-8f00-000000000001`, {
    headers: { authorization: `Bearer ${admin.token}` },
    signal: stopped.signal,
  });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let told = (await reader.read()).value ?? '';
  expect(told).toContain('event: hello');
  proxy.cut();
  const before = test.logged().length;
  await until('a read of the feed that failed', async () =>
    test.logged().slice(before).includes('the event feed cannot be read'),
  );
  proxy.restore();
  await until(
    'a group',
    async () => (await admin.post('/api/v1/fleet/groups', { name: 'after it' })).status === 201,
  );
  while (!told.includes('event: group.created')) told += (await reader.read()).value;
  stopped.abort();
});
