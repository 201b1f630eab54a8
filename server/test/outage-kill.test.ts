import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { sql } from '../src/platform/db.ts';
import { createLog } from '../src/platform/log.ts';
import { openSpool } from '../src/platform/spool.ts';
import { spoolFilesOf } from '../src/platform/spool-directory.ts';
import { resultQueues } from '../src/polling/results.ts';
import { healthWrites } from '../src/polling/spooled.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';
import { type DatabaseProxy, startDatabaseProxy } from './fakes/database-proxy.ts';
import { type ManagedServer, startManagedServer } from './fakes/managed-server.ts';
import { type Program, startProgram } from './fakes/program.ts';
import { until } from './fakes/until.ts';

const adminToken = 'outage-test-token-of-32-characters-or-more';
// Each starts the program twice, and a machine may be busy. It ends a test that has failed, and says nothing of speed.
const patience = { timeout: 120_000 };
let dataDir: string;
let database: TestDatabase;
let proxy: DatabaseProxy;
let managed: ManagedServer;
const programs: Program[] = [];

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'opsfleet-outage-'));
  database = await createTestDatabase();
  proxy = await startDatabaseProxy(database.connection);
  managed = await startManagedServer();
});
afterEach(async () => {
  for (const program of programs.splice(0)) await program.end('SIGKILL');
  await managed.stop();
  await proxy.stop();
  await database.close();
  await rm(dataDir, { recursive: true, force: true });
});

async function start(): Promise<Program> {
  const { user, database: name } = database.connection;
  const program = await startProgram({
    OPSFLEET_DATA_DIR: dataDir,
    DATABASE_URL: `postgres://${user}@127.0.0.1:${proxy.port}/${name}`,
    OPSFLEET_ADMIN_TOKEN: adminToken,
    OPSFLEET_EGRESS_ALLOW: '127.0.0.0/8',
    FLEET_HEALTH_INTERVAL: '0.2',
    FLEET_METRICS_INTERVAL: '0.2',
  });
  programs.push(program);
  return program;
}

async function register(program: Program): Promise<void> {
  const response = await fetch(`${program.url}/api/v1/fleet/servers`, {
    method: 'POST',
    headers: { authorization: `Bearer ${adminToken}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      name: 'watched',
      hostname: 'localhost',
      api_url: managed.url,
      api_token: 'a-token',
    }),
  });
  expect(response.status).toBe(201);
  await until('the first results', async () => (await stored()).checks > 2);
}

async function stored(): Promise<{ checks: number; metrics: number; status: string; times: number }> {
  return database.db.system.one(sql`
    select (select count(*)::int from server_health_checks where status <> 'unreachable') as checks,
           (select count(distinct timestamp)::int from server_health_checks where status <> 'unreachable') as times,
           (select count(*)::int from server_metrics_aggregated) as metrics,
           (select health_status from managed_servers) as status`);
}
const asked = (): { checks: number; metrics: number } => {
  const checks = managed.requests.filter(request => request.path === '/health').length;
  return { checks, metrics: managed.requests.length - checks };
};
const polled = async (times: number): Promise<void> => {
  const before = managed.requests.length;
  await until(`${times} polls`, async () => managed.requests.length >= before + times);
};
const spoolDirectory = (): string => join(dataDir, 'spool/1');
/** The segments that wait on disk. */
const spooled = async (): Promise<string[]> =>
  (await readdir(spoolDirectory())).filter(name => name.endsWith('.spool'));
const bytesOnDisk = async (): Promise<number> => {
  const sizes = (await spooled()).map(async name => (await stat(join(spoolDirectory(), name))).size);
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
};
const changes = async (): Promise<string[]> => {
  const events = await database.db.system.many<{ change: string }>(sql`
    select concat(data->>'from', ' to ', data->>'to') as change from events
    where type = 'server.health_changed' order by xid, id`);
  return events.map(event => event.change);
};

/** The changes of state that are on disk by now: what a process that looked at it would deliver, untouched. */
async function spooledChanges(): Promise<string[]> {
  const { list, read } = spoolFilesOf(spoolDirectory());
  const untouched = async (): Promise<void> => undefined;
  const spool = await openSpool({
    files: { list, read, append: untouched, truncate: untouched, remove: untouched },
    queues: resultQueues,
    limitBytes: 0,
    now: () => new Date(0),
    log: createLog({ level: 'silent' }),
  });
  const queue = spool.queue('health_state');
  const found: string[] = [];
  for (let record = await queue.peek(); record !== null; record = await queue.peek()) {
    const writes = healthWrites.decode(record) ?? [];
    const changed = writes.flatMap(write => write.changes).filter(change => 'from' in change);
    found.push(...changed.map(({ from, to }) => `${from} to ${to}`));
    await queue.drop();
  }
  return found;
}
const changeOnDisk = (change: string) =>
  until(`${change} on disk`, async () => (await spooledChanges()).includes(change));

/** Waits until everything the program has been told by now is on disk: each flush that fails adds to it. */
async function everythingOnDisk(): Promise<void> {
  const before = await bytesOnDisk();
  await until('another flush to disk', async () => (await bytesOnDisk()) > before);
  const again = await bytesOnDisk();
  await until('one that began after it', async () => (await bytesOnDisk()) > again);
}

it(
  'killed while the database is away, the next start stores what was found, once; states and events agree',
  patience,
  async () => {
    const first = await start();
    await register(first);
    proxy.cut();
    await polled(10);
    // It goes down while nobody can be told, and is up again.
    await managed.die();
    await changeOnDisk('healthy to unreachable');
    await managed.revive();
    await changeOnDisk('unreachable to healthy');
    const known = asked();
    await everythingOnDisk();
    await first.end('SIGKILL');
    expect(await spooled()).not.toEqual([]);
    const gone = asked();
    proxy.restore();

    const second = await start();
    await until('everything of before the kill', async () => (await stored()).checks >= known.checks);
    await polled(4);
    expect(await second.end('SIGTERM')).toBe(0);
    expect(await spooled()).toEqual([]);
    const { checks, metrics, times, status } = await stored();
    expect(times).toBe(checks);
    // What the kill has cost: what was asked since the last flush to disk, and nothing that was asked before it.
    const end = asked();
    expect(end.checks - checks).toBeLessThanOrEqual(gone.checks - known.checks);
    expect(end.metrics - metrics).toBeLessThanOrEqual(gone.metrics - known.metrics);
    expect(status).toBe('healthy');
    expect(await changes()).toEqual([
      'unknown to healthy',
      'healthy to unreachable',
      'unreachable to healthy',
    ]);
  },
);

it('stopped while the database is away, it ends in order and loses nothing at all', patience, async () => {
  const first = await start();
  await register(first);
  proxy.hang();
  await polled(10);
  expect(await first.end('SIGTERM')).toBe(0);
  expect(await spooled()).not.toEqual([]);
  proxy.restore();

  const second = await start();
  await polled(4);
  expect(await second.end('SIGTERM')).toBe(0);
  const { checks, metrics } = await stored();
  expect({ checks, metrics }).toEqual(asked());
  expect(await changes()).toEqual(['unknown to healthy']);
});
