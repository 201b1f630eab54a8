import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../../test/app.ts';
import { createTestDatabase, type TestDatabase } from '../../test/database.ts';
import { type ManagedServer, startManagedServer } from '../../test/fakes/managed-server.ts';
import { changesOf, register, whenHealthIs } from '../../test/fakes/polled-fleet.ts';
import { until } from '../../test/fakes/until.ts';
import { sql } from '../platform/db.ts';

let dataDir: string;
let database: TestDatabase;
let server: ManagedServer;
let test: TestApp;
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'opsfleet-refused-'));
  database = await createTestDatabase();
  server = await startManagedServer();
  test = await start();
});
afterEach(async () => {
  await test.close();
  await server.stop();
  await database.close();
  await rm(dataDir, { recursive: true, force: true });
});

const start = (): Promise<TestApp> =>
  startTestApp({
    database,
    settings: { role: 'all', dataDir, healthIntervalMs: 200, metricsIntervalMs: 60_000 },
  });
const polledTimes = async (times: number): Promise<void> => {
  const before = server.requests.length;
  await until(`${times} polls`, async () => server.requests.length >= before + times);
};
const rename = (from: string, to: string): Promise<number> =>
  database.db.system.execute(
    sql`alter table managed_servers rename column ${sql.ref(from)} to ${sql.ref(to)}`,
  );
const conditions = async (): Promise<{ condition: string; detail: string }[]> =>
  (await (await test.as('admin')).get('/api/v1/fleet/workers/status')).body.conditions;

// It starts the program twice and waits for heartbeats. It ends a test that has failed, and says nothing of speed.
const patience = { timeout: 120_000 };

it(
  'a statement that the database refuses is told, stops no polling, not even at a start, and loses no history',
  patience,
  async () => {
    const { id } = await register(await test.as('admin'), server);
    await whenHealthIs(await test.as('admin'), id, 'healthy');
    // As while another version migrates the database, or where we have a bug.
    await rename('poll_seq', 'poll_number');
    const [told] = await until('the condition', async () => {
      const found = await conditions();
      return found.length > 0 && found;
    });
    expect(told).toMatchObject({ condition: 'storing_refused' });
    expect(told!.detail).toContain('42703');
    await polledTimes(5);

    await test.app.stop();
    test = await start();
    await polledTimes(5);
    await server.die();
    await until('a failed check', async () => test.app.poller!.stats().health.failed >= 3);
    await rename('poll_number', 'poll_seq');
    await whenHealthIs(await test.as('admin'), id, 'unreachable');
    await until('the end of the condition', async () => (await conditions()).length === 0);
    await test.app.stop();

    expect(await changesOf(test, id)).toEqual([
      { from: 'unknown', to: 'healthy', reason: 'ok' },
      { from: 'healthy', to: 'unreachable', reason: 'refused' },
    ]);
    const { answered } = await database.db.system.one<{ answered: number }>(sql`
    select count(*)::int as answered from server_health_checks where server_id = ${id} and status = 'healthy'`);
    expect(answered).toBe(server.requests.filter(({ path }) => path === '/health').length);
  },
);
