import { availableParallelism } from 'node:os';
import { describe, expect, it } from 'vitest';
import { get, secure, serve, start } from '../../../test/hostile/harness.ts';
import { certificate } from '../../../test/hostile/tls-zoo.ts';
import { createTlsMemory } from './trust.ts';

describe('TLS', () => {
  it('believes the certificate it was given, for an address and for a name', async () => {
    const { url, ca } = await secure('none');
    const egress = start();
    expect(await get(egress, url, { tls: { ca } })).toMatchObject({ ok: true, status: 200 });
    const byName = url.replace('127.0.0.1', 'localhost');
    expect(await get(egress, byName, { tls: { ca } })).toMatchObject({ ok: true, status: 200 });
  });

  it.each([
    ['expired', 'CERT_HAS_EXPIRED'],
    ['not yet valid', 'CERT_NOT_YET_VALID'],
    ['wrong name', 'ERR_TLS_CERT_ALTNAME_INVALID'],
  ] as const)('does not believe it when it is %s', async (fault, code) => {
    const { url, ca } = await secure(fault);
    const result = await get(start(), url, { tls: { ca } });
    expect(result).toMatchObject({ ok: false, reason: 'tls_failed', detail: `TLS failed (${code})` });
  });

  it('keeps what one certificate authority vouched for from requests that trust another', async () => {
    const { url, ca } = await secure('none');
    const egress = start();
    expect(await get(egress, url, { tls: { ca } })).toMatchObject({ ok: true });
    expect(await get(egress, url)).toMatchObject({ ok: false, reason: 'tls_failed' });
    expect(await get(egress, url, { tls: { ca: certificate('none').cert } })).toMatchObject({
      reason: 'tls_failed',
    });
  });

  it('keeps its connections, and resumes its session where it has to connect again', async () => {
    const { url, ca, beast } = await secure('none');
    const egress = start();
    const tls = { ca };
    await get(egress, url, { tls });
    await get(egress, url, { tls });
    expect(beast.accepted()).toBe(1);
    const closed = beast.nextClose();
    egress.forget(url);
    await closed;
    expect(await get(egress, url, { tls: { ca } })).toMatchObject({ ok: true });
    expect(beast.accepted()).toBe(2);
    expect(beast.resumed()).toBe(1);
    await egress.close();
    expect(egress.stats()).toMatchObject({ openSockets: 0, handshakes: 0 });
  });

  it.each([
    ['TLSv1.3', {}],
    ['TLSv1.2', { maxVersion: 'TLSv1.2' }],
  ] as const)('resumes its session wherever it has to connect again: %s', async (protocol, limits) => {
    const { url, ca, beast } = await secure('none', limits);
    const egress = start();
    for (let index = 0; index < 4; index++) {
      const ask = get(egress, url, { tls: { ca }, keepAlive: false });
      expect((await Promise.all([ask, beast.nextClose()]))[0]).toMatchObject({ ok: true });
    }
    expect(beast.protocols()).toEqual(Array.from({ length: 4 }, () => protocol));
    expect(beast.resumed()).toBe(3);
  });

  it('remembers one session of an origin and trust, none that is large, and so many altogether', () => {
    const memory = createTlsMemory();
    const trust = { id: 'a', ca: 'a' };
    memory.remember('https://a.example', trust, Buffer.from('old'));
    memory.remember('https://a.example', trust, Buffer.from('new'));
    memory.remember('https://a.example', trust, Buffer.alloc(8_193));
    expect(memory.session('https://a.example', trust)?.toString()).toBe('new');
    expect(memory.session('https://a.example', { id: 'b', ca: 'b' })).toBeUndefined();
    for (let index = 0; index < 10_000; index++) {
      memory.remember(`https://${index}.example`, trust, Buffer.from('s'));
    }
    expect(memory.session('https://a.example', trust)).toBeUndefined();
    expect(memory.session('https://9999.example', trust)?.toString()).toBe('s');
  });

  it.each(['nonsense', '-----BEGIN CERTIFICATE-----\nbm9uc2Vuc2U=\n-----END CERTIFICATE-----\n'])(
    'fails by name when the authority given is none: %j',
    async ca => {
      const { url } = await secure('none');
      expect(await get(start(), url, { tls: { ca } })).toMatchObject({ ok: false, reason: 'tls_failed' });
    },
  );

  it('gives a stalled handshake no place to hold, so that others come through', async () => {
    const stalled = await Promise.all(
      Array.from({ length: 64 * availableParallelism() }, () => serve({ scheme: 'https' })),
    );
    const { url, ca } = await secure('none');
    const egress = start();
    const stalling = stalled.map(beast => get(egress, beast.url));
    await expect.poll(() => egress.stats().handshakes).toBe(stalled.length);
    expect(await get(egress, url, { tls: { ca } })).toMatchObject({ ok: true });
    await egress.close();
    for (const result of await Promise.all(stalling))
      expect(result).toMatchObject({ ok: false, reason: 'aborted' });
    expect(egress.stats()).toMatchObject({ handshakes: 0, handshakesWaiting: 0 });
  });
});
