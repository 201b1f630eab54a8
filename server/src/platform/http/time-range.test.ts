import { expect, test } from 'vitest';
import { timeRangeOf } from './time-range.ts';

test('either end may be left open', () => {
  const noon = new Date('2026-11-24T12:00:00Z');
  expect(timeRangeOf({})).toEqual({ from: null, to: null });
  expect(timeRangeOf({ start_time: '2026-11-24T12:00:00' })).toEqual({ from: noon, to: null });
  expect(timeRangeOf({ end_time: '2026-11-24T13:00:00+01:00' })).toEqual({ from: null, to: noon });
});

test('a range may be a single instant', () => {
  const both = { start_time: '2026-11-24', end_time: '2026-11-24' };
  expect(timeRangeOf(both).from).toEqual(timeRangeOf(both).to);
});

test('what is wrong is named', () => {
  expect(() => timeRangeOf({ start_time: 'noon' })).toThrow('query/start_time: must be an ISO 8601 time');
  expect(() => timeRangeOf({ end_time: '2026-02-30' })).toThrow('query/end_time: must be an ISO 8601 time');
  expect(() => timeRangeOf({ start_time: '2026-11-25', end_time: '2026-11-24' })).toThrow(
    'query/start_time: must not be after end_time',
  );
});
