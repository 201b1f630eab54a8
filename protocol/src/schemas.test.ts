import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { expect, test } from 'vitest';
import { type HealthReport, healthSchema, type MetricsReport, metricsSchema } from './index.ts';

const ajv = new Ajv2020({ strict: true, strictRequired: false });
addFormats.default(ajv);
const isHealth = ajv.compile(healthSchema);
const isMetrics = ajv.compile(metricsSchema);

const health: HealthReport = {
  status: 'critical',
  version: '0.1.0',
  hostname: 'web-1',
  uptime_seconds: 86_400,
  timestamp: '2026-01-15T12:00:00.000Z',
  database: { status: 'failed', critical: true, message: 'connect ECONNREFUSED', latency_ms: 3 },
  redis: { status: 'ok', critical: true, latency_ms: 1 },
  services: { healthy: false, active: 40, failed: 1, total: 52, message: 'failed: nginx.service' },
};

const metrics: Required<MetricsReport> = {
  cpu_percent: 12.5,
  memory_percent: 0,
  disk_percent: 100,
  network_rx_bytes: Number.MAX_SAFE_INTEGER,
  network_tx_bytes: 0,
  active_services: 40,
  failed_services: 1,
  total_services: 52,
  llm_requests: 12,
  llm_cost_usd: 0.004,
  active_users: 1,
  total_users: 3,
  timestamp: '2026-01-15T12:00:00Z',
};

test.each<[string, unknown]>([
  ['what the agent sends', health],
  [
    'the least a server can say',
    { database: { status: 'ok' }, redis: { status: 'ok' }, services: { healthy: true } },
  ],
  ['nothing known', {}],
  [
    'further components and fields',
    { queue: { status: 'ok', depth: 3 }, build: 'a1b2c3', database: { status: 'ok', version: 18 } },
  ],
])('health: %s', (_, report) => {
  expect(isHealth(report)).toBe(true);
});

test.each<[string, unknown]>([
  ['a list', []],
  ['a component that is null', { database: null }],
  ['a component without a status', { redis: {} }],
  ['services without a verdict', { services: { failed: 0 } }],
  ['a verdict that is no boolean', { services: { healthy: 'yes' } }],
  ['a message beyond 1024 characters', { database: { status: 'failed', message: 'x'.repeat(1025) } }],
  ['a time that is none', { timestamp: 'yesterday' }],
])('health: not %s', (_, report) => {
  expect(isHealth(report)).toBe(false);
});

test.each<[string, unknown]>([
  ['all twelve numbers', metrics],
  ['nothing known', {}],
  ['further fields', { cpu_percent: 1, gpu_percent: 2 }],
])('metrics: %s', (_, report) => {
  expect(isMetrics(report)).toBe(true);
});

test.each<[string, unknown]>([
  ['a share above 100', { cpu_percent: 100.01 }],
  ['a negative share', { disk_percent: -1 }],
  ['an infinite number', { memory_percent: Number.POSITIVE_INFINITY }],
  ['a counter that a double cannot hold', { network_rx_bytes: 2 ** 53 }],
  ['half a service', { active_services: 0.5 }],
  ['a number as text', { llm_requests: '12' }],
  ['a nested number', { cpu_percent: { usage: 12 } }],
])('metrics: not %s', (_, report) => {
  expect(isMetrics(report)).toBe(false);
});

test('every field of a report is explained', () => {
  for (const [name, field] of Object.entries(metricsSchema.properties))
    expect(field.description, name).toBeTruthy();
});
