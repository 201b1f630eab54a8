import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { extentOf, maxStepMs, rateOf, type Sample, withGaps } from './series.ts';

const minute = 60_000;
const series = (...values: (number | null)[]): Sample[] =>
  values.map((value, n) => ({ at: n * minute, value }));
const valuesOf = (samples: readonly Sample[]): (number | null)[] => samples.map(sample => sample.value);

describe('the rate of a counter', () => {
  test('is what was counted, per second', () => {
    expect(valuesOf(rateOf(series(600, 1200, 1200, 7200)))).toEqual([null, 10, 0, 100]);
  });

  test('is unknown across a reset, and known again after it', () => {
    expect(valuesOf(rateOf(series(6000, 60, 120)))).toEqual([null, null, 1]);
  });

  test('is unknown beside a sample that was not reported', () => {
    expect(valuesOf(rateOf(series(0, null, 120, 180)))).toEqual([null, null, null, 1]);
  });

  test('of two samples of one moment is unknown', () => {
    expect(
      rateOf([
        { at: 0, value: 1 },
        { at: 0, value: 5 },
      ])[1]!.value,
    ).toBeNull();
  });

  test('is never negative and never infinite', () => {
    const sample = fc.record({ at: fc.nat(), value: fc.option(fc.nat()) });
    fc.assert(
      fc.property(fc.array(sample), samples => {
        const ordered = samples.toSorted((a, b) => a.at - b.at);
        for (const { value } of rateOf(ordered))
          expect(value === null || (value >= 0 && Number.isFinite(value))).toBe(true);
      }),
    );
  });
});

describe('gaps', () => {
  const at = (...minutes: number[]): Sample[] => minutes.map(n => ({ at: n * minute, value: n }));

  test('a missing stretch becomes an empty sample inside it', () => {
    const shown = withGaps(at(0, 1, 2, 10, 11));
    expect(shown).toEqual([...at(0, 1, 2), { at: 6 * minute, value: null }, ...at(10, 11)]);
  });

  test('a late sample is none', () => {
    expect(withGaps(at(0, 1, 2, 4, 5))).toEqual(at(0, 1, 2, 4, 5));
  });

  test('two samples do not tell what is usual', () => {
    expect(maxStepMs([0, minute])).toBeNull();
    expect(withGaps(at(0, 50))).toEqual(at(0, 50));
  });

  test('the usual step is measured, whatever the interval', () => {
    expect(maxStepMs([0, 5_000, 10_000, 15_000, 60_000])).toBe(12_500);
  });
});

describe('the extent', () => {
  test('is the newest value and the range, without what was not reported', () => {
    expect(extentOf(series(3, null, 1, 2, null))).toEqual({ latest: 2, min: 1, max: 3 });
  });

  test('of nothing is nothing', () => {
    expect(extentOf(series(null, null))).toBeNull();
  });
});
