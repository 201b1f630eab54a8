import { request } from 'node:http';
import { connect } from 'node:net';
import { Type } from 'typebox';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Client, startTestApp, type TestApp } from '../../../test/app.ts';
import { until } from '../../../test/fakes/until.ts';
import { publicRoute, type Route } from './route.ts';
import { buildHttpServer } from './server.ts';

let test: TestApp;
let admin: Client;

beforeAll(async () => {
  test = await startTestApp();
  admin = await test.as('admin');
});
afterAll(() => test.close());

const servers = '/api/v1/fleet/servers';
const groups = '/api/v1/fleet/groups';
const preview = `${groups}/preview`;

describe('a request that cannot be served', () => {
  it('is answered with a problem that says what it is and can be asked about', async () => {
    const { status, headers, body } = await admin.get('/api/v1/nowhere');
    expect(status).toBe(404);
    expect(headers.get('content-type')).toBe('application/problem+json; charset=utf-8');
    expect(body).toEqual({
      type: 'urn:opsfleet:problem:not_found',
      title: 'Not found',
      status: 404,
      detail: 'There is nothing at this address.',
      code: 'not_found',
      instance: expect.stringMatching(/^urn:uuid:[0-9a-f-]{36}$/),
    });
  });

  it('names the methods there are when it is the method that is wrong', async () => {
    const answer = await admin.put(servers, {});
    expect(answer.status).toBe(405);
    expect(answer.headers.get('allow')).toBe('POST, GET, HEAD');
  });

  it('is not found, and no wrong method, when its id is longer than any id', async () => {
    expect((await admin.get(`${servers}/${'a'.repeat(300)}`)).status).toBe(404);
  });

  it('says the same of an id that cannot be stored', async () => {
    expect([404, 422]).toContain((await admin.get(`${servers}/%00`)).status);
    expect((await admin.get(`${servers}/%zz`)).status).toBe(400);
  });

  it.each([
    [
      'a time that PostgreSQL does not know',
      { sort: 'newest', key: '1', id: '01900000-0000-7000-8000-000000000000' },
    ],
    [
      'a day that does not exist',
      { sort: 'newest', key: '2026-02-30', id: '01900000-0000-7000-8000-000000000000' },
    ],
    ['a NUL', { sort: 'name', key: '\0', id: '01900000-0000-7000-8000-000000000000' }],
    ['half a surrogate pair', { sort: 'name', key: '\ud800', id: '01900000-0000-7000-8000-000000000000' }],
  ])('is refused for a forged cursor with %s', async (_what, cursor) => {
    const text = Buffer.from(JSON.stringify(cursor)).toString('base64url');
    expect((await admin.get(`${servers}?sort=${cursor.sort}&cursor=${text}`)).status).toBe(422);
  });
});

describe('a download', () => {
  const download = (chunks: AsyncIterable<string>): Route =>
    publicRoute({
      method: 'GET',
      path: '/file',
      tag: 'System',
      summary: 'A file',
      replies: { 200: Type.String() },
      handler: async () => ({ download: { name: 'file.csv', type: 'text/csv', chunks } }),
    });

  async function fetched(chunks: AsyncIterable<string>, read: (answer: Response) => Promise<void>) {
    const { context } = test.app;
    const routes = [download(chunks)];
    const app = await buildHttpServer({ context, routes, secure: false, authenticate: async () => null });
    const url = await app.listen({ host: '127.0.0.1', port: 0 });
    try {
      await read(await fetch(`${url}/file`));
    } finally {
      await app.close();
    }
  }
  const logged = () => test.logged().match(/a download ended before its end/g)?.length ?? 0;

  it('that fails in the middle ends without its end, and the log says why', async () => {
    async function* failing(): AsyncGenerator<string> {
      yield 'a\r\n';
      throw new Error('the second page is missing');
    }
    await fetched(failing(), async answer => {
      expect(answer.status).toBe(200);
      await expect(answer.text()).rejects.toThrow();
    });
    expect(logged()).toBe(1);
    expect(test.logged()).toContain('the second page is missing');
  });

  it('that nobody reads any more ends, and is no error', async () => {
    let isEnded = false;
    async function* endless(): AsyncGenerator<string> {
      try {
        for (;;) yield 'a'.repeat(100_000);
      } finally {
        isEnded = true;
      }
    }
    const before = logged();
    await fetched(endless(), async answer => {
      const reader = answer.body!.getReader();
      await reader.read();
      await reader.cancel();
      await until('the download to end', async () => isEnded);
    });
    expect(logged()).toBe(before);
  });
});

describe('a body', () => {
  const nested = (depth: number): string =>
    `{"name":"x","hostname":"h","api_url":"https://h","api_token":"t","metadata":{"a":${'['.repeat(depth)}${']'.repeat(depth)}}}`;
  it.each([
    ['nested too deep', nested(40), '/metadata/a'],
    ['nested half a million deep', nested(500_000), '/metadata/a'],
    ['with a NUL', '{"tags":["\\u0000"]}', '/tags/0'],
    ['with half a surrogate pair', '{"tags":["\\ud800"]}', '/tags/0'],
    ['with a field nobody knows', '{"nonsense":1}', '/nonsense'],
    ['with a prototype', '{"__proto__":{"tags":[]}}', '/__proto__'],
  ])('%s is refused by the field', async (_what, text, pointer) => {
    const answer = await admin.post(text.startsWith('{"name"') ? servers : preview, text);
    expect(answer.status, answer.text.slice(0, 500)).toBe(422);
    expect(answer.body.errors[0].pointer).toMatch(new RegExp(`^${pointer}`));
  });

  it('with a number beyond all numbers is refused by the field', async () => {
    const text = '{"name":"x","hostname":"h","api_url":"https://h","api_token":"t","metadata":{"a":1e400}}';
    const answer = await admin.post(servers, text);
    expect(answer.status).toBe(422);
    expect(answer.body.errors).toEqual([{ pointer: '/metadata/a', detail: 'is not a finite number' }]);
  });

  it('names at most twenty of its faults', async () => {
    const answer = await admin.post(preview, { regions: Array(100).fill(1) });
    expect(answer.body.errors).toHaveLength(20);
  });

  it('may be left out where nothing in it is required', async () => {
    expect((await admin.post(preview, undefined, { 'content-type': 'application/json' })).status).toBe(200);
  });
});

describe('every answer', () => {
  const answers = (): Promise<Response>[] => [
    fetch(`${test.url}/health/live`),
    fetch(`${test.url}/health/live`, { method: 'HEAD' }),
    fetch(`${test.url}/api`),
    fetch(`${test.url}/api/openapi.json`),
    fetch(`${test.url}/servers`),
    fetch(`${test.url}/nowhere`),
    fetch(`${test.url}${servers}`),
    fetch(`${test.url}${servers}`, { method: 'OPTIONS', headers: { origin: 'https://evil.example.com' } }),
    fetch(`${test.url}${servers}`, { method: 'PUT' }),
    fetch(`${test.url}/%zz`),
  ];

  it('carries the headers that keep a browser safe', async () => {
    for (const { url, headers } of await Promise.all(answers())) {
      expect(headers.get('x-content-type-options'), url).toBe('nosniff');
      expect(headers.get('referrer-policy'), url).toBe('no-referrer');
      expect(headers.get('content-security-policy'), url).toMatch(
        /default-src 'none'.*frame-ancestors 'none'/,
      );
      expect(headers.get('content-security-policy'), url).not.toContain('unsafe');
      expect(headers.get('cross-origin-resource-policy'), url).toBe('same-origin');
    }
  });

  it('lets no page of another origin read it', async () => {
    for (const { headers } of await Promise.all(answers())) {
      expect([...headers.keys()].filter(name => name.startsWith('access-control-'))).toEqual([]);
    }
  });
});

describe('bytes that are no request', () => {
  const answerTo = (bytes: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const { hostname, port } = new URL(test.url);
      const socket = connect(Number(port), hostname, () => socket.write(bytes));
      let answer = '';
      socket
        .on('data', chunk => (answer += chunk))
        .on('end', () => resolve(answer))
        .on('error', reject);
    });

  it.each([
    ['malformed', 400, 'SSH-2.0-OpenSSH_9.2\r\n\r\n'],
    [
      'malformed',
      400,
      'GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n',
    ],
    ['too_large', 413, `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`],
  ])('are answered with a problem too: %s', async (code, status, bytes) => {
    const answer = await answerTo(bytes);
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(answer).toContain('content-type: application/problem+json');
    expect(answer).toContain('x-content-type-options: nosniff');
    expect(JSON.parse(answer.split('\r\n\r\n')[1]!)).toMatchObject({ code, status });
  });
});

describe('limits', () => {
  it('count all requests of a token together, and say so', async () => {
    const limited = await startTestApp({ settings: { rateLimitPerMinute: 4 } });
    const [one, two] = [await limited.as('viewer'), await limited.as('viewer')];
    const first = await one.get(servers);
    expect(first.headers.get('ratelimit-limit')).toBe('4');
    expect(first.headers.get('ratelimit-remaining')).toBe('3');
    for (const path of [groups, servers, groups]) expect((await one.get(path)).status).toBe(200);
    const refused = await one.get(servers);
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await two.get(servers)).status).toBe(200);
    await limited.close();
  });

  it('hold off an address that fails to sign in ten times a minute, and nobody else', async () => {
    const fail = (localAddress: string): Promise<number> =>
      new Promise((resolve, reject) => {
        const sent = request(test.url + servers, { localAddress, agent: false }, response => {
          response.resume().on('end', () => resolve(response.statusCode!));
        });
        sent.on('error', reject).end();
      });
    const statuses: number[] = [];
    for (let count = 0; count < 12; count += 1) statuses.push(await fail('127.0.0.77'));
    expect(statuses).toEqual([...Array<number>(10).fill(401), 429, 429]);
    expect(await fail('127.0.0.78')).toBe(401);
    expect((await admin.get(servers)).status).toBe(200);
  });
});
