import fc from 'fast-check';
import { expect, test } from 'vitest';
import { metricEntries, metricFields, parseMetrics } from './metric.ts';

const whole = {
  cpu_percent: 12.5,
  memory_percent: 48.25,
  disk_percent: 100,
  network_rx_bytes: 9_007_199_254_740_991,
  network_tx_bytes: 0,
  active_services: 12,
  failed_services: 1,
  total_services: 13,
  llm_requests: 4_200,
  llm_cost_usd: 0.004,
  active_users: 3,
  total_users: 40,
};

function metricsOf(payload: unknown) {
  const parsed = parseMetrics(payload);
  if (!parsed.ok) throw new Error(parsed.detail);
  return parsed;
}

test('all 12 fields of the contract are taken as they are', () => {
  expect(Object.keys(metricFields)).toEqual(Object.keys(whole));
  expect(metricsOf(whole)).toEqual({ ok: true, metrics: whole, reportedAt: null, dropped: [] });
});

test('a field that is missing or null was not reported, and that is no fault', () => {
  expect(metricsOf({ cpu_percent: 3, disk_percent: null, surprise: { of: 'any kind' } })).toEqual({
    ok: true,
    metrics: { cpu_percent: 3 },
    reportedAt: null,
    dropped: [],
  });
});

test("Ops-Center's nested answer is understood, in both its spellings", () => {
  expect(
    metricsOf({
      cpu: { usage_percent: 20, count: 8 },
      memory: { percent: 30 },
      disk: { usage_percent: 40 },
      network: { bytes_sent: 50, bytes_received: 60 },
    }).metrics,
  ).toEqual({
    cpu_percent: 20,
    memory_percent: 30,
    disk_percent: 40,
    network_tx_bytes: 50,
    network_rx_bytes: 60,
  });
});

test('where both spellings are there, the flat one counts', () => {
  expect(metricsOf({ cpu_percent: 1, cpu: { usage_percent: 2 } }).metrics).toEqual({ cpu_percent: 1 });
});

test.each([
  ['cpu_percent', 1600, 'is above 100'],
  ['cpu_percent', -0.5, 'is negative'],
  ['cpu_percent', '12', 'is not a number'],
  ['cpu_percent', true, 'is not a number'],
  ['cpu_percent', [12], 'is not a number'],
  ['cpu_percent', Number.NaN, 'is not a finite number'],
  ['cpu_percent', Number.POSITIVE_INFINITY, 'is not a finite number'],
  ['network_rx_bytes', -1, 'is negative'],
  ['network_rx_bytes', 1.5, 'is not an integer'],
  ['network_rx_bytes', 2 ** 53, 'is above 9007199254740991'],
  ['active_services', 2 ** 31, 'is above 2147483647'],
  ['llm_cost_usd', 1e12, 'is above 999999999999'],
] as const)('%s = %j is left out and named; the other fields stay', (field, value, why) => {
  const parsed = metricsOf({ ...whole, [field]: value });
  const { [field]: _dropped, ...rest } = whole;
  expect(parsed.metrics).toEqual(rest);
  expect(parsed.dropped).toEqual([{ field, why }]);
});

test('percentages keep two decimals and costs six, and rounding comes before the range', () => {
  expect(metricsOf({ cpu_percent: 33.333_33, disk_percent: 100.000_000_1 }).metrics).toEqual({
    cpu_percent: 33.33,
    disk_percent: 100,
  });
  expect(metricsOf({ cpu_percent: 1e-320, llm_cost_usd: 0.000_000_7 }).metrics).toEqual({
    cpu_percent: 0,
    llm_cost_usd: 0.000_001,
  });
});

test.each([
  [null, 'not an object'],
  [[], 'not an object'],
  ['12', 'not an object'],
  [{}, 'none of the metrics'],
  [{ timestamp: '2026-11-24T12:00:00Z' }, 'none of the metrics'],
  [{ cpu: 12 }, 'none of the metrics'],
  [{ cpu_percent: 1600, active_users: 'many' }, 'cpu_percent is above 100; active_users is not a number'],
])('%j is no success', (payload, detail) => {
  expect(parseMetrics(payload)).toEqual({
    ok: false,
    reason: 'bad_payload',
    detail: expect.stringContaining(detail),
  });
});

test("the server's own clock is kept where it tells it with its zone", () => {
  const at = (timestamp: unknown) => metricsOf({ cpu_percent: 1, timestamp });
  expect(at('2026-11-24T14:00:00+02:00').reportedAt).toEqual(new Date('2026-11-24T12:00:00Z'));
  for (const wrong of ['2026-11-24T14:00:00', '2026-11-24', 'now', 1_732_449_600]) {
    expect(at(wrong)).toMatchObject({
      reportedAt: null,
      metrics: { cpu_percent: 1 },
      dropped: [{ field: 'timestamp', why: 'is not an RFC 3339 time' }],
    });
  }
});

test('whatever a server answers, what comes out fits its column', () => {
  const value = fc.oneof(fc.double(), fc.maxSafeInteger(), fc.anything());
  const payload = fc.oneof(
    fc.anything(),
    fc.record(Object.fromEntries(metricEntries.map(([field]) => [field, value])), { requiredKeys: [] }),
  );
  fc.assert(
    fc.property(payload, answer => {
      const parsed = parseMetrics(answer);
      if (!parsed.ok) return;
      expect(Object.keys(parsed.metrics)).not.toHaveLength(0);
      for (const [field, { max, decimals }] of metricEntries) {
        const found = parsed.metrics[field];
        if (found === undefined) continue;
        expect(found).toBeGreaterThanOrEqual(0);
        expect(found).toBeLessThanOrEqual(max);
        expect(found).toBe(Number(found.toFixed(decimals)));
      }
    }),
  );
});
