import { beforeEach, expect, it } from 'vitest';
import { type Attendance, createAttendance, type FreeSlot } from './attendance.ts';

const maxGapMs = 15_000;
const ended = '2026-11-01 00:00:00+00';
const slot: FreeSlot = { slot: 7, epoch: 3, expiry: ended };

let attendance: Attendance;
beforeEach(() => {
  attendance = createAttendance(maxGapMs);
});
/** What it makes of a look at these free slots: for how long each has been free. */
const look = (nowMs: number, ...free: FreeSlot[]): number[] =>
  attendance.observe(free, nowMs).map(({ forMs }) => forMs);

it('counts from the first look that found the slot free', () => {
  expect(look(1_000, slot)).toEqual([0]);
  expect(look(6_000, slot)).toEqual([5_000]);
  expect(look(11_000, slot, { ...slot, slot: 8 })).toEqual([10_000, 0]);
});

it.each<[string, FreeSlot]>([
  ['held anew since', { ...slot, epoch: 4 }],
  ['renewed since, and over again', { ...slot, expiry: '2026-11-01 00:00:10+00' }],
  ['given back since', { ...slot, expiry: null }],
])('begins anew with a lease that was %s', (_what, changed) => {
  look(0, slot);
  expect(look(5_000, changed)).toEqual([0]);
  expect(look(10_000, changed)).toEqual([5_000]);
});

it('begins anew with a slot that was held at one look', () => {
  look(0, slot);
  expect(look(5_000)).toEqual([]);
  expect(look(10_000, slot)).toEqual([0]);
});

it('begins anew when it has not looked for too long, or could not', () => {
  look(0, slot);
  expect(look(maxGapMs, slot)).toEqual([maxGapMs]);
  expect(look(2 * maxGapMs + 1, slot)).toEqual([0]);
  attendance.forget();
  expect(look(2 * maxGapMs + 2, slot)).toEqual([0]);
});

it('goes on counting over a lease that it took itself', () => {
  look(0, slot);
  attendance.took([{ slot: 7, epoch: 9 }]);
  expect(look(5_000, { slot: 7, epoch: 9, expiry: null })).toEqual([5_000]);
});
