import { describe, expect, it } from 'vitest';
import { empty, get, serve, start, token } from '../../../test/hostile/harness.ts';
import { listen } from '../../../test/hostile/listener.ts';
import { systemClock } from '../clock.ts';

describe('a request', () => {
  it('carries its path, its headers and the wish for an unencoded answer', async () => {
    const beast = await serve();
    const reply = await get(start(), `${beast.url}/health?full=1`);
    expect(reply).toMatchObject({
      ok: true,
      status: 200,
      headers: { 'content-length': '2' },
      remoteAddress: '127.0.0.1',
    });
    expect(reply.ok && reply.body.toString()).toBe('{}');
    const [head] = beast.requests();
    expect(head).toMatch(/^GET \/health\?full=1 HTTP\/1\.1\r\n/);
    expect(head).toContain(`\r\nhost: ${new URL(beast.url).host}\r\n`);
    expect(head).toContain('\r\naccept-encoding: identity');
    expect(head).toContain(`\r\nauthorization: ${token}`);
  });

  it('joins a body that comes in pieces', async () => {
    const beast = await serve({
      onRequest(socket) {
        socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n');
        setImmediate(() => socket.write('2\r\nde\r\n0\r\n\r\n'));
      },
    });
    const reply = await get(start(), beast.url);
    expect(reply.ok && reply.body.toString()).toBe('abcde');
  });

  it('takes an interim response and waits for the answer', async () => {
    const beast = await serve({
      onRequest: socket => socket.write(`HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${empty}`),
    });
    expect(await get(start(), beast.url)).toMatchObject({ ok: true, status: 200 });
  });

  it('ends at its deadline, whatever the server does, and hangs up', async () => {
    const beast = await serve({
      onRequest: socket => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{'),
    });
    const egress = start();
    const [result] = await Promise.all([get(egress, beast.url, { totalTimeoutMs: 50 }), beast.nextClose()]);
    expect(result).toMatchObject({ ok: false, reason: 'timeout', detail: 'no complete answer within 50 ms' });
    expect(egress.stats()).toMatchObject({ inFlight: 0, idleConnections: 0 });
  });

  it('ends when it is cancelled, and does not start when it was', async () => {
    const cancel = new AbortController();
    const beast = await serve({ onRequest: () => cancel.abort() });
    const egress = start();
    const [result] = await Promise.all([
      get(egress, beast.url, { signal: cancel.signal }),
      beast.nextClose(),
    ]);
    expect(result).toMatchObject({ ok: false, reason: 'aborted' });
    expect(await get(egress, beast.url, { signal: cancel.signal })).toMatchObject({
      ok: false,
      reason: 'aborted',
    });
    expect(beast.accepted()).toBe(1);
  });

  it('is refused where nobody listens', async () => {
    const beast = await listen({});
    await beast.stop();
    expect(await get(start(), beast.url)).toMatchObject({
      ok: false,
      reason: 'refused',
      detail: 'connection refused',
    });
  });

  it('with a header that HTTP does not allow is our own fault', async () => {
    const beast = await serve();
    const result = await get(start(), beast.url, { headers: { authorization: 'Bearer canary\r\nX: 1' } });
    expect(result).toMatchObject({ ok: false, reason: 'local_fault' });
    expect(JSON.stringify(result)).not.toContain('canary');
    expect(beast.requests()).toEqual([]);
  });

  it('uses no proxy, whatever the environment says', async () => {
    const proxy = await serve();
    const beast = await serve();
    const variables = [
      'HTTP_PROXY',
      'http_proxy',
      'HTTPS_PROXY',
      'https_proxy',
      'ALL_PROXY',
      'all_proxy',
      'NODE_USE_ENV_PROXY',
    ];
    const before = variables.map(name => process.env[name]);
    for (const name of variables) process.env[name] = name === 'NODE_USE_ENV_PROXY' ? '1' : proxy.url;
    try {
      expect(await get(start(), beast.url)).toMatchObject({ ok: true });
    } finally {
      variables.forEach((name, index) => {
        if (before[index] === undefined) delete process.env[name];
        else process.env[name] = before[index];
      });
    }
    expect(proxy.accepted()).toBe(0);
  });
});

describe('a process that was held up', () => {
  it('takes the answer that came in the meantime', async () => {
    const beast = await serve({
      onRequest(socket) {
        socket.write(empty);
        // The answer is with the kernel; this process sleeps past its own deadline.
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
      },
    });
    const egress = start();
    expect(await get(egress, beast.url, { totalTimeoutMs: 150 })).toMatchObject({ ok: true });
  });

  it('blames itself and not the server for the deadline', async () => {
    const silent = await serve({ onRequest: () => undefined });
    let nowMs = 0;
    const egress = start({ clock: { ...systemClock, monotonicMs: () => (nowMs += 5_000) } });
    expect(await get(egress, silent.url, { totalTimeoutMs: 20 })).toMatchObject({
      ok: false,
      reason: 'local_fault',
    });
  });
});
