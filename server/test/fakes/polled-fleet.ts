import { afterEach, expect } from 'vitest';
import type { ServerId } from '../../src/ids.ts';
import { sql } from '../../src/platform/db.ts';
import type { Client, TestApp } from '../app.ts';
import { type ManagedServer, startManagedServer } from './managed-server.ts';
import { until } from './until.ts';

export const fleet = '/api/v1/fleet';
const started: ManagedServer[] = [];
/** A managed server that is stopped when the test has ended. */
export const managedServer = async (): Promise<ManagedServer> => {
  const server = await startManagedServer();
  started.push(server);
  return server;
};
afterEach(async () => {
  for (const server of started.splice(0)) await server.stop();
});

let count = 0;
/** Registers it with a token of its own. */
export async function register(who: Client, server: { url: string }, changes: object = {}) {
  count += 1;
  const answer = await who.post(`${fleet}/servers`, {
    name: `server-${count}`,
    hostname: 'localhost',
    api_url: server.url,
    api_token: `token-${count}`,
    ...changes,
  });
  expect(answer.status, answer.text).toBe(201);
  return { id: answer.body.server.id as ServerId, token: `token-${count}` };
}

export const stateOf = async (who: Client, id: string) =>
  (await who.get(`${fleet}/servers/${id}`)).body.server;
/** Its history, oldest first. */
export const checksOf = async (who: Client, id: string) =>
  (await who.get(`${fleet}/servers/${id}/health-history?limit=1000`)).body.health_checks.toReversed();
/** Waits until the server's health is that, and returns the server. */
export const whenHealthIs = (who: Client, id: string, status: string) =>
  until(`${status} health`, async () => {
    const server = await stateOf(who, id);
    return server.health_status === status && server;
  });
type Change = { from: string; to: string; reason: string };
/** Every change of its health that an event told of, in order. */
export const changesOf = (test: TestApp, id: ServerId) =>
  test.database.db.system.many<Change>(sql`
    select data->>'from' as "from", data->>'to' as "to", data->>'reason' as reason from events
    where type = 'server.health_changed' and subject_id = ${id} order by xid, id`);
