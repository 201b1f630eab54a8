import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createSchedule, firstDueMs, followingDueMs, offsetMs, type Scheduled } from './schedule.ts';

describe('the schedule', () => {
  it('hands out what is due, the earliest first and ties in the order they came', () => {
    const schedule = createSchedule<string>();
    for (const [item, dueMs] of [
      ['c', 20],
      ['a', 10],
      ['d', 20],
      ['later', 31],
    ] as const)
      schedule.add(item, dueMs);
    const taken = () => schedule.takeDue(30)?.item;
    expect([taken(), taken(), taken(), taken()]).toEqual(['a', 'c', 'd', undefined]);
    expect(schedule.nextDueMs()).toBe(31);
  });

  it('forgets what was dropped, also when it is dropped twice or after it was taken', () => {
    const schedule = createSchedule<string>();
    const dropped = schedule.add('dropped', 1);
    schedule.add('kept', 2);
    schedule.drop(dropped);
    schedule.drop(dropped);
    expect(schedule.size()).toBe(1);
    schedule.drop(schedule.takeDue(5)!);
    expect(schedule.size()).toBe(0);
    expect(schedule.nextDueMs()).toBeNull();
  });

  it('behaves like a sorted list under any sequence of commands', () => {
    const command = fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({ do: fc.constant('add' as const), dueMs: fc.integer({ min: 0, max: 50 }) }),
      },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('drop' as const), which: fc.nat(50) }) },
      {
        weight: 3,
        arbitrary: fc.record({ do: fc.constant('take' as const), nowMs: fc.integer({ min: 0, max: 50 }) }),
      },
    );
    fc.assert(
      fc.property(fc.array(command, { maxLength: 200 }), commands => {
        const schedule = createSchedule<number>();
        const everAdded: Scheduled<number>[] = [];
        let model: Scheduled<number>[] = [];
        for (const [item, step] of commands.entries()) {
          if (step.do === 'add') {
            const entry = schedule.add(item, step.dueMs);
            everAdded.push(entry);
            // Sorting is stable: ties stay in the order they came.
            model = [...model, entry].toSorted((a, b) => a.dueMs - b.dueMs);
          } else if (step.do === 'drop' && everAdded.length > 0) {
            const entry = everAdded[step.which % everAdded.length]!;
            schedule.drop(entry);
            model = model.filter(each => each !== entry);
          } else if (step.do === 'take') {
            const expected = model[0] !== undefined && model[0].dueMs <= step.nowMs ? model.shift()! : null;
            expect(schedule.takeDue(step.nowMs)).toBe(expected);
          }
          expect(schedule.size()).toBe(model.length);
          expect(schedule.nextDueMs()).toBe(model[0]?.dueMs ?? null);
        }
      }),
    );
  });

  it('keeps its order through the compaction that thousands of drops cause', () => {
    const schedule = createSchedule<number>();
    const entries = Array.from({ length: 5_000 }, (_, index) => schedule.add(index, (index * 7_919) % 5_000));
    for (const entry of entries) if (entry.item % 4 !== 0) schedule.drop(entry);
    const taken: number[] = [];
    for (let next = schedule.takeDue(5_000); next !== null; next = schedule.takeDue(5_000))
      taken.push(next.dueMs);
    expect(taken).toHaveLength(1_250);
    expect(taken).toEqual(taken.toSorted((a, b) => a - b));
  });
});

describe('the offset of a server', () => {
  it('is the same for ever, and differs between the kinds of poll', () => {
    const id = '019abf00-0000-7000-8000-000000000001';
    // A literal on purpose: another hash would move every server of every installation at an upgrade.
    expect(offsetMs(id, 'health', 30_000)).toBeCloseTo(16_571.883, 3);
    expect(offsetMs(id, 'metrics', 30_000)).not.toBe(offsetMs(id, 'health', 30_000));
  });

  it.each([
    ['random ids', (_index: number) => randomUUID()],
    [
      'ids that differ in their last characters',
      (index: number) => `019abf00-0000-7000-8000-${String(index).padStart(12, '0')}`,
    ],
  ])('spreads %s evenly over the interval', (_name, id) => {
    const buckets = Array.from({ length: 20 }, () => 0);
    const servers = 20_000;
    for (let index = 0; index < servers; index += 1) {
      const offset = offsetMs(id(index), 'health', 30_000);
      expect(offset).toBeGreaterThanOrEqual(0);
      expect(offset).toBeLessThan(30_000);
      buckets[Math.floor(offset / 1_500)]! += 1;
    }
    // Pearson's chi-squared with 19 degrees of freedom: 60 is exceeded by chance once in 250,000 runs.
    const expected = servers / buckets.length;
    expect(buckets.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0)).toBeLessThan(60);
  });
});

describe('due times', () => {
  const interval = fc.integer({ min: 100, max: 86_400_000 });

  it('begin within one interval, on the rhythm that the offset sets', () => {
    fc.assert(
      fc.property(
        interval,
        fc.integer({ min: 0, max: 10 ** 9 }),
        fc.integer(),
        fc.nat(),
        (intervalMs, nowMs, originMs, n) => {
          const offset = n % intervalMs;
          const due = firstDueMs(nowMs, originMs, offset, intervalMs);
          if (originMs + offset <= nowMs) expect(due - nowMs).toBeLessThanOrEqual(intervalMs);
          expect(due).toBeGreaterThan(originMs + offset <= nowMs ? nowMs : nowMs - 1);
          // `+ 0` because a remainder may be a negative zero.
          expect(((due - originMs - offset) % intervalMs) + 0).toBe(0);
        },
      ),
    );
  });

  it('do not drift however late a poll starts', () => {
    let due = 1_000;
    for (let poll = 0; poll < 1_000; poll += 1)
      due = followingDueMs(due, due + ((poll * 37) % 29_000), 30_000);
    expect(due).toBe(1_000 + 1_000 * 30_000);
  });

  it('skip what a stall has missed, so that nothing bursts', () => {
    expect(followingDueMs(1_000, 601_500, 30_000)).toBe(631_000);
    fc.assert(
      fc.property(interval, fc.nat(10 ** 9), fc.nat(10 ** 9), (intervalMs, dueMs, stallMs) => {
        const nowMs = dueMs + stallMs;
        const following = followingDueMs(dueMs, nowMs, intervalMs);
        expect(following).toBeGreaterThan(nowMs);
        expect(following - nowMs).toBeLessThanOrEqual(intervalMs);
      }),
    );
  });
});
