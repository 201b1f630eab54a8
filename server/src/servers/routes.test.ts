import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Client, startTestApp, type TestApp } from '../../test/app.ts';
import { until } from '../../test/fakes/until.ts';
import { sql } from '../platform/db.ts';

let test: TestApp;
let admin: Client;
let other: Client;

beforeAll(async () => {
  test = await startTestApp();
  admin = await test.as('admin');
  other = await test.as('admin', 'other');
});
afterAll(() => test.close());

let count = 0;
const registration = (changes: object = {}) => {
  count += 1;
  return {
    name: `server-${count}`,
    hostname: `server-${count}.example.com`,
    api_url: `https://server-${count}.example.com`,
    api_token: 'secret_token_here',
    ...changes,
  };
};
const register = async (changes: object = {}, who = admin) => {
  const answer = await who.post('/api/v1/fleet/servers', registration(changes));
  expect(answer.status, answer.text).toBe(201);
  return answer.body.server;
};
const path = (id: string) => `/api/v1/fleet/servers/${id}`;

describe('registering a server', () => {
  it('answers at once, with health unknown and without its token', async () => {
    const answer = await admin.post(
      '/api/v1/fleet/servers',
      registration({
        region: 'us-east-1',
        environment: 'production',
        tags: [' production', 'critical', 'critical'],
      }),
    );
    expect(answer.status).toBe(201);
    expect(answer.body.success).toBe(true);
    expect(answer.body.server).toMatchObject({
      health_status: 'unknown',
      health_reason: 'not_checked',
      status: 'active',
      region: 'us-east-1',
      tags: ['production', 'critical'],
      metadata: {},
      last_seen_at: null,
    });
    expect(answer.headers.get('location')).toBe(path(answer.body.server.id));
    expect(answer.text).not.toContain('secret_token_here');
    expect(answer.text).not.toContain('hash');
  });

  it.each([
    ['name', { name: undefined }],
    ['name', { name: '' }],
    ['name', { name: 'x'.repeat(256) }],
    ['name', { name: 'two\nlines' }],
    ['api_url', { api_url: 'http://server.example.com:22' }],
    ['api_url', { api_url: 'https://169.254.169.254/latest' }],
    ['api_url', { api_url: 'https://user:password@server.example.com' }],
    ['api_url', { api_url: 'ftp://server.example.com' }],
    ['api_token', { api_token: 'with space' }],
    ['tags', { tags: 'production' }],
    ['tags/0', { tags: ['x'.repeat(65)] }],
    ['metadata', { metadata: [] }],
    ['metadata/a', { metadata: { a: 'nul \u0000' } }],
    ['health_interval_seconds', { health_interval_seconds: 4 }],
    ['health_interval_seconds', { health_interval_seconds: 7.5 }],
    ['metrics_interval_seconds', { metrics_interval_seconds: 86_401 }],
    ['metrics_interval_seconds', { metrics_interval_seconds: '60' }],
    ['nonsense', { nonsense: 1 }],
  ])('refuses a wrong %s by its name', async (field, change) => {
    const answer = await admin.post('/api/v1/fleet/servers', registration(change));
    expect(answer.status).toBe(422);
    expect(answer.body.errors[0].pointer).toBe(`/${field}`);
    expect(answer.body.detail).toContain(field);
  });

  it('refuses a name or an address that is taken, naming the field, and keeps nothing of it', async () => {
    const server = await register();
    for (const field of ['name', 'api_url'] as const) {
      const answer = await admin.post('/api/v1/fleet/servers', registration({ [field]: server[field] }));
      expect(answer.status).toBe(409);
      expect(answer.body.errors[0].pointer).toBe(`/${field}`);
    }
    expect(await register({ name: server.name, api_url: server.api_url }, other)).toMatchObject({
      name: server.name,
    });
  });

  it('refuses what is not JSON', async () => {
    const answer = await admin.post('/api/v1/fleet/servers', '{"name":');
    expect(answer.status).toBe(400);
    const form = await admin.post('/api/v1/fleet/servers', 'a=b', {
      'content-type': 'application/x-www-form-urlencoded',
    });
    expect(form.status).toBe(415);
    const large = await admin.post('/api/v1/fleet/servers', { name: 'x'.repeat(1_100_000) });
    expect(large.status).toBe(413);
  });
});

describe('listing servers', () => {
  const list = async (query: string) => (await admin.get(`/api/v1/fleet/servers?${query}`)).body;

  it('filters by each field, and by all of them together', async () => {
    const server = await register({ region: 'eu-west-9', environment: 'staging', tags: ['a', 'b'] });
    await register({ region: 'eu-west-9', environment: 'qa', tags: ['b'] });
    const names = async (query: string) =>
      (await list(`region=eu-west-9&${query}`)).servers.map((s: { name: string }) => s.name);
    expect(await names('environment=staging')).toEqual([server.name]);
    expect(await names('tags=a,b')).toEqual([server.name]);
    expect(await names('tags= a , b ')).toEqual([server.name]);
    expect(await names('tags=a,b&tags_match=any')).toHaveLength(2);
    expect(await names('status=inactive')).toEqual([]);
    expect(await names('health_status=unknown&status=active')).toHaveLength(2);
    expect(await names(`search=${server.name.toUpperCase()}`)).toEqual([server.name]);
    expect(await names('search=%25')).toEqual([]);
  });

  it('pages through everything once, by cursor, in either order', async () => {
    for (let index = 0; index < 7; index += 1) await register({ region: 'paged' });
    for (const sort of ['newest', 'name']) {
      const seen: string[] = [];
      let cursor: string | null = null;
      do {
        const page = await list(
          `region=paged&limit=3&sort=${sort}${cursor === null ? '' : `&cursor=${cursor}`}`,
        );
        expect(page.total).toBe(7);
        seen.push(...page.servers.map((server: { name: string }) => server.name));
        cursor = page.next_cursor;
      } while (cursor !== null);
      expect(seen).toHaveLength(7);
      expect(new Set(seen).size).toBe(7);
      const byNumber = seen.map(name => Number(name.replace('server-', '')));
      if (sort === 'newest') expect(byNumber).toEqual(byNumber.toSorted((a, b) => b - a));
    }
  });

  it.each([
    ['limit=0'],
    ['limit=501'],
    ['limit=many'],
    ['offset=-1'],
    ['status=gone'],
    ['cursor=nonsense'],
    ['unknown=1'],
  ])('refuses %s', async query => {
    expect((await admin.get(`/api/v1/fleet/servers?${query}`)).status).toBe(422);
  });

  it('shows an organization its own servers only', async () => {
    await register({}, other);
    const mine = (await list('limit=500')).servers.map((server: { id: string }) => server.id);
    const theirs = (await other.get('/api/v1/fleet/servers?limit=500')).body.servers;
    expect(theirs.length).toBeGreaterThan(0);
    for (const server of theirs) expect(mine).not.toContain(server.id);
  });
});

describe('changing a server', () => {
  it('changes each field alone and leaves the others', async () => {
    const server = await register({ description: 'before', region: 'r1', tags: ['x'] });
    const changes = {
      name: `${server.name}-renamed`,
      description: 'after',
      region: 'r2',
      environment: 'production',
      tags: ['y', 'z'],
      metadata: { rack: 7 },
      hostname: 'other.example.com',
      health_interval_seconds: 5,
      metrics_interval_seconds: 86_400,
    };
    let expected = server;
    for (const [field, value] of Object.entries(changes)) {
      const { status, body } = await admin.patch(path(server.id), { [field]: value });
      expect(status).toBe(200);
      expected = {
        ...expected,
        [field]: value,
        revision: expected.revision + 1,
        updated_at: body.server.updated_at,
      };
      expect(body.server).toEqual(expected);
    }
  });

  it('clears what may be empty with null, and refuses null elsewhere', async () => {
    const filled = { description: 'd', region: 'r', environment: 'e' };
    const intervals = { health_interval_seconds: 10, metrics_interval_seconds: 20 };
    const server = await register({ ...filled, ...intervals });
    expect(server).toMatchObject(intervals);
    const empty = Object.fromEntries(Object.keys({ ...filled, ...intervals }).map(field => [field, null]));
    expect((await admin.patch(path(server.id), empty)).body.server).toMatchObject(empty);
    expect((await admin.patch(path(server.id), { name: null })).status).toBe(422);
    expect((await admin.patch(path(server.id), {})).status).toBe(422);
  });

  it('refuses to overwrite a change the caller has not seen', async () => {
    const server = await register();
    const etag = (await admin.get(path(server.id))).headers.get('etag')!;
    expect((await admin.patch(path(server.id), { description: 'first' }, { 'if-match': etag })).status).toBe(
      200,
    );
    expect((await admin.patch(path(server.id), { description: 'second' }, { 'if-match': etag })).status).toBe(
      412,
    );
    expect((await admin.get(path(server.id))).body.server.description).toBe('first');
  });

  it('wants the token again when the address moves to another origin', async () => {
    const server = await register();
    const moved = { api_url: 'https://elsewhere.example.com' };
    const refused = await admin.patch(path(server.id), moved);
    expect(refused.status).toBe(422);
    expect(refused.body.errors[0].pointer).toBe('/api_token');
    expect((await admin.get(path(server.id))).body.server.api_url).toBe(server.api_url);
    expect((await admin.patch(path(server.id), { api_url: `${server.api_url}/ops` })).status).toBe(200);
    expect((await admin.patch(path(server.id), { ...moved, api_token: 'again' })).status).toBe(200);
  });

  it('says that a paused server is not known to be well, and that a resumed one was not checked', async () => {
    const server = await register();
    const paused = await admin.patch(path(server.id), { status: 'maintenance' });
    expect(paused.body.server).toMatchObject({ health_status: 'unknown', health_reason: 'paused' });
    const resumed = await admin.patch(path(server.id), { status: 'active' });
    expect(resumed.body.server).toMatchObject({ health_status: 'unknown', health_reason: 'not_checked' });
    expect((await admin.patch(path(server.id), { status: 'gone' })).status).toBe(422);
  });
});

describe('what is believed of a server', () => {
  const believe = async (id: string) =>
    test.database.db.system.execute(sql`
      update managed_servers set health_status = 'healthy', health_reason = 'ok', suspect_since = created_at,
        flapping_since = created_at, breaker_opened_at = created_at where id = ${id}`);

  it('is shown with how firm it is', async () => {
    const { id, created_at: at } = await register();
    await believe(id);
    expect((await admin.get(path(id))).body.server).toMatchObject({
      suspect_since: at,
      recovering_since: null,
      flapping_since: at,
      breaker_opened_at: at,
    });
  });

  it('begins anew with another address or another way of asking, and with nothing else', async () => {
    const server = await register();
    const { id } = server;
    const unchecked = { health_status: 'unknown', health_reason: 'not_checked', suspect_since: null };
    for (const change of [{ api_url: `${server.api_url}/ops` }, { adapter: 'http' }]) {
      await believe(id);
      expect((await admin.patch(path(id), change)).body.server).toMatchObject(unchecked);
      await believe(id);
      expect((await admin.patch(path(id), change)).body.server).toMatchObject({ health_status: 'healthy' });
    }
    expect((await admin.patch(path(id), { api_token: 'renewed' })).body.server.health_status).toBe('healthy');
  });
});

describe('deleting a server', () => {
  it('hides it at once, and removes everything that belongs to it', async () => {
    const { id, organization_id: organizationId } = await register();
    const { system } = test.database.db;
    await system.execute(sql`
      insert into server_health_checks (organization_id, server_id, timestamp, status, reason)
      values (${organizationId}, ${id}, now(), 'healthy', 'ok')`);
    await system.execute(sql`
      insert into server_metrics_aggregated (organization_id, server_id, timestamp, period)
      values (${organizationId}, ${id}, now(), '1m')`);
    expect((await admin.delete(path(id))).status).toBe(204);
    for (const hidden of ['', '/health', '/health-history', '/metrics'])
      expect((await admin.get(`${path(id)}${hidden}`)).status, hidden).toBe(404);
    expect((await admin.delete(path(id))).status).toBe(404);
    await until('its history to go', async () => {
      const { rows } = await system.one<{ rows: number }>(sql`
        select (select count(*) from server_health_checks where server_id = ${id})
             + (select count(*) from server_metrics_aggregated where server_id = ${id})
             + (select count(*) from server_secrets where server_id = ${id}) as rows`);
      return rows === 0;
    });
  });
});

describe('the summary', () => {
  it('has the same keys for an empty organization', async () => {
    const empty = await (await test.as('viewer', 'empty')).get('/api/v1/fleet/summary');
    const full = await admin.get('/api/v1/fleet/summary');
    expect(Object.keys(empty.body.summary)).toEqual(Object.keys(full.body.summary));
    expect(empty.body.summary.total_servers).toBe(0);
    expect(full.body.summary.total_servers).toBeGreaterThan(0);
  });
});
