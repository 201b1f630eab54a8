import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { resultsOf } from '../../test/fakes/results-of.ts';
import { flappingAfter, flappingPercent } from './flapping.ts';
import { withResult } from './recent-results.ts';

describe('the share of change', () => {
  it.each([
    ['nothing known', '', 0],
    ['one result', 'x', 0],
    ['steady', '.'.repeat(21), 0],
    ['steadily failing', 'x'.repeat(21), 0],
    ['every step a change', '.x.x.x.x.x.x.x.x.x.x.', 100],
    ['one change, the newest step: 1.2 of 20', `${'.'.repeat(20)}x`, 6],
    ['one change, the oldest step: 0.8 of 20', `.${'x'.repeat(20)}`, 4],
    ['two results: what has not happened is no change', '.x', 6],
  ])('%s', (_name, results, percent) => {
    expect(flappingPercent(resultsOf(results))).toBeCloseTo(percent, 10);
  });

  it('is what Nagios computes by walking over the steps', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 40 }), results => {
        const window = results.slice(-21);
        const missing = 21 - window.length;
        let sum = 0;
        for (let step = 1; step < window.length; step += 1) {
          // Its steps are numbered 1 to 20, the oldest first: flapping.c.
          const place = missing + step;
          if (window[step] !== window[step - 1]) sum += ((place - 1) * 0.4) / 19 + 0.8;
        }
        const all = results.reduce((known, failed) => withResult(known, failed), { bits: 0, known: 0 });
        expect(flappingPercent(all)).toBeCloseTo((100 * sum) / 20, 9);
      }),
    );
  });
});

describe('between 15 and 30 percent', () => {
  const [before, now] = [new Date(0), new Date(1_000)];
  it.each([
    [null, 30, null],
    [null, 30.1, now],
    [before, 30.1, before],
    [before, 15, before],
    [before, 14.9, null],
  ])('since %o at %d percent stays or turns: %o', (since, percent, expected) => {
    expect(flappingAfter(since, percent, now)).toEqual(expected);
  });
});
