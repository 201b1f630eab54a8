import { expect, test } from 'vitest';
import { horizonsOf } from '../organizations/retention.ts';
import { defaultRetention } from '../retention/retention.ts';
import { answerable, timelineOf, uptimeOf } from './uptime.ts';

const held = { healthy_ms: 0, degraded_ms: 0, critical_ms: 0, unreachable_ms: 0 };

test('up is what was healthy or degraded, of the time of which something is known', () => {
  expect(uptimeOf({ healthy_ms: 60, degraded_ms: 15, critical_ms: 20, unreachable_ms: 5 })).toEqual({
    percent: 75,
    up_ms: 75,
    known_ms: 100,
  });
  expect(uptimeOf(held)).toEqual({ percent: null, up_ms: 0, known_ms: 0 });
});

test('100 percent means that it was never down', () => {
  const fiveYearsMs = 5 * 365 * 86_400_000;
  expect(uptimeOf({ ...held, healthy_ms: fiveYearsMs }).percent).toBe(100);
  expect(uptimeOf({ ...held, healthy_ms: fiveYearsMs, unreachable_ms: 1 }).percent).toBe(99.9999);
  expect(uptimeOf({ ...held, healthy_ms: 1, unreachable_ms: fiveYearsMs }).percent).toBe(0);
});

const now = new Date('2031-06-10T12:00:00Z');
const at = (time: string): Date => new Date(time);

test.each([
  [
    'as it is, while checks are kept',
    '2031-06-01T10:11:12.345Z',
    '2031-06-02T10:11:12.345Z',
    '2031-06-01T10:11:12.345Z',
    '2031-06-02T10:11:12.345Z',
  ],
  [
    'to now',
    '2031-06-01T10:11:12.345Z',
    '2032-01-01T00:00:00Z',
    '2031-06-01T10:11:12.345Z',
    '2031-06-10T12:00:00Z',
  ],
  [
    'by five minutes, for three months',
    '2031-04-01T10:11:12Z',
    '2031-04-02T10:11:12Z',
    '2031-04-01T10:10:00Z',
    '2031-04-02T10:15:00Z',
  ],
  [
    'by the hour, for 13 months',
    '2030-10-01T10:11:12Z',
    '2031-06-02T10:11:12Z',
    '2030-10-01T10:00:00Z',
    '2031-06-02T10:11:12Z',
  ],
  [
    'by the day, for five years',
    '2028-10-01T10:11:12Z',
    '2028-10-01T10:11:13Z',
    '2028-10-01T00:00:00Z',
    '2028-10-02T00:00:00Z',
  ],
  [
    'by the day, for longer',
    '2001-10-01T10:11:12Z',
    '2001-10-01T10:11:13Z',
    '2001-10-01T00:00:00Z',
    '2001-10-02T00:00:00Z',
  ],
])('a range is answered %s', (_how, from, to, first, last) => {
  expect(answerable({ from: at(from), to: at(to) }, now, horizonsOf(defaultRetention, {}, now))).toEqual({
    from: at(first),
    to: at(last),
  });
});

test.each([
  ['the shortest of which there are few enough', '2031-06-09T00:00:00Z', 300, '5m'],
  ['longer ones where there are too many', '2031-06-09T00:00:00Z', 287, '15m'],
  ['those that are kept that far back', '2031-01-09T00:00:00Z', 300, '15m'],
  ['days where nothing is kept', '2001-01-09T00:00:00Z', 300, '1d'],
] as const)('the periods of a timeline are %s', (_what, from, points, period) => {
  const range = { from: at(from), to: new Date(at(from).getTime() + 86_400_000) };
  const horizons = horizonsOf(defaultRetention, {}, now);
  expect(timelineOf(range, 'auto', { points, horizons }).period).toBe(period);
});
