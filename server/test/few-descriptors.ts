import { systemClock } from '../src/platform/clock.ts';
import { descriptorLimit } from '../src/platform/descriptors.ts';
import { createEgress } from '../src/platform/egress/client.ts';
import { createEgressPolicy } from '../src/platform/egress/policy.ts';
import { parseTargetUrl } from '../src/platform/egress/url.ts';

/**
 * A program of its own, to be started with few descriptors: asks a port of loopback under many names, all at
 * once, and then twice in turn. Prints the outcomes and the state of its connections as JSON.
 */
const [port, origins] = process.argv.slice(2);
const limit = descriptorLimit();
if (limit === null) throw new Error('the system does not say how many descriptors there are');

const policy = createEgressPolicy({ purpose: 'poll', allow: ['127.0.0.0/8'] });
const egress = createEgress({
  policy,
  clock: systemClock,
  keepAliveMs: 75_000,
  maxConnections: Math.floor(limit * 0.8),
  lookup: async () => ['127.0.0.1'],
});
const urls = Array.from({ length: Number(origins) }, (_, index) => {
  const parsed = parseTargetUrl(`http://server-${index}.example:${port}`, policy);
  if (!parsed.ok) throw new Error(parsed.detail);
  return parsed.url;
});

const outcomes: Record<string, number> = {};
const ask = async (url: (typeof urls)[number]): Promise<void> => {
  const reply = await egress.get({ url, maxBodyBytes: 1024, totalTimeoutMs: 25_000 });
  const outcome = reply.ok ? 'ok' : reply.detail;
  outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
};
await Promise.all(urls.map(ask));
const rest = [...urls, ...urls].values();
const lane = async (): Promise<void> => {
  for (const url of rest) await ask(url);
};
await Promise.all(Array.from({ length: 20 }, lane));
process.stdout.write(JSON.stringify({ limit, outcomes, stats: egress.stats() }));
await egress.close();
