import { describe, expect, it } from 'vitest';
import { simulate } from './simulation/simulate.ts';

/**
 * The same core that polls the real world, over a clock, a network and a database that fail as a seed has it.
 * A few seeds here; `npm run simulate` lives through any number, and `-- --seed N` through one again.
 */
describe('forty minutes of a fleet, with workers killed, paused and cut off, and a database that fails', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])('seed %i breaks no promise', async seed => {
    const outcome = await simulate(seed);
    expect(outcome.broken).toEqual([]);
    expect(outcome.faults.length).toBeGreaterThan(5);
    expect(outcome.polls).toBeGreaterThan(2_000);
  });

  it('are the same again for the same seed, to the letter', async () => {
    const [once, again] = [await simulate(9, 10), await simulate(9, 10)];
    expect(again).toEqual(once);
  });
});
