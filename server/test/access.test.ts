import { randomUUID } from 'node:crypto';
import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newId, type OrganizationId, type TokenId } from '../src/ids.ts';
import { may, type Role, roles } from '../src/permissions.ts';
import { sql } from '../src/platform/db.ts';
import type { Route } from '../src/platform/http/route.ts';
import { routes } from '../src/routes.ts';
import { insertToken, revokeToken } from '../src/tokens/store.ts';
import { hashCredential, mintToken } from '../src/tokens/token.ts';
import { type Client, startTestApp, type TestApp } from './app.ts';
import { until } from './fakes/until.ts';
import { exampleOf, examples, type Ids, nameOf, places, registration } from './route-examples.ts';
import { fillOrganization, rowsOf } from './tenants.ts';

const guarded = routes.filter(route => route.permission !== 'public');

describe('the walk', () => {
  it('has an example of every route', () => {
    const missing = routes.map(nameOf).filter(name => examples[name] === undefined);
    expect(missing, 'add a valid request to `examples` in route-examples.ts for each').toEqual([]);
    const gone = Object.keys(examples).filter(name => !routes.some(route => nameOf(route) === name));
    expect(gone, 'remove these from `examples` in route-examples.ts').toEqual([]);
  });

  it('has an example that names an id wherever a route takes one', () => {
    const takes = (route: Route): number =>
      [route.params, route.query, route.body]
        .flatMap(schema =>
          Object.keys({ ...(schema && 'properties' in schema ? (schema.properties as object) : {}) }),
        )
        .filter(name => /^(id|.*_ids?)$/.test(name)).length;
    const unnamed = guarded.filter(route => takes(route) > 0 && places(route).length === 0).map(nameOf);
    expect(unnamed, 'let their example in route-examples.ts name an id of each kind').toEqual([]);
  });
});

type Raw = { status: number; headers: Record<string, unknown>; text: string };
let callers = 0;

/**
 * One request from an address of its own, for refused callers are counted by address. It ends once the head is
 * there where the answer is a stream.
 */
function send(method: string, path: string, headers: Record<string, string>, body?: string): Promise<Raw> {
  callers += 1;
  // Node sends a body with DELETE only where its length is given.
  const length: Record<string, string> =
    body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
  const localAddress = `127.1.${callers >> 8}.${callers & 255}`;
  return new Promise((resolve, reject) => {
    const sent = request(
      test.url + path,
      { method, headers: { ...headers, ...length }, localAddress, agent: false },
      response => {
        const answer = (text: string): Raw => ({
          status: response.statusCode!,
          headers: response.headers,
          text,
        });
        if (response.headers['content-type'] === 'text/event-stream') {
          resolve(answer(''));
          response.destroy();
          return;
        }
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => resolve(answer(Buffer.concat(chunks).toString())));
      },
    );
    sent.on('error', reject);
    sent.end(body);
  });
}

/** An answer without what differs between any two requests. */
function comparable({ status, headers, text }: Raw): unknown {
  const kept = Object.entries(headers).filter(([name]) => name !== 'date' && !name.startsWith('ratelimit-'));
  return { status, headers: kept, text: text.replace(/urn:uuid:[0-9a-f-]+/, 'urn:uuid:') };
}

let test: TestApp;
let victim: OrganizationId;
let attacker: OrganizationId;
let victimIds: Ids;
let ownIds: Ids;
const clients = {} as Record<Role, Client>;

beforeAll(async () => {
  // Without workers, which would write what they find at the servers.
  test = await startTestApp({ settings: { role: 'api' } });
  attacker = await test.organization('attacker');
  victim = await test.organization('victim');
  for (const role of roles) clients[role] = await test.as(role, 'attacker');
  ownIds = await fillOrganization(test, 'attacker');
  victimIds = await fillOrganization(test, 'victim');
  // What upkeep still has to write of them, that nothing but a request changes from here on.
  await test.app.context.authenticator.flush();
  await until('the queue of deleted servers to be looked through', async () => {
    const waiting = await test.database.db.system.many(
      sql`select from deleted_servers where cleared_at is null`,
    );
    return waiting.length === 0;
  });
});
afterAll(() => test.close());

describe('who sends no valid credential', () => {
  const credentials: Record<string, () => Promise<Record<string, string>>> = {
    'no token': async () => ({}),
    'a garbage token': async () => ({ authorization: 'Bearer flt_garbage' }),
    'another scheme': async () => ({ authorization: `Basic ${clients.admin.token}` }),
    'an expired token': async () => ({ authorization: `Bearer ${await endedToken('expired')}` }),
    'a revoked token': async () => ({ authorization: `Bearer ${await endedToken('revoked')}` }),
    'an unknown session': async () => ({ cookie: 'opsfleet_session=garbage' }),
  };

  async function endedToken(how: 'expired' | 'revoked'): Promise<string> {
    const token = mintToken();
    const at = new Date();
    const id = newId<TokenId>(at.getTime());
    const db = test.database.db.tenant(attacker);
    const expiresAt = how === 'expired' ? new Date(at.getTime() - 1) : null;
    await insertToken(db, { id, name: how, role: 'admin', hash: hashCredential(token), at, expiresAt });
    if (how === 'revoked') await revokeToken(db, id, at);
    return token;
  }

  it.each(Object.keys(credentials))('%s: every route answers 401, whatever the body is', async kind => {
    const credential = await credentials[kind]!();
    for (const route of guarded) {
      const headers = { ...credential, 'content-type': 'application/json' };
      const { path } = exampleOf(route, ownIds);
      const answer = await send(
        route.method,
        path,
        headers,
        route.method === 'GET' ? undefined : '{"not json',
      );
      expect(answer.status, nameOf(route)).toBe(401);
      expect(answer.headers['www-authenticate'], nameOf(route)).toBe('Bearer realm="opsfleet"');
      expect(JSON.parse(answer.text)).toMatchObject({ status: 401, code: 'unauthenticated' });
    }
  });
});

describe('a role', () => {
  const nobody: Ids = { server: randomUUID(), group: randomUUID(), token: randomUUID(), job: randomUUID() };

  it.each(roles)('%s gets 403 exactly where it lacks the permission, whatever the body is', async role => {
    for (const route of guarded) {
      const { permission } = route;
      const isAllowed = permission === 'signed-in' || (permission !== 'public' && may(role, permission));
      const headers = {
        authorization: `Bearer ${clients[role].token}`,
        'content-type': 'application/json',
        // No worker runs here, so a check of the whole fleet would be waited for in vain.
        prefer: 'respond-async',
      };
      const { path, body } = exampleOf(route, nobody);
      const unread = route.method === 'GET' ? undefined : '{"not json';
      const answer = await send(route.method, path, headers, isAllowed ? body : unread);
      if (isAllowed) expect([401, 403], `${role} ${nameOf(route)}`).not.toContain(answer.status);
      else expect(answer.status, `${role} ${nameOf(route)}`).toBe(403);
      expect(answer.status, `${role} ${nameOf(route)}: ${answer.text}`).toBeLessThan(500);
    }
  });
});

describe("another organization's id", () => {
  const cases = guarded.flatMap(route => places(route).map(place => ({ name: nameOf(route), route, place })));

  it.each(cases)(
    'in the $place.where of $name is answered like a missing and like a malformed one',
    async ({ route, place }) => {
      const before = await rowsOf(test.database.db, victim);
      const answerTo = async (id: string): Promise<Raw> => {
        const { path, body } = exampleOf(route, ownIds, { place, id });
        const headers = {
          authorization: `Bearer ${clients.admin.token}`,
          'content-type': 'application/json',
        };
        return send(route.method, path, headers, body);
      };
      const foreign = await answerTo(victimIds[place.kind]);
      expect([404, 422], foreign.text).toContain(foreign.status);
      expect(foreign.text).not.toContain(victimIds[place.kind]);
      for (const id of [
        randomUUID(),
        'not-an-id',
        victimIds[place.kind].toUpperCase(),
        `${victimIds[place.kind]} `,
        '0',
      ]) {
        expect(comparable(await answerTo(id)), id).toEqual(comparable(foreign));
      }
      expect(await rowsOf(test.database.db, victim)).toEqual(before);
    },
  );

  it('in a list refuses the whole list', async () => {
    const { server, group } = ownIds;
    const fixed = async () =>
      (await clients.admin.get(`/api/v1/fleet/groups/${group}/servers`)).body.fixed_server_ids;
    await clients.admin.delete(`/api/v1/fleet/groups/${group}/servers/${server}`);
    const both = { server_ids: [server, victimIds.server] };
    const answer = await clients.admin.post(`/api/v1/fleet/groups/${group}/servers`, both);
    expect(answer.status).toBe(422);
    expect(answer.body.errors).toEqual([expect.objectContaining({ pointer: '/server_ids/1' })]);
    expect(await fixed()).toEqual([]);
  });

  it('is no way to learn of the rows behind it: a cursor stays in the own organization', async () => {
    const theirs = await test.as('admin', 'victim');
    await theirs.post('/api/v1/fleet/servers', { ...registration, name: 'second' });
    const { next_cursor: cursor } = (await theirs.get('/api/v1/fleet/servers?limit=1')).body;
    const page = await clients.viewer.get(`/api/v1/fleet/servers?cursor=${cursor}`);
    for (const server of page.body.servers) expect(server.organization_id).toBe(attacker);
  });
});
