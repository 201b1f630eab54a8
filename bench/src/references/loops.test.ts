import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Target } from '../simulator/identity.ts';
import { type Simulator, startSimulator } from '../simulator/simulator.ts';
import type { Loop } from './loop.ts';
import { LOOPS } from './loops.ts';

let simulator: Simulator;

beforeEach(async () => {
  simulator = await startSimulator({ servers: 3, port: 0, shares: { error: { first: 2, last: 2 } } });
});

afterEach(() => simulator.stop());

function check(loop: Loop, target: Target): Promise<Error | undefined> {
  return new Promise(resolve => {
    loop.check(target, resolve);
  });
}

describe.each(Object.entries(LOOPS))('the %s loop', (_, open) => {
  it('checks over one connection for each target', async () => {
    const loop = open();
    for (let round = 0; round < 3; round++) {
      for (const target of simulator.targets.slice(0, 2)) expect(await check(loop, target)).toBeUndefined();
    }
    expect(simulator.stats().traffic).toMatchObject({ connectionsAccepted: 2, answers: { 200: 6 } });
    await loop.close();
  });

  it('tells a failed check from a good one', async () => {
    const loop = open();
    expect(await check(loop, simulator.targets[2]!)).toEqual(new Error('Answered 500 with 20 bytes'));
    expect(await check(loop, { ...simulator.targets[0]!, token: 'wrong' })).toEqual(
      new Error('Answered 401 with 19 bytes'),
    );
    await loop.close();
  });

  it('reports a refused connection', async () => {
    await simulator.setBehaviour(0, 'refuse');
    const loop = open();
    expect(await check(loop, simulator.targets[0]!)).toBeInstanceOf(Error);
    await loop.close();
  });
});
