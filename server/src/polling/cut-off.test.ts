import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Client, startTestApp, type TestApp } from '../../test/app.ts';
import type { ManagedServer } from '../../test/fakes/managed-server.ts';
import {
  changesOf,
  checksOf,
  fleet,
  managedServer,
  register,
  whenHealthIs,
} from '../../test/fakes/polled-fleet.ts';
import { until } from '../../test/fakes/until.ts';
import { readSettings } from '../config.ts';
import type { ServerId } from '../ids.ts';

let test: TestApp;
let admin: Client;
let reference: ManagedServer;
let server: ManagedServer;
let id: ServerId;

/** A fleet of one server, and a reference beside it. */
beforeEach(async () => {
  reference = await managedServer();
  server = await managedServer();
  const { references } = readSettings({ OPSFLEET_REFERENCES: new URL(reference.url).host }, 1000);
  test = await startTestApp({
    settings: { role: 'all', healthIntervalMs: 200, metricsIntervalMs: 60_000, references },
  });
  admin = await test.as('admin');
  ({ id } = await register(admin, server));
  await whenHealthIs(admin, id, 'healthy');
});
afterEach(() => test.close());

const blindness = async (): Promise<string | undefined> =>
  (await admin.get(`${fleet}/workers/status`)).body.conditions.find(
    ({ condition }: { condition: string }) => condition === 'polling_blind',
  )?.detail;

it('the only server is not called down while no reference answers, and is when one does again', async () => {
  await reference.die();
  await server.die();
  expect(await until('the condition', blindness)).toContain('OPSFLEET_REFERENCES');
  const held = (await checksOf(admin, id)).length;
  await until('five more checks', async () => (await checksOf(admin, id)).length >= held + 5);
  expect((await checksOf(admin, id)).at(-1)).toMatchObject({ status: 'error', reason: 'observer_fault' });
  const metrics = await admin.get('/metrics');
  expect(metrics.text).toContain(`opsfleet_reference_up{target="${new URL(reference.url).host}"} 0`);
  const during = await changesOf(test, id);
  expect(during.map(({ to }) => to)).not.toContain('unreachable');

  await reference.revive();
  await whenHealthIs(admin, id, 'unreachable');
  await until('the end of the condition', async () => (await blindness()) === undefined);
});

it('the only server is called down where the reference answers', async () => {
  await server.die();
  await whenHealthIs(admin, id, 'unreachable');
  expect(await changesOf(test, id)).toEqual([
    { from: 'unknown', to: 'healthy', reason: 'ok' },
    { from: 'healthy', to: 'unreachable', reason: 'refused' },
  ]);
  expect(await blindness()).toBeUndefined();
});
