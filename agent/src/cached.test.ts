import { expect, test } from 'vitest';
import { fakeClock } from '../test/clock.ts';
import { cached } from './cached.ts';

test('however many ask, it is made once, and again when its time is over', async () => {
  const clock = fakeClock();
  let made = 0;
  const count = cached(async () => ++made, 5_000, clock);

  expect(await Promise.all([count(), count(), count()])).toEqual([1, 1, 1]);
  clock.advance(4_999);
  expect(await count()).toBe(1);
  clock.advance(1);
  expect(await Promise.all([count(), count()])).toEqual([2, 2]);
});

test('a failure reaches all who wait, and is not kept', async () => {
  let attempts = 0;
  const count = cached(
    async () => {
      attempts += 1;
      if (attempts === 1) throw new Error('not yet');
      return attempts;
    },
    5_000,
    fakeClock(),
  );

  const [first, second] = await Promise.allSettled([count(), count()]);
  expect([first.status, second.status]).toEqual(['rejected', 'rejected']);
  expect(await count()).toBe(2);
});
