import { describe, expect, it } from 'vitest';
import { paced, startsDue } from './pace.ts';

describe('startsDue', () => {
  it('spreads starts evenly and stops at the total', () => {
    const at = [0, 1, 2, 10, 1_000, 60_000].map(elapsedMs => startsDue(elapsedMs, 500, 600));
    expect(at).toEqual([0, 0, 1, 5, 500, 600]);
  });

  it('owes nothing before the beginning', () => {
    expect(startsDue(-1, 500, 600)).toBe(0);
  });
});

describe('paced', () => {
  it('starts each once, in order', async () => {
    const started: number[] = [];
    await paced(20, 2_000, index => started.push(index));
    expect(started).toEqual(Array.from({ length: 20 }, (_, index) => index));
  });
});
