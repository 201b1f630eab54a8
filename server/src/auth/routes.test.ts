import { setTimeout as turn } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Client, startTestApp, type TestApp } from '../../test/app.ts';
import { createSignInLink } from '../bootstrap.ts';
import { type Clock, systemClock } from '../platform/clock.ts';

const path = '/api/v1/session';
const minuteMs = 60_000;

/** Now, and as much later as a test says. */
let aheadMs = 0;
const clock: Clock = {
  now: () => new Date(Date.now() + aheadMs),
  monotonicMs: () => performance.now() + aheadMs,
  sleep: systemClock.sleep,
};

let test: TestApp;
let nobody: Client;

beforeAll(async () => {
  test = await startTestApp({ app: { clock } });
  nobody = test.with(null);
});
afterAll(() => test.close());

/** `name=value` of the cookie an answer sets. */
const cookieOf = (answer: { headers: Headers }): string => answer.headers.get('set-cookie')!.split(';')[0]!;
const signInBy = async (credential: object): Promise<string> => {
  const answer = await nobody.post(path, credential);
  expect(answer.status, answer.text).toBe(201);
  return cookieOf(answer);
};
const sessionOf = (cookie: string) => nobody.get(path, { cookie });

describe('a sign-in link', () => {
  it('signs a browser in as an admin of its organization', async () => {
    const cookie = await signInBy({ link: await test.signInLink() });
    const { status, body } = await sessionOf(cookie);
    expect(status).toBe(200);
    expect(body).toMatchObject({ principal: { kind: 'session', name: 'browser session' }, role: 'admin' });
    expect(body.organization_id).toBe(await test.organization('default'));
  });

  it('works once, however many ask at the same time', async () => {
    const link = await test.signInLink();
    const answers = await Promise.all(Array.from({ length: 10 }, () => nobody.post(path, { link })));
    expect(answers.map(answer => answer.status).toSorted((a, b) => a - b)).toEqual([
      201,
      ...Array<number>(9).fill(401),
    ]);
    const again = await nobody.post(path, { link });
    expect(again.status).toBe(401);
    expect(again.body.detail).toBe('This sign-in link was used already or has expired.');
    expect(again.headers.get('set-cookie')).toBeNull();
  });

  it('works for 15 minutes', async () => {
    const [early, late] = [await test.signInLink(), await test.signInLink()];
    aheadMs += 15 * minuteMs - 5_000;
    expect((await nobody.post(path, { link: early })).status).toBe(201);
    aheadMs += 5_001;
    expect((await nobody.post(path, { link: late })).status).toBe(401);
  });

  it('is refused in the words of an unknown one when it was never made', async () => {
    const answer = await nobody.post(path, { link: 'x'.repeat(43) });
    expect(answer.status).toBe(401);
    expect(answer.body.detail).toBe('This sign-in link was used already or has expired.');
  });
});

describe('signing in with an API token', () => {
  it('gives a session of the same organization and role', async () => {
    const { token } = await test.as('operator', 'tenant');
    const { body } = await sessionOf(await signInBy({ token }));
    expect(body).toMatchObject({ role: 'operator', organization_id: await test.organization('tenant') });
    expect(body.permissions).toEqual(['fleet:read', 'health:check']);
  });

  it('refuses an unknown token', async () => {
    const answer = await nobody.post(path, { token: 'flt_unknown' });
    expect(answer.status).toBe(401);
    expect(answer.body.detail).toBe('This API token is not valid.');
  });

  it.each([[{}], [{ link: 'a', token: 'b' }], [{ link: '' }], [{ password: 'x' }]])(
    'refuses %j',
    async body => {
      expect((await nobody.post(path, body)).status).toBe(422);
    },
  );
});

describe('a session', () => {
  it('ends after twelve hours', async () => {
    const { token } = await test.as('viewer');
    const cookie = await signInBy({ token });
    aheadMs += 12 * 60 * minuteMs - 10_000;
    expect((await sessionOf(cookie)).status).toBe(200);
    aheadMs += 10_001;
    expect((await sessionOf(cookie)).status).toBe(401);
  });

  it('ends at once when the token that opened it is revoked, and no other does', async () => {
    const admin = await test.as('admin');
    const make = async (name: string) => (await admin.post('/api/v1/tokens', { name, role: 'viewer' })).body;
    const [revoked, kept] = [await make('revoked'), await make('kept')];
    const cookies = [await signInBy({ token: revoked.token }), await signInBy({ token: kept.token })];
    for (const cookie of cookies) expect((await sessionOf(cookie)).status).toBe(200);
    expect((await admin.delete(`/api/v1/tokens/${revoked.api_token.id}`)).status).toBe(204);
    expect((await sessionOf(cookies[0]!)).status).toBe(401);
    expect((await sessionOf(cookies[1]!)).status).toBe(200);
  });

  it('ends when the token that opened it expires', async () => {
    const admin = await test.as('admin');
    const expiresAt = new Date(clock.now().getTime() + minuteMs).toISOString();
    const made = await admin.post('/api/v1/tokens', { name: 'short', role: 'viewer', expires_at: expiresAt });
    const cookie = await signInBy({ token: made.body.token });
    expect((await sessionOf(cookie)).status).toBe(200);
    aheadMs += minuteMs + 1;
    expect((await sessionOf(cookie)).status).toBe(401);
  });

  it('ends by signing out, which also takes the cookie away', async () => {
    const { token } = await test.as('viewer');
    const cookie = await signInBy({ token });
    const answer = await nobody.delete(path, { cookie, 'sec-fetch-site': 'same-origin' });
    expect(answer.status).toBe(204);
    expect(answer.headers.get('set-cookie')).toBe(
      'opsfleet_session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0',
    );
    expect((await sessionOf(cookie)).status).toBe(401);
  });

  it('is not ended by signing out with the token', async () => {
    const viewer = await test.as('viewer');
    const cookie = await signInBy({ token: viewer.token });
    expect((await viewer.delete(path)).status).toBe(204);
    expect((await sessionOf(cookie)).status).toBe(200);
  });
});

describe('the session cookie', () => {
  const setCookie = async (publicUrl: string | null): Promise<string> => {
    const app = await startTestApp({ settings: { publicUrl } });
    const answer = await app.with(null).post(path, { link: await app.signInLink() });
    await app.close();
    return answer.headers.get('set-cookie')!;
  };

  it('is for this host alone, unreadable for scripts, never sent across sites, and lasts as long as the session', async () => {
    expect(await setCookie(null)).toMatch(
      /^opsfleet_session=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict; Max-Age=43200$/,
    );
  });

  it('is bound to TLS and to the host where the public address is https', async () => {
    expect(await setCookie('https://fleet.example.com')).toMatch(
      /^__Host-opsfleet_session=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict; Max-Age=43200; Secure$/,
    );
  });
});

describe('a request that changes something with a cookie', () => {
  let cookie: string;
  beforeAll(async () => {
    cookie = await signInBy({
      link: await createSignInLink(test.app.context, await test.organization('default')),
    });
  });
  const host = () => new URL(test.url).host;
  const change = (headers: Record<string, string>) =>
    nobody.post('/api/v1/fleet/groups/preview', {}, { cookie, ...headers });

  it.each([['same-origin'], ['none']])('comes from the dashboard: Sec-Fetch-Site %s', async site => {
    expect((await change({ 'sec-fetch-site': site })).status).toBe(200);
  });

  it.each([['cross-site'], ['same-site'], ['nonsense']])('is refused with Sec-Fetch-Site %s', async site => {
    const answer = await change({ 'sec-fetch-site': site, origin: test.url });
    expect(answer.status).toBe(403);
    expect(answer.body.detail).toBe('A browser session may only be used from the dashboard itself.');
  });

  it('is judged by its Origin where the browser sends no Sec-Fetch-Site', async () => {
    expect((await change({ origin: `http://${host()}` })).status).toBe(200);
    expect((await change({ origin: 'https://evil.example.com' })).status).toBe(403);
    expect((await change({ origin: 'null' })).status).toBe(403);
    expect((await change({})).status).toBe(403);
  });

  it('needs no such thing where it only reads, or carries a token instead', async () => {
    expect((await nobody.get(path, { cookie, 'sec-fetch-site': 'cross-site' })).status).toBe(200);
    const viewer = await test.as('viewer');
    const headers = { cookie, 'sec-fetch-site': 'cross-site' };
    expect((await viewer.post('/api/v1/fleet/groups/preview', {}, headers)).status).toBe(200);
  });
});

describe('an API token', () => {
  it('counts before a cookie, and a wrong one is not made good by a cookie', async () => {
    const cookie = await signInBy({
      link: await createSignInLink(test.app.context, await test.organization('default')),
    });
    const viewer = await test.as('viewer');
    expect((await viewer.get(path, { cookie })).body.principal.kind).toBe('token');
    expect((await test.with('flt_wrong').get(path, { cookie })).status).toBe(401);
  });

  it('says when it was used last', async () => {
    const admin = await test.as('admin', 'used');
    const lastUse = async () => (await admin.get('/api/v1/tokens')).body.api_tokens[0].last_used_at;
    expect(await lastUse()).toBeNull();
    await test.app.context.authenticator.flush();
    expect(new Date(await lastUse()).getTime()).toBeGreaterThan(clock.now().getTime() - minuteMs);
  });
});

it('signing in takes one database connection: a crowd that needs a second one each would wait for itself', async () => {
  const crowd = await startTestApp();
  const { token } = await crowd.as('viewer');
  const { db, settings } = crowd.app.context;
  const released = Promise.withResolvers<void>();
  const all = Array.from({ length: settings.databasePoolSize - 1 });
  const held = all.map(() => db.system.transaction(() => released.promise));
  while (db.usage().total - db.usage().idle < held.length) await turn(1);
  const answer = await crowd.with(null).post(path, { token });
  released.resolve();
  await Promise.all(held);
  expect(answer.status).toBe(201);
  await crowd.close();
});
