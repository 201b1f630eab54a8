import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CheckOutcome } from '../../health/check.ts';
import type { EgressReply } from '../../platform/egress/client.ts';
import { isStorableText } from '../../platform/egress/json.ts';
import { opsCenter } from './ops-center.ts';

const reply = (body: unknown, status = 200): EgressReply => ({
  ok: true,
  status,
  headers: {},
  body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
  durationMs: 1,
  remoteAddress: '192.0.2.1',
});
const health = (body: unknown, status?: number): CheckOutcome => opsCenter.readHealth(reply(body, status));
const ok = { status: 'ok' };

describe('the health of a server that speaks the contract', () => {
  it.each([
    ['all ok', { database: ok, redis: ok, services: { healthy: true } }, 'healthy', 'ok'],
    ['no word of services', { database: ok, redis: ok }, 'healthy', 'ok'],
    ['no redis, which not everybody has', { database: ok, services: { healthy: true } }, 'healthy', 'ok'],
    [
      'services fail',
      { database: ok, redis: ok, services: { healthy: false } },
      'degraded',
      'component_failed',
    ],
    ['the database fails', { database: { status: 'down' }, redis: ok }, 'critical', 'component_failed'],
    ['redis fails', { database: ok, redis: { status: 'error' } }, 'critical', 'component_failed'],
    ['the database limps', { database: { status: 'degraded' } }, 'degraded', 'component_failed'],
    ['a part of its own fails', { database: ok, queue: { status: 'down' } }, 'degraded', 'component_failed'],
    [
      'a part that it calls critical',
      { queue: { status: 'down', critical: true } },
      'critical',
      'component_failed',
    ],
    [
      'a database that it does not call critical',
      { database: { status: 'down', critical: false } },
      'degraded',
      'component_failed',
    ],
    ['only its own word, good', { status: 'UP' }, 'healthy', 'ok'],
    ['only its own word, so-so', { status: 'warning' }, 'degraded', 'reported_degraded'],
    ['only its own word, bad', { status: 'on fire' }, 'critical', 'reported_critical'],
    [
      'two names for the database, one fails',
      { database: { status: 'down' }, postgres: ok },
      'critical',
      'component_failed',
    ],
    ['unknown additions', { database: ok, uptime: 5, note: 'hi', list: [1] }, 'healthy', 'ok'],
    [
      'a part called constructor',
      { database: ok, constructor: { status: 'down' } },
      'degraded',
      'component_failed',
    ],
  ])('%s', (_name, body, status, reason) => {
    expect(health(body)).toMatchObject({ kind: 'answered', status, reason });
  });

  it.each([
    ['{}', '{}'],
    ['a list', '[1,2,3]'],
    ['null', 'null'],
    ['a component that is null', '{"database":null}'],
    ['HTML', '<!doctype html><title>Welcome</title>'],
    ['nothing', ''],
    ['half a document', '{"database":{"status":'],
    ['33 levels', `${'['.repeat(33)}${']'.repeat(33)}`],
    [
      '51 components',
      JSON.stringify(Object.fromEntries(Array.from({ length: 51 }, (_, n) => [`c${n}`, ok]))),
    ],
  ])('%s is no answer', (_name, body) => {
    expect(health(body)).toMatchObject({ kind: 'failed', reason: 'bad_payload', reached: true });
  });

  it('says that HTML is HTML: a page for people answers every address', () => {
    expect(health(' <html></html>')).toMatchObject({ detail: 'The answer is HTML, not JSON.' });
  });

  it.each([
    [401, 'auth_failed'],
    [403, 'auth_failed'],
    [404, 'not_found'],
    [410, 'not_found'],
    [429, 'http_429'],
    [500, 'http_500'],
    [503, 'http_503'],
  ])('HTTP %i is %s, whatever the body says', (status, reason) => {
    expect(health({ database: ok, redis: ok }, status)).toMatchObject({
      kind: 'failed',
      reason,
      reached: true,
    });
  });

  it("understands Ops-Center's own answer", () => {
    const body = {
      status: 'healthy',
      timestamp: '2026-11-01T00:00:00Z',
      version: '2.4.0',
      checks: {
        postgres: { status: 'healthy', latency_ms: 2 },
        redis: { status: 'healthy' },
        docker_services: { status: 'healthy', running: 12 },
        system: { cpu_percent: 4, memory_percent: 40, disk_percent: 60 },
      },
    };
    expect(health(body)).toMatchObject({
      status: 'healthy',
      version: '2.4.0',
      components: {
        database: { healthy: true, critical: true },
        redis: { healthy: true },
        services: { healthy: true },
      },
    });
    body.checks.postgres.status = 'unhealthy';
    expect(health(body)).toMatchObject({ status: 'critical', detail: 'database: unhealthy' });
  });

  it('cuts what it repeats, and leaves nothing in it that a terminal or a database would trip over', () => {
    const outcome = health({
      database: { status: 'down', message: `\u001b]0;owned\u0007\u0000${'x'.repeat(1_000)}` },
    });
    expect(outcome.detail).toMatch(/^database: {2}]0;owned x+$/);
    expect(outcome.detail!.length).toBeLessThan(220);
  });
});

describe('the metrics', () => {
  const metrics = (body: unknown, status?: number) => opsCenter.readMetrics(reply(body, status), {});

  it('are the twelve fields, or what Ops-Center calls them', () => {
    expect(metrics({ cpu_percent: 1.5, total_users: 2 })).toMatchObject({
      ok: true,
      metrics: { cpu_percent: 1.5, total_users: 2 },
    });
    expect(metrics({ cpu: { usage_percent: 7 }, network: { bytes_sent: 9 } })).toMatchObject({
      metrics: { cpu_percent: 7, network_tx_bytes: 9 },
    });
  });

  it.each([
    ['HTTP 500', { cpu_percent: 1 }, 500, 'http_500'],
    ['HTTP 401', {}, 401, 'auth_failed'],
    ['none of them', {}, 200, 'bad_payload'],
    ['a number beyond doubles', '{"cpu_percent":1e400}', 200, 'bad_payload'],
  ])('%s is a named failure', (_name, body, status, reason) => {
    expect(metrics(body, status)).toMatchObject({ ok: false, reason });
  });
});

describe('whatever a server sends', () => {
  const anyBody = fc.oneof(
    fc.uint8Array({ maxLength: 300 }).map(bytes => Buffer.from(bytes)),
    fc.json({ maxDepth: 6 }).map(text => Buffer.from(text)),
    // Close to the contract, with every name that an object has by itself.
    fc
      .dictionary(
        fc.oneof(
          fc.constantFrom(
            'database',
            'redis',
            'services',
            'checks',
            'status',
            'version',
            '__proto__',
            'constructor',
            'toString',
          ),
          fc.string(),
        ),
        fc.oneof(
          fc.jsonValue(),
          fc.record(
            {
              status: fc.string({ unit: 'binary' }),
              healthy: fc.boolean(),
              message: fc.string({ unit: 'binary' }),
            },
            { requiredKeys: [] },
          ),
        ),
      )
      .map(value => Buffer.from(JSON.stringify(value))),
  );

  it('there is an outcome, all of it fit to be stored', () => {
    fc.assert(
      fc.property(anyBody, fc.integer({ min: 100, max: 999 }), (body, status) => {
        const answer = { ...reply(''), body, status: status > 600 ? 200 : status };
        const outcome = opsCenter.readHealth(answer);
        expect(['answered', 'failed']).toContain(outcome.kind);
        expect(storable(outcome)).toBe(true);
        const parsed = opsCenter.readMetrics(answer, {});
        for (const value of Object.values(parsed.ok ? parsed.metrics : {}))
          expect(Number.isFinite(value)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it('a name that every object has does not stand for another component', () => {
    const outcome = health('{"__proto__":{"status":"down"},"toString":{"status":"ok"}}');
    expect(outcome).toMatchObject({ status: 'degraded', detail: '__proto__: down' });
    expect(JSON.stringify(outcome)).toContain('"toString"');
  });
});

/** Whether PostgreSQL takes every text in it, keys included. */
function storable(value: unknown): boolean {
  if (typeof value === 'string') return isStorableText(value);
  if (typeof value !== 'object' || value === null) return true;
  return Object.entries(value).every(([key, each]) => isStorableText(key) && storable(each));
}
