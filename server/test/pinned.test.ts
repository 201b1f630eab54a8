import { afterEach, beforeEach, expect, it } from 'vitest';
import type { OrganizationId, ServerId } from '../src/ids.ts';
import { enrolLocalAgent } from '../src/local-agent.ts';
import { sql } from '../src/platform/db.ts';
import { createWatchdog, watchdogPeriodMs } from '../src/polling/watchdog.ts';
import { slotOf } from '../src/servers/server.ts';
import { startTestApp, type TestApp } from './app.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';
import { createFakeClock } from './fakes/clock.ts';
import { type ManagedServer, startManagedServer } from './fakes/managed-server.ts';
import { until } from './fakes/until.ts';

const healthIntervalMs = 200;
const pin = 'the-installation-with-the-agent';
let database: TestDatabase;
let agent: ManagedServer;
const started: TestApp[] = [];

beforeEach(async () => {
  database = await createTestDatabase();
  agent = await startManagedServer();
});
afterEach(async () => {
  for (const test of started.splice(0)) await test.close();
  await agent.stop();
  await database.close();
});

async function start(how: { hasAgent: boolean }): Promise<TestApp> {
  const { hostname: address, port } = new URL(agent.url);
  const test = await startTestApp({
    database,
    settings: { role: how.hasAgent ? 'all' : 'worker', healthIntervalMs, egressAllow: [] },
    app: how.hasAgent ? { pin, egressExceptions: [{ address, port: Number(port) }] } : {},
  });
  started.push(test);
  return test;
}
const enrol = (test: TestApp, organizationId: OrganizationId) =>
  enrolLocalAgent(test.app.context, organizationId, { agent: { url: agent.url, token: 'agent-token' }, pin });

const servers = () =>
  database.db.system.many<{ id: ServerId; slot: number; state: string }>(sql`
    select id, slot, concat(health_status, ' ', health_reason) as state from managed_servers order by id`);
const allAre = (state: string) =>
  until(`all to be ${state}`, async () => (await servers()).every(server => server.state === state));
/** Every reason for which a check failed, or was not made. */
const complaints = () =>
  database.db.system.many(sql`select distinct reason from server_health_checks where reason <> 'ok'`);

it('the agent of a machine is polled by the process that may, however many workers there are', async () => {
  const own = await start({ hasAgent: true });
  const other = await start({ hasAgent: false });
  await until('an even share', async () => other.app.poller!.stats().slots === 128);
  // In any of these the server's id alone would give it to the other worker, one time in two.
  for (const name of ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']) await enrol(own, await own.organization(name));
  await allAre('healthy ok');
  expect(await complaints()).toEqual([]);

  await own.app.stop();
  await until('the other worker to have the rest', async () => other.app.poller!.stats().slots === 256);
  const clock = createFakeClock(new Date());
  const watchdog = createWatchdog({
    db: database.db.system,
    clock,
    feed: { announce: () => undefined },
    healthIntervalMs,
  });
  for (let looks = 0; (await watchdog.look()) === 0; looks += 1) {
    expect(looks).toBeLessThan(20);
    clock.stall(watchdogPeriodMs);
  }
  await allAre('unknown no_result');
  expect(await complaints()).toEqual([]);

  await start({ hasAgent: true });
  await allAre('healthy ok');
});

it('one that was registered before there were pinned slots is moved to its own, and the others drop it', async () => {
  const before = await start({ hasAgent: true });
  const organizationId = await before.organization('default');
  await enrol(before, organizationId);
  await before.app.stop();
  const [server] = await servers();
  await database.db.system.execute(sql`update managed_servers set slot = ${slotOf(server!.id)}`);
  await database.db.system.execute(sql`delete from poll_slots where slot > 255`);
  const worker = await start({ hasAgent: false });
  await until('a worker to poll it in vain', async () => worker.app.poller!.stats().servers === 1);

  const own = await start({ hasAgent: true });
  await enrol(own, organizationId);
  await allAre('healthy ok');
  await until('the worker to drop it', async () => worker.app.poller!.stats().servers === 0);
  expect((await servers()).map(({ slot }) => slot)).toEqual([256]);
});
