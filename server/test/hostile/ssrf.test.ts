import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/platform/clock.ts';
import { createEgress, type Egress } from '../../src/platform/egress/client.ts';
import { createEgressPolicy } from '../../src/platform/egress/policy.ts';
import { parseTargetUrl } from '../../src/platform/egress/url.ts';
import { type Beast, listen } from './listener.ts';
import { ssrfCorpus, ssrfLookup } from './ssrf-corpus.ts';

let traps: Beast[];
const egresses: Egress[] = [];

beforeAll(async () => {
  const first = await listen({ host: '127.0.0.1' });
  // The same port on IPv6, so that every address of the corpus has a listener behind it.
  traps = [first, await listen({ host: '::1', port: Number(new URL(first.url).port) })];
});

afterAll(async () => {
  for (const egress of egresses) await egress.close();
  for (const trap of traps) await trap.stop();
});

function egressFor(purpose: 'poll' | 'webhook', allow: string[] = []): Egress {
  const egress = createEgress({
    policy: createEgressPolicy({ purpose, allow }),
    clock: systemClock,
    lookup: ssrfLookup,
    keepAliveMs: 75_000,
  });
  egresses.push(egress);
  return egress;
}

/** The reason for which an address is refused, at registration or at the call; null where it was called. */
async function refusal(egress: Egress, text: string): Promise<string | null> {
  const parsed = parseTargetUrl(text, egress.policy);
  if (!parsed.ok) return parsed.reason;
  const result = await egress.get({ url: parsed.url, maxBodyBytes: 1024, totalTimeoutMs: 5_000 });
  return !result.ok && result.reason === 'policy_denied' ? result.reason : null;
}

const trapped = () => traps.reduce((sum, trap) => sum + trap.accepted(), 0);

describe.each(['poll', 'webhook'] as const)('a %s', purpose => {
  it('reaches nothing on this machine by any of 300 and more addresses', async () => {
    const egress = egressFor(purpose);
    const corpus = ssrfCorpus(Number(new URL(traps[0]!.url).port));
    expect(corpus.length).toBeGreaterThanOrEqual(300);

    const reached: string[] = [];
    for (const text of corpus) {
      if ((await refusal(egress, text)) === null) reached.push(text);
    }

    expect(reached).toEqual([]);
    expect(egress.stats().connectionsOpened).toBe(0);
    expect(trapped()).toBe(0);
  });
});

it('the traps do catch what is let through', async () => {
  const egress = egressFor('poll', ['127.0.0.0/8', '::1/128']);
  const calls = traps.map(trap => refusal(egress, trap.url));
  await expect.poll(() => traps.map(trap => trap.accepted())).toEqual([1, 1]);
  await egress.close();
  expect(await Promise.all(calls)).toEqual([null, null]);
});
