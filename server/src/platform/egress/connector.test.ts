import { describe, expect, it } from 'vitest';
import { empty, get, names, portOf, serve, start, target } from '../../../test/hostile/harness.ts';
import { systemClock } from '../clock.ts';
import { createEgressPolicy } from './policy.ts';
import { parseTargetUrl } from './url.ts';

describe('a name', () => {
  it('is resolved by us, and only a checked address is connected to', async () => {
    const beast = await serve();
    const egress = start({ lookup: names({ 'a.example': [['127.0.0.1']] }) });
    const url = `http://a.example:${portOf(beast)}`;
    expect(await get(egress, url)).toMatchObject({ ok: true, remoteAddress: '127.0.0.1' });
    expect(beast.requests()[0]).toContain(`host: a.example:${portOf(beast)}`);
  });

  it('is tried on each of its addresses', async () => {
    const beast = await serve();
    const egress = start({ lookup: names({ 'a.example': [['127.0.0.9', '127.0.0.1']] }) });
    expect(await get(egress, `http://a.example:${portOf(beast)}`)).toMatchObject({
      ok: true,
      remoteAddress: '127.0.0.1',
    });
  });

  it('is refused when any of its addresses is', async () => {
    const beast = await serve();
    for (const addresses of [
      ['127.0.0.1', '169.254.169.254'],
      ['::1', '127.0.0.1'],
      ['127.0.0.1', '::ffff:10.0.0.1'],
    ]) {
      const egress = start({ lookup: names({ 'a.example': [addresses] }) });
      const result = await get(egress, `http://a.example:${portOf(beast)}`);
      expect(result).toMatchObject({ ok: false, reason: 'policy_denied' });
      expect(result.ok || result.detail).not.toMatch(/169\.254|10\.0|::1/);
    }
    expect(beast.accepted()).toBe(0);
  });

  it('that moves to a denied address (DNS rebinding) is refused at the next connection', async () => {
    const open = await serve({ host: '127.0.0.2', onRequest: socket => socket.end(empty) });
    const trap = await serve({ host: '127.0.0.1' });
    let nowMs = 0;
    const clock = { ...systemClock, monotonicMs: () => nowMs };
    const lookup = names({ 'a.example': [['127.0.0.2'], ['127.0.0.1']] });
    const egress = start({ allow: ['127.0.0.2/32'], lookup, clock });
    const url = `http://a.example:${portOf(open)}`;
    const ask = () => get(egress, url, { keepAlive: false });
    expect(await ask()).toMatchObject({ ok: true, remoteAddress: '127.0.0.2' });
    nowMs += 700_000;
    expect(await ask()).toMatchObject({ ok: false, reason: 'policy_denied' });
    expect(trap.accepted()).toBe(0);
  });

  it('over plain http must lead into the allow-list', async () => {
    const egress = start({ lookup: names({ 'a.example': [['10.0.0.1']] }) });
    expect(await get(egress, 'http://a.example')).toMatchObject({ ok: false, reason: 'policy_denied' });
    expect(await egress.check(target(egress, 'https://a.example'))).toBeNull();
    expect(egress.stats().connectionsOpened).toBe(0);
  });

  it('that does not exist is a failure of DNS, and so is a resolver that never answers', async () => {
    const egress = start({ lookup: names({}) });
    expect(await get(egress, 'https://a.example')).toMatchObject({ ok: false, reason: 'dns_failed' });
    const stuck = start({ lookup: () => new Promise(() => undefined) });
    expect(await get(stuck, 'https://a.example', { totalTimeoutMs: 30 })).toMatchObject({
      ok: false,
      reason: 'dns_failed',
    });
  });

  it('can be checked without a connection', async () => {
    const table = { 'public.example': [['1.1.1.1']], 'metadata.example': [['169.254.169.254']] };
    const egress = start({ lookup: names(table) });
    expect(await egress.check(target(egress, 'https://public.example'))).toBeNull();
    expect(await egress.check(target(egress, 'https://metadata.example'))).toMatchObject({
      reason: 'policy_denied',
    });
    expect(await egress.check(target(egress, 'https://none.example'))).toMatchObject({
      reason: 'dns_failed',
    });
    expect(egress.stats().connectionsOpened).toBe(0);
  });
});

describe('the address a socket ended up with', () => {
  it('is checked again before anything is sent: the kernel turns 0.0.0.0 into 127.0.0.1', async () => {
    const beast = await serve();
    const egress = start({ allow: ['0.0.0.0/32'] });
    const result = await get(egress, `http://0.0.0.0:${portOf(beast)}`);
    expect(result).toMatchObject({ ok: false, reason: 'policy_denied' });
    expect(beast.requests()).toEqual([]);
  });
});

describe('the allow-list', () => {
  it('opens the exception of our own agent on its port alone', async () => {
    const agent = await serve();
    const trap = await serve();
    const exceptions = [{ address: '127.0.0.1', port: Number(portOf(agent)) }];
    const egress = start({ policy: createEgressPolicy({ purpose: 'poll', exceptions }) });
    expect(await get(egress, agent.url)).toMatchObject({ ok: true });
    expect(parseTargetUrl(trap.url, egress.policy)).toMatchObject({ ok: false, reason: 'plain_denied' });
    const byName = start({ policy: egress.policy, lookup: names({ 'a.example': [['127.0.0.1']] }) });
    expect(await get(byName, `http://a.example:${portOf(trap)}`)).toMatchObject({ reason: 'policy_denied' });
    expect(trap.accepted()).toBe(0);
  });
});
