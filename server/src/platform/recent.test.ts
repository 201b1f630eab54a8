import { expect, it } from 'vitest';
import { createRecent } from './recent.ts';

let nowMs = 0;
const clock = { now: () => new Date(nowMs), monotonicMs: () => nowMs, sleep: async () => undefined };

it('computes once for all who ask within the age, and anew after it', async () => {
  const recent = createRecent<number>({ clock, maxAgeMs: 1_000, maxEntries: 10 });
  let computed = 0;
  const ask = (key = 'a') => recent(key, async () => ++computed);
  expect(await Promise.all([ask(), ask(), ask()])).toEqual([1, 1, 1]);
  nowMs += 999;
  expect(await ask()).toBe(1);
  expect(await ask('b')).toBe(2);
  nowMs += 1;
  expect(await ask()).toBe(3);
});

it('does not remember a failure', async () => {
  const recent = createRecent<number>({ clock, maxAgeMs: 1_000, maxEntries: 10 });
  await expect(recent('a', () => Promise.reject(new Error('away')))).rejects.toThrow('away');
  expect(await recent('a', async () => 7)).toBe(7);
});

it('keeps a bounded number of answers', async () => {
  const recent = createRecent<number>({ clock, maxAgeMs: 1_000, maxEntries: 2 });
  let computed = 0;
  for (const key of ['a', 'b', 'c']) await recent(key, async () => ++computed);
  expect(await recent('a', async () => ++computed)).toBe(4);
});
