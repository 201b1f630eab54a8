import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { resultsOf } from '../../test/fakes/results-of.ts';
import { healthIntervalMs, isMetricsDue, opensBreaker } from './breaker.ts';

describe('a failure opens the breaker', () => {
  it.each([
    ['the 4th in a row', 'xxxx', 4, false],
    ['the 5th in a row', 'xxxxx', 5, true],
    ['half of nine', '.x.x.x.xx', 2, false],
    ['half of ten', '.x.x.x.x.x', 1, true],
    ['less than half of twenty', '...x.x.x.x.x.x.x.x.x', 1, false],
    ['half of twenty', '.x.x.x.x.x.x.x.x.x.x', 1, true],
    ['half of the last twenty, whatever was before', 'x.x.x.x.x.x.x.x.x.x.x', 1, true],
    ['nine of the last twenty, and the one before', 'x...x.x.x.x.x.x.x.x.x', 1, false],
  ])('%s', (_name, results, inARow, opens) => {
    expect(opensBreaker(inARow, resultsOf(results))).toBe(opens);
  });
});

describe('how far apart the checks of a server are', () => {
  const openedAt = new Date('2026-11-01T00:00:00Z');
  const after = (hours: number): Date => new Date(openedAt.getTime() + hours * 3_600_000);
  const open = { breakerOpenedAt: openedAt };

  it('as configured while the breaker is closed, to the millisecond', () => {
    expect(healthIntervalMs({ breakerOpenedAt: null }, 30_000, after(0), 'a')).toBe(30_000);
  });

  it.each([
    ['from its opening', 0, 30_000, 30_000],
    ['for an hour', 0.999, 30_000, 30_000],
    ['then', 1, 30_000, 60_000],
    ['until a day is over', 23.999, 30_000, 60_000],
    ['then', 24, 30_000, 300_000],
    ['never more often than configured', 1, 90_000, 90_000],
    ['nor after a day', 100, 3_600_000, 3_600_000],
    ['a clock that was set back is no time at all', -5, 30_000, 30_000],
  ])('%s', (_name, hours, configuredMs, expectedMs) => {
    const all = Array.from({ length: 1_000 }, (_, id) =>
      healthIntervalMs(open, configuredMs, after(hours), `${id}`),
    );
    expect(Math.min(...all)).toBeGreaterThanOrEqual(0.9 * expectedMs);
    expect(Math.max(...all)).toBeLessThanOrEqual(1.1 * expectedMs);
    expect(Math.max(...all) - Math.min(...all)).toBeGreaterThan(0.19 * expectedMs);
    expect(all.reduce((sum, each) => sum + each) / all.length / expectedMs).toBeCloseTo(1, 1);
  });

  it('always the same for the same server', () => {
    fc.assert(
      fc.property(fc.uuid(), id => {
        expect(healthIntervalMs(open, 30_000, after(2), id)).toBe(
          healthIntervalMs(open, 30_000, after(3), id),
        );
      }),
    );
  });
});

it.each([
  ['critical', null, true],
  ['unknown', null, true],
  ['unreachable', null, false],
  ['healthy', new Date(0), false],
])('metrics of a server that is %s, its breaker open since %o: due %o', (status, breakerOpenedAt, isDue) => {
  expect(isMetricsDue({ status, breakerOpenedAt })).toBe(isDue);
});
