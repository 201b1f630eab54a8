import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Client, startTestApp, type TestApp } from '../../test/app.ts';
import { createTestDatabase, type TestDatabase } from '../../test/database.ts';
import type { ManagedServer } from '../../test/fakes/managed-server.ts';
import {
  changesOf,
  checksOf,
  fleet,
  managedServer,
  register,
  stateOf,
  whenHealthIs,
} from '../../test/fakes/polled-fleet.ts';
import { until } from '../../test/fakes/until.ts';
import type { ServerId } from '../ids.ts';
import { sql } from '../platform/db.ts';
import { slotCount, slotOf } from '../servers/server.ts';

const pace = { healthIntervalMs: 300, metricsIntervalMs: 60_000 };
/** Where the first worker is led by every name. Nobody listens there unless a route is opened. */
const nowhere = '127.0.0.99';

let database: TestDatabase;
let first: TestApp;
let second: TestApp;
let admin: Client;
let route: Server | null;

/** Two workers that share the slots, of which the first does not reach the servers. */
beforeEach(async () => {
  route = null;
  database = await createTestDatabase();
  first = await startTestApp({
    database,
    settings: { role: 'all', ...pace },
    app: { lookup: async () => [nowhere] },
  });
  admin = await first.as('admin');
  second = await startTestApp({
    database,
    settings: { role: 'worker', ...pace },
    app: { lookup: async () => ['127.0.0.1'] },
  });
  await until('each to have its half', async () =>
    [first, second].every(({ app }) => app.poller!.stats().slots === slotCount / 2),
  );
});
afterEach(async () => {
  await second.close();
  await first.close();
  route?.close();
  await database.close();
});

/** Registers servers until one falls to the first worker. */
async function serverOfFirst(): Promise<{ id: ServerId; server: ManagedServer }> {
  for (;;) {
    const server = await managedServer();
    const { id } = await register(admin, server, { api_url: server.url.replace('127.0.0.1', 'web.test') });
    const { is_first } = await database.db.system.one<{ is_first: boolean }>(sql`
      select owner = (select id from workers order by started_at limit 1) as is_first
      from poll_slots where slot = ${slotOf(id)}`);
    if (is_first) return { id, server };
    await admin.delete(`${fleet}/servers/${id}`);
  }
}
/** From now on the first worker reaches the server like the other one. */
async function openRoute(server: ManagedServer): Promise<void> {
  const port = Number(new URL(server.url).port);
  const listener = createServer(socket => {
    const onward = connect(port, '127.0.0.1');
    socket.on('error', () => onward.destroy()).pipe(onward);
    onward.on('error', () => socket.destroy()).pipe(socket);
  });
  route = listener;
  await new Promise<void>(resolve => listener.listen(port, nowhere, resolve));
  expect((listener.address() as AddressInfo).port).toBe(port);
}
const conditions = async (): Promise<{ condition: string; detail: string }[]> =>
  (await admin.get(`${fleet}/workers/status`)).body.conditions;
const lastCheck = async (id: ServerId) => (await checksOf(admin, id)).at(-1);

describe('a server that its own worker does not reach', () => {
  it('is what another worker finds, and a condition tells whose network it is for as long as it lasts', async () => {
    const { id, server } = await serverOfFirst();
    await whenHealthIs(admin, id, 'healthy');
    const partial = await until('the condition', async () =>
      (await conditions()).find(({ condition }) => condition === 'polling_partial'),
    );
    expect(partial.detail).toContain('Worker test cannot reach a server that answers other workers');
    const told = await lastCheck(id);
    expect(told).toMatchObject({ status: 'healthy', reason: 'ok' });
    expect(told.error_message).toContain('measured by another worker');

    const { rows } = await database.db.system.one<{ rows: number }>(sql`
      select count(*)::int as rows from events
      where type = 'condition.began' and data->>'condition' = 'polling_partial'`);
    expect(rows).toBe(1);

    await server.die();
    const down = await whenHealthIs(admin, id, 'unreachable');
    expect(down.health_reason).toBe('refused');
    await server.revive();
    await whenHealthIs(admin, id, 'healthy');

    await openRoute(server);
    await until('the end of the condition', async () => (await conditions()).length === 0);
    await until('a check of its own', async () => (await lastCheck(id)).error_message === null);
    expect(await changesOf(first, id)).toEqual([
      { from: 'unknown', to: 'healthy', reason: 'ok' },
      { from: 'healthy', to: 'unreachable', reason: 'refused' },
      { from: 'unreachable', to: 'healthy', reason: 'ok' },
    ]);
  });

  it('is unreachable where there is no other worker', async () => {
    await second.app.stop();
    await until('the first to be alone', async () => first.app.poller!.stats().slots === slotCount);
    const { id } = await serverOfFirst();
    await whenHealthIs(admin, id, 'unreachable');
    expect((await stateOf(admin, id)).health_detail).not.toContain('another worker');
  });
});
