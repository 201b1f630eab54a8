import { describe, expect, it } from 'vitest';
import { simulate } from './simulation/simulate.ts';

/**
 * The same core that polls the real world, over a clock, a network and a database that fail as a seed has it.
 * A few seeds here; `npm run simulate` lives through any number, and `-- --seed N` through one again.
 */
// Each takes seconds of the processor, and a machine may be busy. It ends a test that has failed, and says nothing of speed.
const patience = { timeout: 120_000 };

describe('forty minutes of a fleet, with workers killed, paused and cut off, and disks and a database that fail', () => {
  const rows = { stored: 0, unsynced: 0, refused: 0, batchesOnDisk: 0 };

  it.each([1, 2, 6, 8, 11, 16])('seed %i breaks no promise', patience, async seed => {
    const outcome = await simulate(seed);
    expect(outcome.broken).toEqual([]);
    expect(outcome.faults.length).toBeGreaterThan(5);
    expect(outcome.polls).toBeGreaterThan(2_000);
    for (const fate of Object.keys(rows) as (keyof typeof rows)[]) rows[fate] += outcome.rows[fate];
  });

  it('have tried what they are about: results on disk, and results that a kill came too early for', () => {
    expect(rows.stored).toBeGreaterThan(10_000);
    expect(rows.batchesOnDisk).toBeGreaterThan(100);
    expect(rows.unsynced).toBeGreaterThan(0);
  });

  it('are the same again for the same seed, to the letter', patience, async () => {
    const [once, again] = [await simulate(9, 10), await simulate(9, 10)];
    expect(again).toEqual(once);
  });
});
