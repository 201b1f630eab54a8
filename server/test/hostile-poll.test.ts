import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { sql } from '../src/platform/db.ts';
import { type Client, startTestApp, type TestApp } from './app.ts';
import { type ManagedServer, startManagedServer } from './fakes/managed-server.ts';
import { until } from './fakes/until.ts';
import type { Beast } from './hostile/listener.ts';
import { zoo } from './hostile/zoo.ts';

const healthIntervalMs = 3_000;
const healthyServers = 20;
const fleet = '/api/v1/fleet';
const token = 'canary-5d21c9';

let test: TestApp;
let admin: Client;
const beasts: Beast[] = [];
const healthy: ManagedServer[] = [];
const names = new Map<string, string>();

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;
const heapUsedMiB = (): number => {
  collectGarbage();
  return process.memoryUsage().heapUsed / 2 ** 20;
};

async function register(name: string, url: string): Promise<void> {
  const answer = await admin.post(`${fleet}/servers`, {
    name,
    hostname: 'localhost',
    api_url: url,
    api_token: token,
  });
  expect(answer.status, answer.text).toBe(201);
  names.set(answer.body.server.id, name);
}

beforeAll(async () => {
  test = await startTestApp({
    settings: { role: 'all', healthIntervalMs, metricsIntervalMs: healthIntervalMs },
  });
  admin = await test.as('admin');
  for (let index = 0; index < healthyServers; index += 1) healthy.push(await startManagedServer());
  for (const entry of zoo) beasts.push(await entry.start());
});
afterAll(async () => {
  await test.close();
  await Promise.all([...beasts, ...healthy].map(each => each.stop()));
});

type Check = { name: string; at: Date; status: string; reason: string; detail: string | null };
async function checks(): Promise<Check[]> {
  const rows = await test.database.db.system.many<Check & { server_id: string }>(sql`
    select server_id, timestamp as at, status, reason, error_message as detail
    from server_health_checks order by timestamp`);
  return rows.map(row => ({ ...row, name: names.get(row.server_id)! }));
}

/** What may be found out about bytes that HTTP has nothing against. */
const readable = ['ok', 'bad_payload', 'component_failed', 'reported_critical', 'http_500'];

it('every server that lies gets its reason, and twenty honest ones beside them notice nothing', async () => {
  const heapBeforeMiB = heapUsedMiB();
  for (const [index, server] of healthy.entries()) await register(`healthy ${index}`, server.url);
  for (const [index, beast] of beasts.entries()) await register(`beast: ${zoo[index]!.name}`, beast.url);
  const all = zoo.length + healthyServers;

  // The slowest take the ten seconds of a whole check; everybody is polled over and over meanwhile.
  const found = await until('a check of every server', async () => {
    const rows = await checks();
    return new Set(rows.map(row => row.name)).size === all && rows;
  });

  for (const { name, expectEgress } of zoo) {
    const own = found.filter(row => row.name === `beast: ${name}`);
    for (const { reason, detail } of own) {
      if (expectEgress === 'ok') expect(readable, `${name}: ${reason}`).toContain(reason);
      else expect(reason, `${name}: ${detail}`).toBe(expectEgress);
      expect(detail ?? '').not.toContain(token);
    }
  }
  for (let index = 0; index < healthyServers; index += 1) {
    const own = found.filter(row => row.name === `healthy ${index}`);
    expect(new Set(own.map(row => row.reason))).toEqual(new Set(['ok']));
    for (const [round, row] of own.slice(1).entries()) {
      expect(row.at.getTime() - own[round]!.at.getTime()).toBeLessThanOrEqual(2 * healthIntervalMs);
    }
  }
  expect(test.logged()).not.toContain('a poll failed unexpectedly');
  expect(test.logged()).not.toContain('the database refuses a result');
  expect(heapUsedMiB() - heapBeforeMiB).toBeLessThan(64);
});
