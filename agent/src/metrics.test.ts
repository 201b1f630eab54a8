import { expect, test } from 'vitest';
import { fakeClock } from '../test/clock.ts';
import { memoryLog } from '../test/log.ts';
import { collectMetrics, type MetricSources } from './metrics.ts';

const sources: MetricSources = {
  cpu: async () => 12.3456,
  memory: async () => 50,
  disk: async () => 99.999,
  network: async () => ({ rxBytes: 10, txBytes: 20 }),
  services: async () => ({ active: 3, failed: 1, total: 5, failedNames: ['a'] }),
  llm: async () => ({ requests: 7, costUsd: 0.004 }),
  activeUsers: async () => 2,
  totalUsers: async () => 4,
};

/** As the caller sees it: what is undefined is not there. */
const collect = async (changed: Partial<MetricSources>, log = memoryLog()): Promise<unknown> =>
  JSON.parse(JSON.stringify(await collectMetrics({ ...sources, ...changed }, fakeClock(), log)));

test('every number has its field', async () => {
  expect(await collect({})).toEqual({
    cpu_percent: 12.35,
    memory_percent: 50,
    disk_percent: 100,
    network_rx_bytes: 10,
    network_tx_bytes: 20,
    active_services: 3,
    failed_services: 1,
    total_services: 5,
    llm_requests: 7,
    llm_cost_usd: 0.004,
    active_users: 2,
    total_users: 4,
    timestamp: '2026-01-15T12:00:00.000Z',
  });
});

test('what is not known is absent, not zero', async () => {
  const unknown = { cpu: async () => undefined, services: async () => undefined, llm: async () => ({}) };
  const report = await collect(unknown);
  expect(Object.keys(report as object)).toEqual([
    'memory_percent',
    'disk_percent',
    'network_rx_bytes',
    'network_tx_bytes',
    'active_users',
    'total_users',
    'timestamp',
  ]);
});

function broken(): never {
  throw new Error('broken');
}

test('a source that fails costs its own fields only, and is logged', async () => {
  const log = memoryLog();
  const report = await collect({ network: broken, disk: () => Promise.reject(new Error('hangs')) }, log);
  expect(report).not.toHaveProperty('network_rx_bytes');
  expect(report).not.toHaveProperty('disk_percent');
  expect(report).toMatchObject({ cpu_percent: 12.35, total_users: 4 });
  expect(log.messages.toSorted()).toEqual(['cannot read disk', 'cannot read network']);
});
