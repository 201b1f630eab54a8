import { expect, test } from 'vitest';
import { doubtsOf } from './doubts.ts';

const at = '2026-11-01T00:00:00.000Z';
const firm = {
  status: 'active',
  suspect_since: null,
  recovering_since: null,
  flapping_since: null,
  breaker_opened_at: null,
};

test('there is none where nothing keeps the health from being firm', () => {
  expect(doubtsOf(firm)).toEqual([]);
});

test('each has its word and its time, the most telling first', () => {
  const all = { ...firm, suspect_since: at, recovering_since: at, flapping_since: at, breaker_opened_at: at };
  expect(doubtsOf(all).map(({ word, since }) => [word, since])).toEqual([
    ['Suspect', at],
    ['Recovering', at],
    ['Flapping', at],
    ['Spared', at],
  ]);
});

test('a paused server has no health to doubt', () => {
  expect(doubtsOf({ ...firm, status: 'maintenance', flapping_since: at })).toEqual([]);
});
