import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type RollupPeriod, rollupPeriodMs, rollupPeriods } from './rollup.ts';
import { segmentsOf } from './segments.ts';

const at = (time: string): Date => new Date(`2031-06-${time}Z`);
const until = (time: string) =>
  Object.fromEntries(rollupPeriods.map(period => [period, at(time)])) as Record<RollupPeriod, Date>;

test('a range is told by the longest periods that lie in it, and by shorter ones at its ends', () => {
  const range = { from: at('01T22:50:30'), to: at('04T01:17:00') };
  expect(segmentsOf(range, until('30T00:00:00'), '1d')).toEqual([
    { from: at('01T22:50:30'), to: at('01T22:55:00'), tier: 'collected' },
    { from: at('01T22:55:00'), to: at('01T23:00:00'), tier: '5m' },
    { from: at('01T23:00:00'), to: at('02T00:00:00'), tier: '1h' },
    { from: at('02T00:00:00'), to: at('04T00:00:00'), tier: '1d' },
    { from: at('04T00:00:00'), to: at('04T01:00:00'), tier: '1h' },
    { from: at('04T01:00:00'), to: at('04T01:15:00'), tier: '15m' },
    { from: at('04T01:15:00'), to: at('04T01:17:00'), tier: 'collected' },
  ]);
});

test('what has not been summed up is told by what was collected', () => {
  const rolledUntil = {
    '5m': at('02T10:05:00'),
    '15m': at('02T10:00:00'),
    '1h': at('02T10:00:00'),
    '1d': at('02T00:00:00'),
  };
  expect(segmentsOf({ from: at('01T00:00:00'), to: at('02T10:07:00') }, rolledUntil, '1d')).toEqual([
    { from: at('01T00:00:00'), to: at('02T00:00:00'), tier: '1d' },
    { from: at('02T00:00:00'), to: at('02T10:00:00'), tier: '1h' },
    { from: at('02T10:00:00'), to: at('02T10:05:00'), tier: '5m' },
    { from: at('02T10:05:00'), to: at('02T10:07:00'), tier: 'collected' },
  ]);
});

test('no period is longer than is asked for, and an empty range has no parts', () => {
  const range = { from: at('01T00:00:00'), to: at('02T00:00:00') };
  expect(segmentsOf(range, until('30T00:00:00'), '15m')).toEqual([{ ...range, tier: '15m' }]);
  expect(segmentsOf(range, until('30T00:00:00'), 'collected')).toEqual([{ ...range, tier: 'collected' }]);
  expect(segmentsOf({ from: range.to, to: range.to }, until('30T00:00:00'), '1d')).toEqual([]);
});

test('the parts of any range are the whole range, each on the grid of its periods and summed up', () => {
  const day = 86_400_000;
  const instant = fc.integer({ min: 0, max: 5 * day }).map(ms => new Date(at('01T00:00:00').getTime() + ms));
  fc.assert(
    fc.property(
      instant,
      instant,
      instant,
      fc.constantFrom(...rollupPeriods),
      (one, other, rolled, longest) => {
        const [from, to] = one < other ? [one, other] : [other, one];
        const rolledUntil = Object.fromEntries(
          rollupPeriods.map(period => [
            period,
            new Date(Math.floor(rolled.getTime() / rollupPeriodMs[period]) * rollupPeriodMs[period]),
          ]),
        ) as Record<RollupPeriod, Date>;
        let end = from;
        for (const segment of segmentsOf({ from, to }, rolledUntil, longest)) {
          expect(segment.from).toEqual(end);
          expect(segment.to.getTime()).toBeGreaterThan(end.getTime());
          end = segment.to;
          if (segment.tier === 'collected') continue;
          expect(segment.from.getTime() % rollupPeriodMs[segment.tier]).toBe(0);
          expect(segment.to.getTime() % rollupPeriodMs[segment.tier]).toBe(0);
          expect(segment.to.getTime()).toBeLessThanOrEqual(rolledUntil[segment.tier].getTime());
        }
        expect(end).toEqual(to);
      },
    ),
  );
});
