import { describe, expect, test } from 'vitest';
import { formatAge, formatDuration } from './dates.ts';

const now = new Date('2026-03-10T12:00:00Z');
const before = (ms: number): Date => new Date(now.getTime() - ms);

describe('an age', () => {
  test.each([
    [0, 'just now'],
    [999, 'just now'],
    [1_000, '1 s ago'],
    [59_999, '59 s ago'],
    [60_000, '1 min ago'],
    [3_599_999, '59 min ago'],
    [3_600_000, '1 h ago'],
    [86_399_999, '23 h ago'],
  ])('of %d ms is "%s"', (ms, text) => {
    expect(formatAge(before(ms), now)).toBe(text);
  });

  test('of a day or more is the date', () => {
    expect(formatAge(before(86_400_000), now)).toMatch(/Mar 9/);
  });

  test('of a moment to come is no age: the clocks differ', () => {
    expect(formatAge(before(-5_000), now)).toBe('just now');
  });
});

describe('a duration', () => {
  test.each([
    [-1, '0 s'],
    [45_900, '45 s'],
    [12 * 60_000, '12 min'],
    [3 * 3_600_000, '3 h'],
    [3 * 3_600_000 + 5 * 60_000, '3 h 5 min'],
    [52 * 3_600_000, '2 d 4 h'],
  ])('of %d ms is "%s"', (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });
});
