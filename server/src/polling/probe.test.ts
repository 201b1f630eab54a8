import { expect, it } from 'vitest';
import type { Egress, EgressFailure, EgressReply, EgressRequest } from '../platform/egress/client.ts';
import { createEgressPolicy } from '../platform/egress/policy.ts';
import { parseTargetUrl } from '../platform/egress/url.ts';
import type { AdapterName } from '../servers/server.ts';
import { adapters, probeHealth, probeMetrics, type Target } from './probe.ts';

const deadlines = { connectTimeoutMs: 3_000, totalTimeoutMs: 10_000 };
const policy = createEgressPolicy({ purpose: 'poll' });

function targetOf(name: AdapterName): Target {
  const at = (path: string) => {
    const parsed = parseTargetUrl(`https://server.example.com${path}`, policy);
    if (!parsed.ok) throw new Error(parsed.detail);
    return parsed.url;
  };
  const adapter = adapters[name];
  return {
    adapter,
    healthUrls: adapter.healthPaths.map(at),
    metricsUrls: adapter.metricsPaths.map(at),
    healthChoice: 0,
    metricsChoice: 0,
    memory: {},
  };
}

const reply = (status: number, body: object | string = '', durationMs = 1): EgressReply => ({
  ok: true,
  status,
  headers: {},
  body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
  durationMs,
  remoteAddress: '192.0.2.1',
});
const timeout: EgressFailure = { ok: false, reason: 'timeout', detail: 'No answer.', durationMs: 10_000 };

/** A network of one server, which answers by path. */
function network(answers: Record<string, EgressReply | EgressFailure>) {
  const requests: EgressRequest[] = [];
  const egress = {
    get(request: EgressRequest) {
      requests.push(request);
      return Promise.resolve(answers[request.url.path] ?? reply(404));
    },
  } as Egress;
  return { egress, requests, paths: () => requests.map(({ url }) => url.path) };
}
const well = reply(200, { database: { status: 'ok' } });

it('asks by the path of the contract, with the token and nothing else of ours', async () => {
  const { egress, requests } = network({ '/health': well });
  expect(await probeHealth(egress, targetOf('ops-center'), 'the-token', deadlines)).toMatchObject({
    status: 'healthy',
  });
  expect(requests).toHaveLength(1);
  expect(requests[0]!.headers).toMatchObject({
    authorization: 'Bearer the-token',
    accept: 'application/json',
  });
  expect(Object.keys(requests[0]!.headers!)).toHaveLength(3);
});

it.each([
  ['nothing', reply(404)],
  ['a page for people', reply(200, '<html>')],
])(
  'tries the other path where the first serves %s, and remembers the one that was understood',
  async (_name, first) => {
    const { egress, paths } = network({ '/health': first, '/api/v1/health': well });
    const target = targetOf('ops-center');
    for (let poll = 0; poll < 2; poll += 1) {
      expect(await probeHealth(egress, target, 't', deadlines)).toMatchObject({ status: 'healthy' });
    }
    expect(paths()).toEqual(['/health', '/api/v1/health', '/api/v1/health']);
  },
);

it.each([
  ['refuses the token', reply(401), 'auth_failed'],
  ['fails', reply(500), 'http_500'],
  ['is silent', timeout, 'timeout'],
])('asks once where the server %s', async (_name, answer, reason) => {
  const { egress, requests } = network({ '/health': answer });
  expect(await probeHealth(egress, targetOf('ops-center'), 't', deadlines)).toMatchObject({
    kind: 'failed',
    reason,
  });
  expect(requests).toHaveLength(1);
});

it('names the failure of the first path where no path is understood', async () => {
  const { egress } = network({ '/health': reply(200, '<html>'), '/api/v1/health': timeout });
  expect(await probeHealth(egress, targetOf('ops-center'), 't', deadlines)).toMatchObject({
    reason: 'bad_payload',
  });
});

it('spends on all paths together what it may spend on one', async () => {
  const slow = reply(404, '', 7_000);
  const { egress, requests } = network({ '/health': slow, '/api/v1/metrics/current': slow });
  await probeHealth(egress, targetOf('ops-center'), 't', deadlines);
  await probeMetrics(egress, targetOf('ops-center'), 't', deadlines);
  expect(requests.map(request => request.totalTimeoutMs)).toEqual([10_000, 3_000, 10_000, 3_000]);
});

it('has a named failure for a kind of server without metrics, and asks nothing', async () => {
  const { egress, requests } = network({});
  expect(await probeMetrics(egress, targetOf('http'), 't', deadlines)).toMatchObject({
    ok: false,
    reason: 'not_found',
  });
  expect(requests).toEqual([]);
});

it.each([
  ['dns_failed', { kind: 'failed', reached: false }],
  ['refused', { kind: 'failed', reached: false }],
  ['tls_failed', { kind: 'failed', reached: false }],
  ['redirect', { kind: 'failed', reached: true }],
  ['too_large', { kind: 'failed', reached: true }],
  ['bad_encoding', { kind: 'failed', reached: true }],
  ['policy_denied', { kind: 'not_checked' }],
  ['local_fault', { kind: 'not_checked' }],
  ['aborted', { kind: 'not_checked' }],
] as const)('%s says whose fault it was', async (reason, outcome) => {
  const { egress } = network({ '/health': { ok: false, reason, detail: 'why', durationMs: 1 } });
  expect(await probeHealth(egress, targetOf('ops-center'), 't', deadlines)).toMatchObject({
    reason,
    detail: 'why',
    ...outcome,
  });
});
