import pg from 'pg';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { type Client, startTestApp, type TestApp } from '../../test/app.ts';
import { createTestDatabase, type TestDatabase } from '../../test/database.ts';
import { type DatabaseProxy, startDatabaseProxy } from '../../test/fakes/database-proxy.ts';
import { type ManagedServer, startManagedServer } from '../../test/fakes/managed-server.ts';
import { until } from '../../test/fakes/until.ts';
import { systemClock } from '../platform/clock.ts';
import { sql } from '../platform/db.ts';

let database: TestDatabase;
let proxy: DatabaseProxy;
let test: TestApp;
let admin: Client;
let server: ManagedServer;
let id: string;
/** How far the program's wall clock is ahead. */
let aheadMs: number;

/** A program that reaches its database through the proxy and polls one server all the time. */
beforeEach(async () => {
  aheadMs = 0;
  database = await createTestDatabase();
  proxy = await startDatabaseProxy(database.connection);
  server = await startManagedServer();
  test = await startTestApp({
    database: { ...database, connection: { ...database.connection, host: '127.0.0.1', port: proxy.port } },
    settings: { role: 'all', healthIntervalMs: 200, metricsIntervalMs: 200 },
    app: { clock: { ...systemClock, now: () => new Date(Date.now() + aheadMs) } },
  });
  admin = await test.as('admin');
  const answer = await admin.post('/api/v1/fleet/servers', {
    name: 'watched',
    hostname: 'localhost',
    api_url: server.url,
    api_token: 'a-token',
  });
  id = answer.body.server.id;
  await becomes('healthy');
});
afterEach(async () => {
  proxy.restore();
  await test.close();
  await server.stop();
  await proxy.stop();
  await database.close();
});

const becomes = (status: string) =>
  until(`${status} health`, async () => {
    const row = await database.db.system.one<{ health_status: string }>(sql`
      select health_status from managed_servers where id = ${id}`);
    return row.health_status === status;
  });
const polledTimes = async (times: number): Promise<void> => {
  const before = server.requests.length;
  await until(`${times} polls`, async () => server.requests.length >= before + times);
};
const flushFailures = async (): Promise<number> =>
  (await test.app.context.instruments.flushFailures.get()).values.reduce((sum, { value }) => sum + value, 0);
const superuser = async (work: (client: pg.Client) => Promise<void>): Promise<void> => {
  const client = new pg.Client({ ...database.connection, user: inject('postgres').superuser });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
};

/** Ends the program and compares what the server was asked with what was written down. */
async function expectEverythingStoredOnce(changes: string[]): Promise<void> {
  const askedSoFar = server.requests.length;
  await until('what waited to be stored', async () => {
    const { stored } = await database.db.system.one<{ stored: number }>(sql`
      select ((select count(*) from server_health_checks) + (select count(*) from server_metrics_aggregated))::int as stored`);
    return stored >= askedSoFar;
  });
  await test.app.poller!.stop();
  const asked = server.requests.filter(request => request.path === '/health').length;
  const { checks, metrics, errors } = await database.db.system.one<{
    checks: number;
    metrics: number;
    errors: number;
  }>(sql`
    select (select count(*)::int from server_health_checks where status <> 'unreachable') as checks,
           (select count(*)::int from server_metrics_aggregated) as metrics,
           (select count(*)::int from server_health_checks where status = 'error') as errors`);
  expect({ checks, metrics, errors }).toEqual({
    checks: asked,
    metrics: server.requests.length - asked,
    errors: 0,
  });
  const events = await database.db.system.many<{ change: string }>(sql`
    select concat(data->>'from', ' to ', data->>'to') as change from events
    where type = 'server.health_changed' order by xid, id`);
  expect(events.map(event => event.change)).toEqual(changes);
}

describe('while the database is in trouble, no server changes and nothing is lost or told twice', () => {
  it('when every session is terminated, again and again', async () => {
    for (let round = 0; round < 5; round += 1) {
      await superuser(async client => {
        await client.query(
          'select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()',
          [database.connection.database],
        );
      });
      await polledTimes(6);
    }
    await expectEverythingStoredOnce(['unknown to healthy']);
  });

  it('when it is away for a while', async () => {
    proxy.cut();
    await polledTimes(20);
    await until('a failed flush', async () => (await flushFailures()) > 0);
    proxy.restore();
    await expectEverythingStoredOnce(['unknown to healthy']);
  });

  it.each<[string, () => void]>([
    ['swallows everything', () => proxy.hang()],
    ['does what it is asked, and every answer is lost', () => proxy.loseAllAnswers()],
    ['refuses every connection', () => proxy.refuse('53300')],
  ])('when it %s', async (_what, breakIt) => {
    breakIt();
    await polledTimes(10);
    await until('a failed flush', async () => (await flushFailures()) > 0);
    proxy.restore();
    await expectEverythingStoredOnce(['unknown to healthy']);
  });

  it('when it is slow', async () => {
    proxy.delay(300);
    await polledTimes(10);
    await server.die();
    await becomes('unreachable');
    proxy.restore();
    await server.revive();
    await becomes('healthy');
    await expectEverythingStoredOnce([
      'unknown to healthy',
      'healthy to unreachable',
      'unreachable to healthy',
    ]);
  });

  it('when its disk is full: results wait on ours, and the numbers say so', async () => {
    const refuse = `
      create function refuse() returns trigger language plpgsql as
        $$ begin raise exception 'could not extend file' using errcode = '53100'; end $$;
      create trigger refuse before insert on server_health_checks for each row execute function refuse();
      create trigger refuse before insert on server_metrics_aggregated for each row execute function refuse();
      create trigger refuse before update on managed_servers for each row execute function refuse();`;
    const allow = `drop function refuse cascade`;
    await superuser(async client => void (await client.query(refuse)));
    const spooled = await until('results on our disk', async () => {
      const { polling } = (await admin.get('/api/v1/fleet/workers/status')).body;
      return polling.spooled.records > 0 && polling.spooled;
    });
    expect(spooled).toMatchObject({ results_refused: 0, corrupt: 0 });
    expect(spooled.bytes).toBeGreaterThan(0);
    expect((await admin.get('/metrics')).text).toMatch(/^opsfleet_spool_records [1-9]/m);
    await polledTimes(6);
    await superuser(async client => void (await client.query(allow)));
    await expectEverythingStoredOnce(['unknown to healthy']);
  });

  it('when a table is locked for longer than anybody waits', async () => {
    await superuser(async client => {
      await client.query('begin');
      await client.query('lock table managed_servers in exclusive mode');
      await until('a flush that gave up waiting', async () => (await flushFailures()) > 0);
      await client.query('rollback');
    });
    await polledTimes(6);
    await expectEverythingStoredOnce(['unknown to healthy']);
  });

  it.each(['COMMIT', 'INSERT', 'UPDATE'] as const)(
    'when the line breaks right after a %s, before its answer',
    async tag => {
      proxy.loseAnswers(tag, 4);
      await server.die();
      await becomes('unreachable');
      await server.revive();
      await becomes('healthy');
      await until('four lost answers', async () => proxy.lost() === 4);
      await expectEverythingStoredOnce([
        'unknown to healthy',
        'healthy to unreachable',
        'unreachable to healthy',
      ]);
    },
  );
});

it('a month for which nobody has made partitions gets them from its first row', async () => {
  const partitions = async (): Promise<number> =>
    (
      await database.db.system.one<{ count: number }>(sql`
        select count(*)::int as count from pg_inherits
        where inhparent in ('server_health_checks'::regclass, 'server_metrics_aggregated'::regclass, 'events'::regclass)
          and inhrelid::regclass::text not like '%\_id%'`)
    ).count;
  const before = await partitions();
  // Beyond the three months that the upkeep makes in advance.
  aheadMs = 150 * 86_400_000;
  await polledTimes(6);
  await server.die();
  await becomes('unreachable');
  await until('partitions for health, metrics and events', async () => (await partitions()) === before + 3);
  await server.revive();
  await becomes('healthy');
  await expectEverythingStoredOnce([
    'unknown to healthy',
    'healthy to unreachable',
    'unreachable to healthy',
  ]);
});
