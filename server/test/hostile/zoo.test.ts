import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/platform/clock.ts';
import { createEgress, type Egress } from '../../src/platform/egress/client.ts';
import { createEgressPolicy } from '../../src/platform/egress/policy.ts';
import { parseTargetUrl, type TargetUrl } from '../../src/platform/egress/url.ts';
import { type Beast, listen } from './listener.ts';
import { zoo, zooBodyLimit } from './zoo.ts';

const policy = createEgressPolicy({ purpose: 'poll', allow: ['127.0.0.0/8'] });
const token = 'canary-8f3b1c';

// A beast that pours can fill what the kernel buffers on both sides, and no more: on this way nobody reads on.
const kernelBuffers = 24 * 1024 * 1024;

let egress: Egress;
let neighbour: Beast;

beforeAll(async () => {
  egress = createEgress({ policy, clock: systemClock, keepAliveMs: 75_000 });
  neighbour = await listen({
    onRequest: socket => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}'),
  });
});

afterAll(async () => {
  await egress.close();
  await neighbour.stop();
});

function target(url: string): TargetUrl {
  const parsed = parseTargetUrl(url, policy);
  if (!parsed.ok) throw new Error(parsed.detail);
  return parsed.url;
}

const visit = (url: string, totalTimeoutMs: number) =>
  egress.get({
    url: target(url),
    headers: { authorization: `Bearer ${token}` },
    maxBodyBytes: zooBodyLimit,
    totalTimeoutMs,
  });

describe('a server that lies', () => {
  it.each(zoo)('$name: $expectEgress', async entry => {
    const { expectEgress } = entry;
    const beast = await entry.start();
    try {
      const [result, healthy] = await Promise.all([
        // Who never answers is waited for; the others get the time that a busy machine may need.
        visit(beast.url, expectEgress === 'timeout' ? 400 : 10_000),
        visit(neighbour.url, 10_000),
      ]);

      expect(result.ok ? 'ok' : result.reason).toBe(expectEgress);
      if (result.ok) expect(result.body.length).toBeLessThanOrEqual(zooBodyLimit);
      else expect(result.detail).not.toContain(token);
      expect(beast.bytesSent()).toBeLessThan(kernelBuffers);
      expect(healthy).toMatchObject({ ok: true, status: 200 });
    } finally {
      await beast.stop();
    }
  });

  it('leaves nothing behind but the neighbour, polled over one connection all the while', () => {
    expect(neighbour.accepted()).toBe(1);
    expect(egress.stats()).toMatchObject({ inFlight: 0, handshakes: 0, handshakesWaiting: 0 });
  });
});
