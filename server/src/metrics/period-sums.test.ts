import { expect, it } from 'vitest';
import { type RolledUntil, sourcesOf, wholePeriods } from './period-sums.ts';

const at = (time: string): Date => new Date(`2026-11-24T${time}Z`);
const rolledUntil: RolledUntil = {
  '5m': at('12:40:00'),
  '15m': at('12:30:00'),
  '1h': at('12:00:00'),
  '1d': at('00:00:00'),
};
const shown = (sources: ReturnType<typeof sourcesOf>): string[] =>
  sources.map(
    ({ period, from, to }) =>
      `${period} ${from?.toISOString().slice(11, 16) ?? '…'}–${to?.toISOString().slice(11, 16) ?? '…'}`,
  );

it('what has been summed up is read so, and what has not from hours, five minutes, and collections', () => {
  const yesterday = new Date('2026-11-23T00:00:00Z');
  expect(shown(sourcesOf('1d', { from: yesterday, to: null }, rolledUntil))).toEqual([
    '1d 00:00–00:00',
    '1h 00:00–12:00',
    '5m 12:00–12:40',
    '1m 12:40–…',
  ]);
  expect(shown(sourcesOf('15m', { from: at('12:00:00'), to: at('13:00:00') }, rolledUntil))).toEqual([
    '15m 12:00–12:30',
    '5m 12:30–12:40',
    '1m 12:40–13:00',
  ]);
  expect(shown(sourcesOf('5m', { from: at('11:00:00'), to: at('13:00:00') }, rolledUntil))).toEqual([
    '5m 11:00–12:40',
    '1m 12:40–13:00',
  ]);
});

it('nothing is read of what is not in the range', () => {
  expect(shown(sourcesOf('1h', { from: at('08:00:00'), to: at('12:00:00') }, rolledUntil))).toEqual([
    '1h 08:00–12:00',
  ]);
  expect(shown(sourcesOf('15m', { from: at('12:45:00'), to: at('13:00:00') }, rolledUntil))).toEqual([
    '1m 12:45–13:00',
  ]);
  expect(shown(sourcesOf('15m', { from: at('12:15:00'), to: at('12:30:00') }, rolledUntil))).toEqual([
    '15m 12:15–12:30',
  ]);
});

it('what was collected is read alone where it is asked for', () => {
  expect(shown(sourcesOf('1m', { from: at('11:00:00'), to: at('13:00:00') }, rolledUntil))).toEqual([
    '1m 11:00–13:00',
  ]);
});

it('an open range is read from the first on and to the newest', () => {
  expect(shown(sourcesOf('1h', { from: null, to: null }, rolledUntil))).toEqual([
    '1h …–12:00',
    '5m 12:00–12:40',
    '1m 12:40–…',
  ]);
});

it('a range chooses the periods that begin in it, both ends included', () => {
  expect(wholePeriods('1h', { from: at('11:00:00'), to: at('12:00:00') })).toEqual({
    from: at('11:00:00'),
    to: at('13:00:00'),
  });
  expect(wholePeriods('1h', { from: at('11:00:01'), to: null })).toEqual({ from: at('12:00:00'), to: null });
});
