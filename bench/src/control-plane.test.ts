import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { expect, it } from 'vitest';
import { startControlPlane } from './control-plane.ts';
import { withFleetData } from './fleet-data.ts';
import { spawnSimulator } from './processes.ts';

type Summary = { summary: { total_servers: number; healthy_servers: number } };

it('runs the real program on a fleet, and leaves nothing behind', async () => {
  const simulator = await spawnSimulator(5);
  const controlPlane = await startControlPlane({ FLEET_HEALTH_INTERVAL: '1' });
  try {
    const before = await controlPlane.cpu();
    await controlPlane.registerFleet(simulator.targets);
    const answered = async () => (await simulator.stats()).traffic.answers[200] ?? 0;
    await expect.poll(answered, { timeout: 20_000 }).toBeGreaterThan(10);
    // The kernel counts in steps of 10 ms, and ten polls may cost less; polling goes on until it shows.
    for (const part of ['ownMs', 'postgresMs'] as const) {
      const spentMs = async () => (await controlPlane.cpu())[part];
      await expect.poll(spentMs, { timeout: 20_000 }).toBeGreaterThan(before[part]);
    }
    const { own, postgres } = await controlPlane.residentBytes();
    expect(own).toBeGreaterThan(32e6);
    expect(postgres).toBeGreaterThan(8e6);
    await expect(controlPlane.registerFleet(simulator.targets)).rejects.toThrow('was answered 409');
  } finally {
    await controlPlane.stop();
    await simulator.stop();
  }
  expect(existsSync(dirname(controlPlane.database.host))).toBe(false);
});

it('can be given a fleet that nobody polls', async () => {
  const controlPlane = await startControlPlane({ OPSFLEET_ROLE: 'api' });
  try {
    await withFleetData(controlPlane, 7, async ({ serverIds }) => {
      expect(new Set(serverIds).size).toBe(7);
      const { summary } = await controlPlane.call<Summary>('GET', '/api/v1/fleet/summary');
      expect(summary).toMatchObject({ total_servers: 7, healthy_servers: 7 });
    });
  } finally {
    await controlPlane.stop();
  }
});

it('is reported when it cannot start', async () => {
  await expect(startControlPlane({ OPSFLEET_ROLE: 'nobody' })).rejects.toThrow(
    'The control plane ended before it answered',
  );
});
