import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sql } from '../src/platform/db.ts';
import { type Answer, startTestApp, type TestApp } from './app.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';

/** Every form in which a secret, or its SHA-256, could have been written down. */
function formsOf(secret: string | Buffer): string[] {
  const bytes = Buffer.from(secret);
  return [bytes, createHash('sha256').update(bytes).digest()].flatMap((value, index) => [
    ...(index === 0 ? [value.toString('latin1'), encodeURIComponent(value.toString('latin1'))] : []),
    value.toString('hex'),
    value.toString('hex').toUpperCase(),
    ...base64FormsOf(value),
  ]);
}

/** Base64 of a value depends on where it begins in what was encoded: one form for each of the three places. */
function base64FormsOf(value: Buffer): string[] {
  return [0, 1, 2].flatMap(offset => {
    const encoded = Buffer.concat([Buffer.alloc(offset), value])
      .toString('base64')
      .replaceAll('=', '');
    // The first and the last characters also hold bits of what stands beside it.
    const inner = encoded.slice(offset === 0 ? 0 : offset + 1, -1);
    return [inner, inner.replaceAll('+', '-').replaceAll('/', '_')];
  });
}

/** The names of the secrets that a text gives away. */
function leaksIn(text: string, secrets: Readonly<Record<string, string | Buffer>>): string[] {
  return Object.entries(secrets)
    .filter(([, secret]) => formsOf(secret).some(form => text.includes(form)))
    .map(([name]) => name);
}

/** Everything stored, one text for each table. The hashes that credentials are recognised by are left out. */
async function storedIn({ db }: TestDatabase): Promise<Record<string, string>> {
  const tables = await db.system.many<{ name: string }>(sql`
    select relname as name from pg_class
    where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition`);
  const stored: Record<string, string> = {};
  for (const { name } of tables) {
    const hash = ['api_tokens', 'sessions', 'sign_in_links'].includes(name) ? 'secret_hash' : '';
    const { rows } = await db.system.one<{ rows: string | null }>(sql`
      select string_agg((to_jsonb(t) - ${hash}::text)::text, ' ') as rows from ${sql.table(name)} t`);
    stored[name] = rows ?? '';
  }
  return stored;
}

it('finds a secret in each of its forms, wherever it begins', () => {
  const secret = 'canary?/+ä of a secret';
  const hash = createHash('sha256').update(secret).digest();
  const texts = [
    secret,
    encodeURIComponent(Buffer.from(secret).toString('latin1')),
    Buffer.from(`Bearer ${secret} and more`).toString('base64'),
    Buffer.from(`x${secret}`).toString('base64url'),
    Buffer.from(secret).toString('hex'),
    hash.toString('hex'),
    `\\x${hash.toString('hex')}`,
    hash.toString('base64url'),
  ];
  for (const text of texts.slice(1))
    expect(leaksIn(`before ${text} after`, { secret }), text).toEqual(['secret']);
  expect(leaksIn('nothing of it', { secret })).toEqual([]);
});

/** A managed server that answers each path in its own way, and gives back the token it was sent wherever it can. */
function answer(request: IncomingMessage, response: ServerResponse): void {
  const token = request.headers.authorization ?? '';
  const [, kind, ...rest] = request.url!.split('/');
  const json = (status: number, body: unknown): void => {
    response
      .writeHead(status, { 'content-type': 'application/json', 'x-echo': token })
      .end(JSON.stringify(body));
  };
  if (kind === 'denied') return json(401, { detail: `not ${token}` });
  if (kind === 'failing') return json(500, { error: token, headers: request.headers });
  if (kind === 'garbage')
    return void response.writeHead(200, { 'content-type': 'text/html' }).end(`<p>${token}`);
  if (kind === 'moved') return void response.writeHead(302, { location: `http://127.0.0.1/${token}` }).end();
  if (kind === 'broken') return void response.socket!.end(`HTTP/1.1 200 OK\r\n${token}\r\n\r\n`);
  if (rest.at(-1) === 'current') return json(200, { cpu_percent: 1, memory_percent: 2, disk_percent: 3 });
  json(200, { database: { status: 'ok' }, redis: { status: 'ok' }, services: { healthy: true } });
}
const kinds = ['well', 'denied', 'failing', 'garbage', 'moved', 'broken'];

describe('no secret leaves', () => {
  const random = (): string => randomBytes(24).toString('base64url');
  const secrets = { 'server token': random(), 'replaced server token': random(), 'refused token': random() };
  const credentials: Record<string, string> = {};
  const answers: string[] = [];
  let managed: Server;
  let test: TestApp;

  const see = (seen: Answer): Answer => {
    answers.push(`${JSON.stringify([...seen.headers])} ${seen.text}`);
    return seen;
  };

  beforeAll(async () => {
    managed = createServer(answer).listen(0, '127.0.0.1');
    await once(managed, 'listening');
    test = await startTestApp({ settings: { role: 'all', logLevel: 'trace' } });
    await drive();
  });
  afterAll(async () => {
    await test.close();
    managed.close();
  });

  /** Uses the whole API, rightly and wrongly, with secrets in it. */
  async function drive(): Promise<void> {
    const admin = await test.as('admin');
    credentials['API token'] = admin.token;
    credentials['sign-in link'] = await test.signInLink();
    const { port } = managed.address() as AddressInfo;
    const base = `http://127.0.0.1:${port}`;
    const servers = '/api/v1/fleet/servers';
    const ids: string[] = [];
    for (const kind of kinds) {
      const registration = {
        name: kind,
        hostname: 'h',
        api_url: `${base}/${kind}`,
        api_token: secrets['replaced server token'],
      };
      const { body } = see(await admin.post(servers, registration));
      ids.push(body.server.id);
      see(await admin.post(servers, registration));
      see(await admin.patch(`${servers}/${body.server.id}`, { api_token: secrets['server token'] }));
    }
    for (const id of ids) {
      see(await admin.post(`${servers}/${id}/health-check`));
      see(await admin.post(`${servers}/${id}/metrics/collect`));
      for (const what of ['', '/health', '/health-history', '/metrics'])
        see(await admin.get(`${servers}/${id}${what}`));
    }
    await refusals(admin, `${servers}/${ids[0]}`);
    await sessions();
    for (const path of [
      servers,
      '/api/v1/tokens',
      '/api/v1/fleet/workers/status',
      '/metrics',
      '/api/openapi.json',
    ]) {
      see(await admin.get(path));
    }
  }

  /** What clients get wrong, with the secret in the wrong place. */
  async function refusals(admin: ReturnType<TestApp['with']>, server: string): Promise<void> {
    const wrong = secrets['refused token'];
    see(await admin.patch(server, { api_token: `two words ${wrong}` }));
    see(await admin.patch(server, { api_token: [wrong] }));
    see(await admin.patch(server, `{"api_token": "${wrong}`));
    see(await admin.patch(server, { api_url: `https://user:${wrong}@example.com` }));
    see(await admin.patch(server, { api_url: 'https://elsewhere.example.com' }));
    see(await admin.post('/api/v1/tokens', { name: 'x', role: wrong }));
    see(await admin.get(`/api/v1/fleet/servers?status=${wrong}`));
    see(await test.with(wrong).get(server));
    see(await test.with(null).get(server, { cookie: `opsfleet_session=${wrong}` }));
    see(
      await test
        .with(null)
        .get(server, { authorization: `Basic ${Buffer.from(`admin:${wrong}`).toString('base64')}` }),
    );
    for (const credential of [{ link: wrong }, { token: wrong }]) {
      see(await test.with(null).post('/api/v1/session', credential));
    }
  }

  /** Their first answer is the one place where a new credential is meant to be. */
  async function sessions(): Promise<void> {
    const admin = test.with(credentials['API token']!);
    credentials['new API token'] = (
      await admin.post('/api/v1/tokens', { name: 'new', role: 'viewer' })
    ).body.token;
    const nobody = test.with(null);
    const signedIn = await nobody.post('/api/v1/session', { link: credentials['sign-in link'] });
    credentials['session cookie'] = /=([^;]+)/.exec(signedIn.headers.get('set-cookie')!)![1]!;
    const cookie = `opsfleet_session=${credentials['session cookie']}`;
    see(await nobody.post('/api/v1/session', { link: credentials['sign-in link'] }));
    see(await nobody.get('/api/v1/session', { cookie }));
    see(await nobody.delete('/api/v1/session', { cookie }));
    see(await nobody.delete('/api/v1/session', { cookie, 'sec-fetch-site': 'same-origin' }));
  }

  it('was tried with servers that fail in every way, and with one that does not', async () => {
    const history = await test.database.db.system.many<{ reason: string }>(sql`
      select distinct reason from server_health_checks order by reason`);
    expect(history.length).toBeGreaterThanOrEqual(5);
    expect(history.map(row => row.reason)).toContain('ok');
    expect(Object.keys(credentials)).toHaveLength(4);
  });

  it('in an answer', () => {
    for (const text of answers) expect(leaksIn(text, { ...secrets, ...credentials }), text).toEqual([]);
  });

  it('in the log, however much it tells', () => {
    expect(test.logged()).toContain('request failed');
    expect(leaksIn(test.logged(), { ...secrets, ...credentials })).toEqual([]);
  });

  it('into the database', async () => {
    await test.app.context.authenticator.flush();
    const stored = await storedIn(test.database);
    expect(stored['server_secrets']).toContain('ciphertext');
    for (const [table, rows] of Object.entries(stored)) {
      expect(leaksIn(rows, { ...secrets, ...credentials }), table).toEqual([]);
    }
  });
});

describe('the program itself', () => {
  let database: TestDatabase;
  let dataDir: string;
  let child: ChildProcess | undefined;

  beforeAll(async () => {
    database = await createTestDatabase();
    dataDir = await mkdtemp(join(tmpdir(), 'opsfleet-canary-'));
  });
  afterAll(async () => {
    if (child?.exitCode === null && child.kill('SIGKILL')) await once(child, 'exit');
    await database.close();
    await rm(dataDir, { recursive: true, force: true });
  });

  it('prints none of its secrets but the sign-in link, and stores none', async () => {
    const adminToken = randomBytes(24).toString('base64url');
    const masterKey = randomBytes(32);
    const { host, port, user, database: name } = database.connection;
    const started = spawn(process.execPath, [fileURLToPath(new URL('../src/main.ts', import.meta.url))], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        DATABASE_URL: `postgres://${user}@localhost/${name}?host=${encodeURIComponent(host)}&port=${port}`,
        OPSFLEET_DATA_DIR: dataDir,
        OPSFLEET_PORT: '0',
        OPSFLEET_ADMIN_TOKEN: adminToken,
        OPSFLEET_MASTER_KEY: masterKey.toString('hex'),
        OPSFLEET_LOG_LEVEL: 'trace',
        FLEET_HEALTH_INTERVAL: '0.5',
      },
    });
    child = started;
    let printed = '';
    const ready = Promise.withResolvers<void>();
    for (const stream of [started.stdout, started.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        printed += text;
        if (printed.includes('Stop with Ctrl-C')) ready.resolve();
      });
    }
    started.once('exit', () => ready.reject(new Error(`it ended early: ${printed}`)));
    await ready.promise;
    const [, url, link] = /dashboard +(\S+)\/sign-in#link=(\S+)/.exec(printed)!;
    const checks = sql<{ checks: number }>`select count(*) as checks from server_health_checks`;
    while ((await database.db.system.one(checks)).checks === 0);
    const headers = { authorization: `Bearer ${adminToken}` };
    expect((await fetch(`${url}/api/v1/fleet/servers`, { headers })).status).toBe(200);
    started.removeAllListeners('exit');
    started.kill('SIGTERM');
    await once(started, 'exit');
    const agentToken = (await readFile(join(dataDir, 'agent-token'), 'utf8')).trim();
    const secrets = { adminToken, masterKey, agentToken, link: link! };
    expect(leaksIn(printed.replace(`#link=${link}`, ''), secrets)).toEqual([]);
    for (const [table, rows] of Object.entries(await storedIn(database)))
      expect(leaksIn(rows, secrets), table).toEqual([]);
  });
});
