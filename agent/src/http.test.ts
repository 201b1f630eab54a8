import { once } from 'node:events';
import { request as httpRequest, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { expect, onTestFinished, test } from 'vitest';
import { memoryLog } from '../test/log.ts';
import { tempDir } from '../test/temp-dir.ts';
import { bearer } from './auth.ts';
import { createAgentServer, limits } from './http.ts';
import type { Log } from './log.ts';
import { type Identity, loadIdentity } from './tls.ts';

const token = 'correct-horse-battery-staple-0123456789';
const authorization = `Bearer ${token}`;

async function start(options: { identity?: Identity; log?: Log } = {}): Promise<number> {
  const server = createAgentServer({
    endpoints: {
      '/health': async () => ({ status: 'healthy' }),
      '/broken': () => Promise.reject(new Error('broken inside')),
    },
    authenticate: bearer(token),
    identity: options.identity,
    log: options.log ?? memoryLog(),
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

type Answer = { status: number | undefined; headers: NodeJS.Dict<string | string[]>; body: string };

async function send(port: number, options: RequestOptions & { ca?: string; body?: string }): Promise<Answer> {
  const make = options.ca === undefined ? httpRequest : httpsRequest;
  const request = make({ host: '127.0.0.1', port, path: '/health', agent: false, ...options });
  request.end(options.body);
  const [response] = await once(request, 'response');
  return { status: response.statusCode, headers: response.headers, body: await text(response) };
}

async function dial(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1').on('error', () => {});
  onTestFinished(() => void socket.destroy());
  await once(socket, 'connect');
  return socket;
}

test('who has the token gets JSON, never to be stored', async () => {
  const { status, headers, body } = await send(await start(), { headers: { authorization } });
  expect(status).toBe(200);
  expect(headers).toMatchObject({
    'content-type': 'application/json',
    'content-length': '20',
    'cache-control': 'no-store',
  });
  expect(JSON.parse(body)).toEqual({ status: 'healthy' });
});

test('HEAD gets the same without the body, and a query changes nothing', async () => {
  const port = await start();
  const head = await send(port, { method: 'HEAD', headers: { authorization } });
  expect(head).toMatchObject({ status: 200, body: '' });
  expect(head.headers['content-length']).toBe('20');
  expect((await send(port, { path: '/health?x=1', headers: { authorization } })).status).toBe(200);
});

test.each([
  ['no token', {}],
  ['a wrong token', { authorization: `Bearer ${token.toUpperCase()}` }],
])(
  '%s: 401 for every path, one answer per connection, and the log does not repeat it',
  async (_, headers) => {
    const log = memoryLog();
    const port = await start({ log });
    for (const path of ['/health', '/nowhere']) {
      const answer = await send(port, { path, headers });
      expect(answer.status).toBe(401);
      expect(answer.headers).toMatchObject({
        'www-authenticate': 'Bearer realm="opsfleet-agent"',
        connection: 'close',
      });
    }
    expect(log.messages[0]).toBe('refused a request without the right token');
  },
);

test('a path that is not there: 404; another method: 405', async () => {
  const port = await start();
  for (const path of ['/', '/health/', '/constructor', '/__proto__']) {
    expect((await send(port, { path, headers: { authorization } })).status).toBe(404);
  }
  const refused = await send(port, { method: 'DELETE', headers: { authorization } });
  expect(refused.status).toBe(405);
  expect(refused.headers['allow']).toBe('GET, HEAD');
});

test.each([
  ['of known length', { 'content-length': '5' }],
  ['in chunks', { 'transfer-encoding': 'chunked' }],
])('a body %s: 413, unread', async (_, headers) => {
  const port = await start();
  const answer = await send(port, { method: 'POST', headers: { authorization, ...headers }, body: 'hello' });
  expect(answer.status).toBe(413);
  expect(answer.headers['connection']).toBe('close');
});

test('headers beyond 8 KiB: 431', async () => {
  const port = await start();
  const answer = await send(port, { headers: { authorization, cookie: 'x'.repeat(limits.headerBytes) } });
  expect(answer.status).toBe(431);
});

test('an endpoint that fails: 500 without the reason, which is in the log; the next request is served', async () => {
  const log = memoryLog();
  const port = await start({ log });
  const answer = await send(port, { path: '/broken', headers: { authorization } });
  expect(answer).toMatchObject({ status: 500, body: '{"error":"internal error"}' });
  expect(log.messages).toEqual(['request failed']);
  expect((await send(port, { headers: { authorization } })).status).toBe(200);
});

test('who sends nothing, or half a header, is disconnected', async () => {
  const port = await start();
  const answers = ['', 'GET /health HTTP/1.1\r\nAuthoriz'].map(async bytes => {
    const socket = await dial(port);
    socket.write(bytes);
    return text(socket);
  });
  for (const answer of await Promise.all(answers)) expect(answer).toContain('408');
});

test('what is no HTTP is refused', async () => {
  const socket = await dial(await start());
  socket.write('\x16\x03\x01\x02garbage\r\n\r\n');
  expect(await text(socket)).toContain('400');
});

test('connections beyond 64 are closed', async () => {
  const port = await start();
  await Promise.all(Array.from({ length: limits.connections }, () => dial(port)));
  const oneTooMany = connect(port, '127.0.0.1').on('error', () => {});
  onTestFinished(() => void oneTooMany.destroy());
  await once(oneTooMany, 'close');
});

test('over TLS: served to who trusts the certificate, and plain http is not understood', async () => {
  const identity = loadIdentity({ mode: 'auto' }, tempDir(), {
    now: () => new Date(),
    monotonicMs: () => 0,
  })!;
  const port = await start({ identity });
  expect((await send(port, { ca: identity.cert, headers: { authorization } })).status).toBe(200);
  await expect(send(port, { headers: { authorization } })).rejects.toThrow(/hang up|ECONNRESET|Parse Error/);
});
