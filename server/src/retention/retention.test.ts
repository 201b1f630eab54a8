import { expect, test } from 'vitest';
import { partitionedTables } from './partitions.ts';
import { defaultRetention, formatRetention, keptFrom, parseRetention } from './retention.ts';

const refuse = (why: string): never => {
  throw new Error(why);
};

test('what is not named is kept as it usually is', () => {
  expect(parseRetention('checks=7, 1h = 800', refuse)).toEqual({ ...defaultRetention, checks: 7, '1h': 800 });
});

test('the default reads back as it is written', () => {
  expect(parseRetention(formatRetention(defaultRetention), refuse)).toEqual(defaultRetention);
});

test.each([
  [
    'days=7',
    'must be names and days such as checks=30,1h=400; the names are checks, metrics, 5m, 15m, 1h, 1d, events',
  ],
  ['checks', 'must be names and days'],
  ['checks=', 'must keep checks for a whole number of days from 3 to 36500'],
  ['checks=1=2', 'must be names and days'],
  ['checks=7,', 'must be names and days'],
  ['checks=2', 'must keep checks for a whole number of days from 3 to 36500'],
  ['1d=36501', 'must keep 1d for a whole number of days from 3 to 36500'],
  ['events=-1', 'must keep events for a whole number of days from 3 to 36500'],
  ['events=1.5', 'must keep events for a whole number of days from 3 to 36500'],
  ['checks=7,checks=8', 'names checks twice'],
  [
    'metrics=91',
    'must keep 5m (90 days) for at least as long as metrics (91 days), from which it is summed up',
  ],
  ['1h=30', 'must keep 1h (30 days) for at least as long as 15m (180 days)'],
])('%s is refused: %s', (text, why) => {
  expect(() => parseRetention(text, refuse)).toThrow(why);
});

test('every table is kept for some time', () => {
  const now = new Date('2026-11-24T12:00:00Z');
  for (const table of partitionedTables) {
    expect(keptFrom(table, now, defaultRetention).getTime(), table).toBeLessThan(now.getTime());
  }
});

test('it is kept for so many whole days, and the one that has begun', () => {
  const kept = (now: string): Date => keptFrom('server_health_checks', new Date(now), defaultRetention);
  expect(kept('2026-11-24T00:00:00Z')).toEqual(new Date('2026-10-25'));
  expect(kept('2026-11-24T23:59:59.999Z')).toEqual(new Date('2026-10-25'));
});
