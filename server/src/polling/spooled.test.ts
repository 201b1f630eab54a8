import { deflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { healthStatuses } from '../events/event.ts';
import { checkStatuses } from '../health/history.ts';
import { newId, type OrganizationId, type ServerId } from '../ids.ts';
import { metricEntries } from '../metrics/metric.ts';
import { type Codec, healthChecks, healthWrites, metricsRows, metricsWrites } from './spooled.ts';

const organizationId = newId<OrganizationId>(Date.UTC(2026, 10, 2));
const serverId = newId<ServerId>(Date.UTC(2026, 10, 2));
const at = fc.date({ noInvalidDate: true });
const text = fc.string({ unit: 'binary' });
const object = <T extends object>(model: { [Key in keyof T]: fc.Arbitrary<T[Key]> }) =>
  fc.record(model, { noNullPrototype: true });
const orNull = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: null });
const status = fc.constantFrom(...healthStatuses);
// JSON has no -0, and no column of ours tells it from 0.
const number = fc.double({ noNaN: true, noDefaultInfinity: true }).map(value => value + 0);
const metrics = fc.record(Object.fromEntries(metricEntries.map(([field]) => [field, number])), {
  requiredKeys: [],
  noNullPrototype: true,
});
const reason = text;
const component = fc.record(
  { healthy: fc.boolean(), critical: fc.boolean(), status: text, message: text },
  { requiredKeys: ['healthy', 'critical', 'status'], noNullPrototype: true },
);

const check = object({
  organizationId: fc.constant(organizationId),
  serverId: fc.constant(serverId),
  at,
  status: fc.constantFrom(...checkStatuses),
  reason,
  responseTimeMs: orNull(fc.nat()),
  databaseHealthy: orNull(fc.boolean()),
  redisHealthy: orNull(fc.boolean()),
  servicesHealthy: orNull(fc.boolean()),
  errorMessage: orNull(text),
  errorDetails: orNull(fc.dictionary(text, component, { noNullPrototype: true })),
});
const statusChange = fc.record(
  { from: status, to: status, reason, at, flapping: fc.constant(true as const) },
  { requiredKeys: ['from', 'to', 'reason', 'at'], noNullPrototype: true },
);
const flappingChange = object({ isFlapping: fc.boolean(), percent: number, at });
const healthWrite = object({
  organizationId: fc.constant(organizationId),
  id: fc.constant(serverId),
  name: text,
  slot: fc.nat(255),
  epoch: fc.maxSafeNat(),
  seq: fc.maxSafeNat(),
  state: object({
    status,
    reason,
    detail: orNull(text),
    since: at,
    lastCheckedAt: orNull(at),
    lastSeenAt: orNull(at),
    consecutiveFailures: fc.nat(),
    consecutiveSuccesses: fc.nat(),
    recentResults: fc.nat(),
    knownResults: fc.nat(),
    suspectSince: orNull(at),
    recoveringSince: orNull(at),
    flappingSince: orNull(at),
    breakerOpenedAt: orNull(at),
  }),
  components: orNull(fc.dictionary(text, component, { noNullPrototype: true })),
  version: orNull(text),
  responseTimeMs: orNull(fc.nat()),
  changes: fc.array(fc.oneof(statusChange, flappingChange), { maxLength: 3 }),
});
const metricsRow = object({
  organizationId: fc.constant(organizationId),
  serverId: fc.constant(serverId),
  at,
  metrics,
  reportedAt: orNull(at),
});
const metricsWrite = object({
  organizationId: fc.constant(organizationId),
  id: fc.constant(serverId),
  epoch: fc.maxSafeNat(),
  at,
  metrics: orNull(metrics),
  reason,
});

describe('a batch on disk', () => {
  const everything: [string, Codec<unknown>, fc.Arbitrary<unknown>][] = [
    ['health checks', healthChecks, check],
    ['health states', healthWrites, healthWrite],
    ['metrics', metricsRows, metricsRow],
    ['latest metrics', metricsWrites, metricsWrite],
  ];
  it.each(everything)('of %s comes back exactly as it was', (_what, codec, item) => {
    fc.assert(
      fc.property(fc.array(item, { maxLength: 5 }), batch => {
        expect(codec.decode(codec.encode(batch))).toStrictEqual(batch);
      }),
    );
  });

  it('that has a component called __proto__ comes back with it', () => {
    const [write] = fc.sample(healthWrite, { numRuns: 1, seed: 1 });
    const components = JSON.parse('{"__proto__": {"healthy": false, "critical": true, "status": "down"}}');
    const [back] = healthWrites.decode(healthWrites.encode([{ ...write!, components }]))!;
    expect(Object.entries(back!.components!)).toEqual(Object.entries(components));
  });

  const row = { organizationId, serverId, at: new Date(0).toISOString(), metrics: {}, reportedAt: null };
  const packed = (value: unknown): Uint8Array => deflateRawSync(JSON.stringify(value));
  it.each([
    ['no list', packed(row)],
    ['a field that is missing', packed([{ ...row, at: undefined }])],
    ['a field of another kind', packed([{ ...row, metrics: { cpu_percent: '1' } }])],
    ['a time that is none', packed([{ ...row, at: 'yesterday' }])],
    ['an id that is none', packed([{ ...row, serverId: '1' }])],
    ['no JSON', deflateRawSync('[{')],
    ['nothing packed', Buffer.from('[]')],
    ['a list that is cut off', packed([row, row, row]).subarray(0, 40)],
  ])('is refused where it is %s', (_what, bytes) => {
    expect(metricsRows.decode(packed([row]))).toHaveLength(1);
    expect(metricsRows.decode(bytes)).toBeNull();
  });
});
