import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createLateness } from './lateness.ts';

it('is nothing while nothing is late, or nothing is polled', () => {
  const lateness = createLateness();
  expect(lateness.p99Ms(0)).toBe(0);
  for (let index = 0; index < 1_000; index += 1) lateness.add(0.4, 0);
  expect(lateness.p99Ms(0)).toBe(0);
});

it('is what 99 of 100 do not exceed, at most a fifth too high', () => {
  const polls = fc.array(fc.double({ min: 0, max: 600_000, noNaN: true }), { minLength: 1, maxLength: 500 });
  fc.assert(
    fc.property(polls, late => {
      const lateness = createLateness();
      for (const ms of late) lateness.add(ms, 1_000);
      const exact = late.toSorted((a, b) => a - b)[Math.ceil(late.length * 0.99) - 1]!;
      const found = lateness.p99Ms(1_000);
      expect(found).toBeGreaterThanOrEqual(exact <= 1 ? 0 : exact * (1 - 1e-9));
      expect(found).toBeLessThanOrEqual(Math.max(1, exact) * 1.2);
    }),
  );
});

it('forgets within a minute', () => {
  const lateness = createLateness();
  lateness.add(9_000, 0);
  lateness.add(0, 30_000);
  expect(lateness.p99Ms(59_999)).toBeGreaterThanOrEqual(9_000);
  expect(lateness.p99Ms(60_000)).toBe(0);
});
