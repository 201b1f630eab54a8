import { describe, expect, it } from 'vitest';
import { runProgram, spawnSimulator } from './processes.ts';
import { bareSocketLoop } from './references/bare-socket.ts';
import type { LoopRun } from './references/child.ts';

const CHILD = new URL('./references/child.ts', import.meta.url);

describe('the simulator program', () => {
  it('serves a reference program, gives its statistics on request, and ends when told', async () => {
    const simulator = await spawnSimulator(10);
    const { seed, port } = simulator;
    const run: LoopRun = { loop: 'bare-socket', seed, port, targets: 10, rounds: 3, concurrency: 4 };
    const result: unknown = JSON.parse(await runProgram(CHILD, JSON.stringify(run)));
    expect(result).toMatchObject({ checks: 30 });

    const stats = await simulator.stats();
    // One round more than was asked for: the first, which opens the connections, is not measured.
    expect(stats.traffic).toMatchObject({ connectionsAccepted: 10, answers: { 200: 40 } });
    expect(stats.cadence.healthy!.health).toMatchObject({
      servers: 10,
      neverChecked: 0,
      checks: 40,
      overlaps: 0,
    });
    await simulator.stop();
  });

  it('ends although its clients are leaving at that moment', async () => {
    const simulator = await spawnSimulator(500);
    const loop = bareSocketLoop();
    const checks = simulator.targets.map(
      target =>
        new Promise(resolve => {
          loop.check(target, resolve);
        }),
    );
    expect(new Set(await Promise.all(checks))).toEqual(new Set([undefined]));
    await loop.close();
    await simulator.stop();
  });

  it('is reported when it cannot start', async () => {
    await expect(spawnSimulator(10, ['--hang', '2'])).rejects.toThrow(
      'The simulator ended before it answered',
    );
  });
});
