import { describe, expect, it } from 'vitest';
import { empty, get, portOf, serve, start } from '../../../test/hostile/harness.ts';
import { listen } from '../../../test/hostile/listener.ts';
import { systemClock } from '../clock.ts';

describe('a connection', () => {
  it('is kept and used again', async () => {
    const beast = await serve();
    const egress = start();
    for (let index = 0; index < 5; index++) expect(await get(egress, beast.url)).toMatchObject({ ok: true });
    expect(beast.accepted()).toBe(1);
    expect(egress.stats()).toMatchObject({ openSockets: 1, idleConnections: 1, connectionsOpened: 1 });
  });

  it('is not kept when the request or the server says so', async () => {
    const beast = await serve();
    const egress = start();
    await Promise.all([get(egress, beast.url, { keepAlive: false }), beast.nextClose()]);
    expect(beast.requests()[0]).toContain('connection: close');
    const closing = await serve({
      onRequest: socket => socket.end(empty.replace('\r\n', '\r\nConnection: close\r\n')),
    });
    await Promise.all([get(egress, closing.url), closing.nextClose()]);
    expect(await get(egress, closing.url)).toMatchObject({ ok: true });
    expect(closing.accepted()).toBe(2);
  });

  it('is kept for its origin once, however many were needed at a time', async () => {
    const beast = await serve();
    const egress = start();
    const replies = await Promise.all([
      get(egress, beast.url),
      get(egress, beast.url),
      get(egress, beast.url),
    ]);
    expect(replies.every(reply => reply.ok)).toBe(true);
    await expect.poll(() => egress.stats()).toMatchObject({ openSockets: 1, idleConnections: 1 });
    expect(beast.accepted()).toBe(3);
  });

  it('is not kept beyond the limit of connections', async () => {
    const first = await serve();
    const second = await serve();
    const egress = start({ maxConnections: 1 });
    await get(egress, first.url);
    await Promise.all([get(egress, second.url), second.nextClose()]);
    expect(second.requests()[0]).toContain('connection: close');
    expect(await get(egress, first.url)).toMatchObject({ ok: true });
    expect(first.accepted()).toBe(1);
  });

  it('is given up before the server says that it will be', async () => {
    let nowMs = 0;
    const clock = { ...systemClock, monotonicMs: () => nowMs };
    const says = empty.replace('\r\n', '\r\nKeep-Alive: timeout=5\r\n');
    const beast = await serve({ onRequest: socket => socket.write(says) });
    const egress = start({ clock });
    await get(egress, beast.url);
    nowMs = 3_900;
    await get(egress, beast.url);
    expect(beast.accepted()).toBe(1);
    nowMs += 4_000;
    expect(await get(egress, beast.url)).toMatchObject({ ok: true });
    expect(beast.accepted()).toBe(2);
    expect(egress.stats().staleRetries).toBe(0);
  });

  it('is given up when it has waited for as long as it may', async () => {
    const beast = await serve();
    const egress = start({ keepAliveMs: 30 });
    await Promise.all([get(egress, beast.url), beast.nextClose()]);
    await expect.poll(() => egress.stats()).toMatchObject({ openSockets: 0, idleConnections: 0 });
  });

  it('is given up when the server says something that nobody asked for', async () => {
    let say = () => {};
    const beast = await serve({
      onRequest(socket) {
        socket.write(empty);
        say = () => socket.write('HTTP/1.1 500 Not yours\r\nContent-Length: 0\r\n\r\n');
      },
    });
    const egress = start();
    await get(egress, beast.url);
    const closed = beast.nextClose();
    say();
    await closed;
    expect(await get(egress, beast.url)).toMatchObject({ ok: true, status: 200 });
    expect(beast.accepted()).toBe(2);
  });

  it('leaves no trace of an origin once it is lost', async () => {
    const beast = await listen({ onRequest: socket => socket.write(empty) });
    const egress = start();
    await get(egress, beast.url);
    await beast.stop();
    await expect.poll(() => egress.stats()).toMatchObject({ openSockets: 0, idleConnections: 0 });
  });

  it('that had gone stale is replaced once', async () => {
    let requests = 0;
    // The second request on a connection is answered by a reset: what a server does that had just given it up.
    const beast = await serve({
      onRequest: socket => (++requests === 2 ? socket.resetAndDestroy() : socket.write(empty)),
    });
    const egress = start();
    await get(egress, beast.url);
    expect(await get(egress, beast.url)).toMatchObject({ ok: true });
    expect(beast.requests()).toHaveLength(3);
    expect(egress.stats().staleRetries).toBe(1);
  });

  it('that was new is not replaced, and neither is the replacement', async () => {
    let requests = 0;
    const beast = await serve({
      onRequest: socket => (++requests === 1 ? socket.write(empty) : socket.resetAndDestroy()),
    });
    const egress = start();
    await get(egress, beast.url);
    expect(await get(egress, beast.url)).toMatchObject({ ok: false, reason: 'reset' });
    expect(requests).toBe(3);
    expect(await get(egress, beast.url)).toMatchObject({ ok: false, reason: 'reset' });
    expect(requests).toBe(4);
  });

  it('that went stale is replaced once, even where another stale one is at hand', async () => {
    let asked = 0;
    let reset = () => {};
    const held = Promise.withResolvers<void>();
    const beast = await serve({
      onRequest(socket) {
        const again = beast.requests().at(-1)!.startsWith('GET /again');
        if (again) asked++;
        if (!again || asked > 2) socket.write(empty);
        else if (asked === 2) socket.resetAndDestroy();
        else {
          reset = () => socket.resetAndDestroy();
          held.resolve();
        }
      },
    });
    const egress = start();
    await get(egress, beast.url);
    const result = get(egress, `${beast.url}/again`);
    await held.promise;
    await get(egress, beast.url);
    reset();
    expect(await result).toMatchObject({ ok: false, reason: 'reset' });
    expect(beast.accepted()).toBe(2);
  });

  it('that was lost at the moment of its use is replaced, and the replacement is not', async () => {
    let requests = 0;
    let lose = () => {};
    const beast = await serve({
      onRequest(socket) {
        if (++requests > 1) socket.resetAndDestroy();
        else socket.write(empty);
        lose = () => socket.destroy();
      },
    });
    const egress = start();
    await get(egress, beast.url);
    // Closed, and the client has not had a chance to hear of it.
    lose();
    expect(await get(egress, beast.url)).toMatchObject({ ok: false, reason: 'reset' });
    expect(requests).toBe(2);
    expect(egress.stats().staleRetries).toBe(1);
  });

  it('is not replaced once the answer has begun', async () => {
    let requests = 0;
    const beast = await serve({
      onRequest: socket => (++requests === 1 ? socket.write(empty) : socket.end('HTTP/1.1 200 OK\r\n')),
    });
    const egress = start();
    await get(egress, beast.url);
    expect(await get(egress, beast.url)).toMatchObject({ ok: false, reason: 'reset' });
    expect(requests).toBe(2);
  });

  it('serves one request at a time, so that a hanging one holds up no other of its origin', async () => {
    const beast = await serve({
      onRequest(socket) {
        if (!beast.requests().at(-1)!.startsWith('GET /hang')) socket.write(empty);
      },
    });
    const egress = start();
    const cancel = new AbortController();
    const hanging = get(egress, `${beast.url}/hang`, { signal: cancel.signal });
    expect(await get(egress, `${beast.url}/a`)).toMatchObject({ ok: true });
    expect(await get(egress, `${beast.url}/b`)).toMatchObject({ ok: true });
    cancel.abort();
    expect(await hanging).toMatchObject({ reason: 'aborted' });
    expect(beast.accepted()).toBe(2);
  });

  it('is dropped when its origin is forgotten', async () => {
    const beast = await serve();
    const other = await serve();
    const egress = start();
    await get(egress, beast.url);
    await get(egress, other.url);
    const closed = beast.nextClose();
    egress.forget(beast.url);
    await closed;
    expect(egress.stats().idleConnections).toBe(1);
  });

  it('is not made any more once the egress is closed', async () => {
    const beast = await serve();
    const name = Promise.withResolvers<string[]>();
    const egress = start({ lookup: () => name.promise });
    const waiting = get(egress, `http://a.example:${portOf(beast)}`);
    await egress.close();
    expect(await waiting).toMatchObject({ ok: false, reason: 'aborted' });
    name.resolve(['127.0.0.1']);
    await new Promise(resolve => setImmediate(resolve));
    expect(egress.stats().connectionsOpened).toBe(0);
  });

  it('does not outlive the egress, and neither does a request', async () => {
    const asked = Promise.withResolvers<void>();
    const silent = await serve({ onRequest: () => asked.resolve() });
    const beast = await serve();
    const egress = start();
    await get(egress, beast.url);
    const waiting = get(egress, silent.url);
    const resolving = start({ lookup: () => new Promise(() => undefined) });
    const nameless = get(resolving, 'https://a.example');
    await asked.promise;
    await Promise.all([egress.close(), resolving.close()]);
    expect(await waiting).toMatchObject({ ok: false, reason: 'aborted' });
    expect(await nameless).toMatchObject({ ok: false, reason: 'aborted' });
    expect(egress.stats()).toMatchObject({ openSockets: 0, inFlight: 0, idleConnections: 0 });
    expect(await get(egress, beast.url)).toMatchObject({ ok: false, reason: 'aborted' });
    expect(beast.accepted()).toBe(1);
  });
});

describe('descriptors', () => {
  /** A server that answers `/hang` when it is told to, and everything else at once. */
  const patient = async () => {
    const waiting: (() => void)[] = [];
    const asked: (() => void)[] = [];
    const beast = await serve({
      onRequest(socket) {
        if (!beast.requests().at(-1)!.startsWith('GET /hang')) socket.write(empty);
        else waiting.push(() => socket.write(empty));
        for (const each of asked.splice(0)) each();
      },
    });
    const hang = async (egress: ReturnType<typeof start>) => {
      const heard = new Promise<void>(resolve => asked.push(resolve));
      const result = get(egress, `${beast.url}/hang`);
      await heard;
      return { result, answer: () => waiting.shift()!() };
    };
    return { beast, hang };
  };

  it('are given to requests rather than to connections that wait, the one used longest ago first', async () => {
    const [first, second, third] = [await serve(), await serve(), await serve()];
    const { hang } = await patient();
    const egress = start({ maxConnections: 2 });
    await get(egress, first.url);
    await get(egress, second.url);
    await get(egress, first.url);
    const hanging = await hang(egress);
    expect(egress.stats()).toMatchObject({ openSockets: 3, idleConnections: 2, closedForDescriptors: 0 });
    const [reply] = await Promise.all([get(egress, third.url), second.nextClose()]);
    expect(reply).toMatchObject({ ok: true });
    expect(egress.stats()).toMatchObject({ idleConnections: 1, closedForDescriptors: 2 });
    expect(third.requests()[0]).toContain('connection: close');
    await get(egress, first.url);
    expect(first.accepted()).toBe(1);
    hanging.answer();
    expect(await hanging.result).toMatchObject({ ok: true });
  });

  it('are waited for when all of them are in use', async () => {
    const { hang } = await patient();
    const late = await serve();
    const egress = start({ maxConnections: 1 });
    const [one, two] = [await hang(egress), await hang(egress)];
    const third = get(egress, late.url);
    expect(await get(egress, late.url, { totalTimeoutMs: 30 })).toMatchObject({
      ok: false,
      reason: 'local_fault',
      detail: 'no free descriptor within 30 ms',
    });
    expect(late.accepted()).toBe(0);
    one.answer();
    expect(await third).toMatchObject({ ok: true });
    // It was not kept, although it could have been: somebody was waiting.
    expect(egress.stats().closedForDescriptors).toBeGreaterThan(0);
    two.answer();
    expect(await one.result).toMatchObject({ ok: true });
    expect(await two.result).toMatchObject({ ok: true });
  });

  it('that run short are told of once an hour', async () => {
    let nowMs = 0;
    const warnings: unknown[] = [];
    const clock = { ...systemClock, monotonicMs: () => nowMs };
    const log = { warn: (...line: unknown[]) => void warnings.push(line) };
    const [first, second] = [await serve(), await serve()];
    const egress = start({ maxConnections: 1, clock, log, keepAliveMs: 10_000_000 });
    for (let index = 0; index < 5; index++) {
      await get(egress, first.url);
      expect(warnings).toHaveLength(index === 0 ? 0 : 1);
      await get(egress, second.url);
    }
    expect(warnings).toMatchObject([[{ maxConnections: 1 }, expect.stringContaining('ulimit -n')]]);
    expect(egress.stats().closedForDescriptors).toBe(5);
    nowMs = 3_600_000;
    await get(egress, second.url);
    expect(warnings).toHaveLength(2);
    expect(first.accepted()).toBe(1);
  });
});
