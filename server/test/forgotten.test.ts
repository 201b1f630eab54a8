import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { sql } from '../src/platform/db.ts';
import { workers } from '../src/workers.ts';
import { startTestApp, type TestApp } from './app.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';
import { createFakeClock, type FakeClock } from './fakes/clock.ts';
import { type ManagedServer, startManagedServer } from './fakes/managed-server.ts';
import { type Program, startProgram } from './fakes/program.ts';
import { until } from './fakes/until.ts';

const adminToken = 'forgotten-test-token-of-32-characters-or-more';
const masterKey = randomBytes(32);
// It starts the program several times, and a machine may be busy. It ends a test that has failed.
const patience = { timeout: 120_000 };
let dataDir: string;
let database: TestDatabase;
let managed: ManagedServer;
let api: TestApp;
let clock: FakeClock;
const programs: Program[] = [];

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'opsfleet-forgotten-'));
  database = await createTestDatabase();
  managed = await startManagedServer();
  api = await startTestApp({ database, settings: { healthIntervalMs: 200 }, masterKey });
});
afterEach(async () => {
  for (const program of programs.splice(0)) await program.end('SIGKILL');
  await api.close();
  await managed.stop();
  await database.close();
  await rm(dataDir, { recursive: true, force: true });
});

async function startPolling(): Promise<Program> {
  const { host, port, user, database: name } = database.connection;
  const program = await startProgram({
    OPSFLEET_DATA_DIR: dataDir,
    DATABASE_URL: `postgres://${user}@localhost/${name}?host=${encodeURIComponent(host)}&port=${port}`,
    OPSFLEET_ADMIN_TOKEN: adminToken,
    OPSFLEET_MASTER_KEY: masterKey.toString('base64'),
    OPSFLEET_EGRESS_ALLOW: '127.0.0.0/8',
    FLEET_HEALTH_INTERVAL: '0.2',
  });
  programs.push(program);
  return program;
}

const healthIs = (status: string) =>
  until(`${status} health`, async () => {
    const { found } = await database.db.system.one<{ found: number }>(sql`
      select count(*)::int as found from managed_servers where health_status = ${status}`);
    return found === 1;
  });
/** Looks as the process that serves the API does, on a clock of our own, until a look changes something. */
async function whenGivenUp(): Promise<void> {
  const watchdog = workers({ ...api.app.context, clock }).find(({ name }) => name === 'watchdog')!;
  for (let looks = 0; (await watchdog.runOnce()) === 0; looks += 1) {
    expect(looks).toBeLessThan(20);
    clock.stall(watchdog.periodMs);
  }
}

it(
  'while only an API runs, states say that nobody polls; who polls again goes on from there',
  patience,
  async () => {
    const first = await startPolling();
    const response = await fetch(`${first.url}/api/v1/fleet/servers`, {
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
    await healthIs('healthy');
    clock = createFakeClock(new Date());

    expect(await first.end('SIGTERM')).toBe(0);
    await whenGivenUp();
    await healthIs('unknown');

    const second = await startPolling();
    await healthIs('healthy');
    await second.end('SIGKILL');
    await database.db.system.execute(sql`update poll_slots set expires_at = now() - interval '1 second'`);
    await whenGivenUp();
    await healthIs('unknown');

    await startPolling();
    await healthIs('healthy');
    const events = await database.db.system.many<{ change: string }>(sql`
    select concat(data->>'from', ' to ', data->>'to', ': ', data->>'reason') as change from events
    where type = 'server.health_changed' order by xid, id`);
    expect(events.map(({ change }) => change)).toEqual([
      'unknown to healthy: ok',
      'healthy to unknown: no_result',
      'unknown to healthy: ok',
      'healthy to unknown: no_result',
      'unknown to healthy: ok',
    ]);
  },
);
