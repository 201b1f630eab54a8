import { expect, it } from 'vitest';
import { createFakeClock } from '../../test/fakes/clock.ts';
import { createTurns } from './turns.ts';

/** Two turns, and what becomes of those who take them, in order. */
function begin() {
  const clock = createFakeClock();
  const turns = createTurns(2, clock);
  const told: string[] = [];
  const take = (name: string): void => {
    turns.take().then(
      () => told.push(name),
      (error: Error) => told.push(`${name}: ${error.message}`),
    );
  };
  return { clock, turns, told, take };
}

it('lets so many go on at once, and the others in their order', async () => {
  const { clock, turns, told, take } = begin();
  for (const name of ['a', 'b', 'c', 'd']) take(name);
  await clock.advance(0);
  expect(told).toEqual(['a', 'b']);
  expect(turns.waiting()).toBe(2);
  turns.give();
  await clock.advance(0);
  expect(told).toEqual(['a', 'b', 'c']);
  turns.give();
  turns.give();
  await clock.advance(0);
  take('e');
  await clock.advance(0);
  expect(told).toEqual(['a', 'b', 'c', 'd', 'e']);
});

it('refuses who has waited for five seconds, and nobody who goes on', async () => {
  const { clock, turns, told, take } = begin();
  for (const name of ['a', 'b', 'c']) take(name);
  await clock.advance(4_999);
  take('d');
  await clock.advance(1);
  expect(told).toEqual(['a', 'b', 'c: The database is too busy to answer in time.']);
  turns.give();
  await clock.advance(10_000);
  expect(told.slice(3)).toEqual(['d']);
});

it('refuses all who wait together, and lets who comes later take a turn', async () => {
  const { clock, turns, told, take } = begin();
  for (const name of ['a', 'b', 'c', 'd']) take(name);
  turns.refuseAll(new Error('away'));
  await clock.advance(0);
  expect(told).toEqual(['a', 'b', 'c: away', 'd: away']);
  turns.give();
  take('e');
  await clock.advance(0);
  expect(told.at(-1)).toBe('e');
});
