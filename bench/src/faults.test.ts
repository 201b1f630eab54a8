import { describe, expect, it } from 'vitest';
import { type FaultPlan, planFaults } from './faults.ts';

const plan: FaultPlan = {
  seed: 'x',
  seconds: 1_800,
  everySeconds: 20,
  workers: 3,
  pauseSeconds: { min: 20, max: 40 },
};

describe('planFaults', () => {
  it('has one at every step but at the beginning and at the end', () => {
    const faults = planFaults(plan);
    expect(faults.map(fault => fault.atSeconds)).toEqual(Array.from({ length: 89 }, (_, i) => 20 * (i + 1)));
    expect(planFaults({ ...plan, seconds: 39 })).toEqual([]);
  });

  it('meets every worker with every kind of fault, and pauses within the bounds', () => {
    const faults = planFaults(plan);
    expect(new Set(faults.map(({ worker, kind }) => `${worker} ${kind}`)).size).toBe(9);
    for (const fault of faults) {
      if (fault.kind !== 'pause') continue;
      expect(fault.seconds).toBeGreaterThanOrEqual(20);
      expect(fault.seconds).toBeLessThan(40);
    }
  });

  it('repeats itself for the same seed alone', () => {
    expect(planFaults(plan)).toEqual(planFaults({ ...plan }));
    expect(planFaults({ ...plan, seed: 'y' })).not.toEqual(planFaults(plan));
  });
});
