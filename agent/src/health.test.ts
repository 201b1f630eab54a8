import { expect, test } from 'vitest';
import { fakeClock } from '../test/clock.ts';
import { memoryLog } from '../test/log.ts';
import { checkHealth, type HealthChecks, summarize } from './health.ts';

const nothing: HealthChecks = {
  database: async () => undefined,
  redis: async () => undefined,
  services: async () => undefined,
};

const check = (checks: Partial<HealthChecks>, log = memoryLog()) =>
  checkHealth({ ...nothing, ...checks }, fakeClock(), log);

test('where there is nothing to check the machine is healthy, and no component is sent', async () => {
  const report = await check({});
  expect(report).toMatchObject({ status: 'healthy', timestamp: '2026-01-15T12:00:00.000Z' });
  expect(JSON.parse(JSON.stringify(report))).not.toHaveProperty('database');
});

test('services are healthy while none has failed; the failed are named, five at most', async () => {
  const fine = { active: 3, failed: 0, total: 4, failedNames: [] };
  expect((await check({ services: async () => fine })).services).toEqual({
    healthy: true,
    active: 3,
    failed: 0,
    total: 4,
  });

  const failedNames = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
  const report = await check({ services: async () => ({ active: 0, failed: 7, total: 7, failedNames }) });
  expect(report.status).toBe('degraded');
  expect(report.services?.message).toBe('failed: a, b, c, d, e and 2 more');
});

test('services that cannot be looked at are not healthy, and say why', async () => {
  const log = memoryLog();
  const report = await check({ services: () => Promise.reject(new Error('no bus')) }, log);
  expect(report.services).toEqual({ healthy: false, message: 'cannot be checked: no bus' });
  expect(log.messages).toEqual(['cannot check services']);
});

test.each([
  ['healthy', [], undefined],
  ['healthy', [{ status: 'ok', critical: true }, undefined], { healthy: true }],
  ['degraded', [{ status: 'ok', critical: true }], { healthy: false }],
  ['degraded', [{ status: 'failed' }], undefined],
  ['critical', [{ status: 'degraded', critical: true }], undefined],
  ['critical', [{ status: 'failed', critical: true }], { healthy: false }],
] as const)('%s: %j, services %j', (status, components, services) => {
  expect(summarize(components, services)).toBe(status);
});
