import { describe, expect, it } from 'vitest';
import { assignBehaviours, type Behaviour, type Shares, seededRandom } from './behaviour.ts';

function assigned(servers: number, seed: string, shares: Shares): Behaviour[] {
  const assignment = assignBehaviours(servers, seed, shares);
  if (!assignment.ok) throw new Error(assignment.reason);
  return assignment.behaviours;
}

function count(behaviours: Behaviour[], behaviour: Behaviour): number {
  return behaviours.filter(own => own === behaviour).length;
}

describe('assignBehaviours', () => {
  it('leaves everybody healthy by default', () => {
    expect(assigned(3, 'x', {})).toEqual(['healthy', 'healthy', 'healthy']);
  });

  it('gives a fraction of the whole fleet, spread over it', () => {
    const behaviours = assigned(1_000, 'x', { blackhole: { fraction: 0.1 }, hang: { fraction: 0.05 } });
    expect(count(behaviours, 'blackhole')).toBe(100);
    expect(count(behaviours, 'hang')).toBe(50);
    expect(count(behaviours, 'healthy')).toBe(850);
    expect(count(behaviours.slice(0, 500), 'blackhole')).toBeGreaterThan(25);
    expect(count(behaviours.slice(500), 'blackhole')).toBeGreaterThan(25);
  });

  it('repeats for the same seed and differs for another', () => {
    const shares: Shares = { refuse: { fraction: 0.5 } };
    expect(assigned(100, 'x', shares)).toEqual(assigned(100, 'x', shares));
    expect(assigned(100, 'x', shares)).not.toEqual(assigned(100, 'y', shares));
  });

  it('gives an inclusive range, and draws fractions from the others', () => {
    const behaviours = assigned(4, 'x', { error: { fraction: 0.5 }, reset: { first: 1, last: 2 } });
    expect(behaviours).toEqual(['error', 'reset', 'reset', 'error']);
  });

  it('refuses shares that do not fit, and says why', () => {
    expect(assignBehaviours(10, 'x', { hang: { first: 5, last: 10 } })).toEqual({
      ok: false,
      behaviour: 'hang',
      reason: 'the last server is 9',
    });
    expect(assignBehaviours(10, 'x', { error: { first: 0, last: 5 }, hang: { first: 5, last: 6 } })).toEqual({
      ok: false,
      behaviour: 'hang',
      reason: 'server 5 is already error',
    });
    expect(assignBehaviours(10, 'x', { hang: { fraction: 0.6 }, blackhole: { fraction: 0.6 } })).toEqual({
      ok: false,
      behaviour: 'blackhole',
      reason: 'only 4 of 10 servers are left for it',
    });
  });
});

describe('seededRandom', () => {
  it('draws evenly from [0, 1)', () => {
    const random = seededRandom('x');
    const drawn = Array.from({ length: 10_000 }, random);
    expect(Math.min(...drawn)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...drawn)).toBeLessThan(1);
    for (let tenth = 0; tenth < 10; tenth++) {
      const inTenth = drawn.filter(value => Math.floor(value * 10) === tenth).length;
      expect(inTenth).toBeGreaterThan(850);
      expect(inTenth).toBeLessThan(1_150);
    }
  });
});
