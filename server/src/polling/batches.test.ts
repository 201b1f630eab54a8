import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { numbers, spoolOn, store } from '../../test/fakes/batch-store.ts';
import { createMemoryDisk } from '../../test/fakes/memory-disk.ts';

describe('batches', () => {
  it('reach the store in order, none larger than allowed', async () => {
    const { batches, known } = store();
    for (const item of numbers(10)) batches.add(item);
    await batches.flush();
    expect(known.tries).toEqual([
      [0, 1, 2, 3],
      [4, 5, 6, 7],
      [8, 9],
    ]);
    expect(batches.waiting()).toBe(0);
  });

  it('are repeated as they were while the store is away, without what came since', async () => {
    const { batches, known } = store();
    batches.add(0);
    known.away = true;
    await expect(batches.flush()).rejects.toThrow('cannot be reached');
    batches.add(1);
    await expect(batches.flush()).rejects.toThrow('cannot be reached');
    expect(batches.waiting()).toBe(2);
    known.away = false;
    await batches.flush();
    expect(known.tries).toEqual([[0], [0], [0], [1]]);
    expect(known.refused).toEqual([]);
  });

  it('lose only the item that the store will never take', async () => {
    const { batches, known } = store({ maxBatch: 500, poison: [137] });
    for (const item of numbers(500)) batches.add(item);
    await batches.flush();
    expect(known.refused).toEqual([137]);
    expect(known.stored).toEqual(numbers(500).filter(item => item !== 137));
    // The first is repeated with care. Halving: two tries for each of the nine levels.
    expect(known.tries.length).toBeLessThanOrEqual(20);
  });

  it('are tried carelessly once, and with care where some of it may be there already', async () => {
    const { batches, known } = store({ there: [2] });
    for (const item of numbers(6)) batches.add(item);
    await batches.flush();
    expect(known.tries).toEqual([
      [0, 1, 2, 3],
      [0, 1, 2, 3],
      [4, 5],
    ]);
    expect(known.firstTries).toEqual([
      [0, 1, 2, 3],
      [4, 5],
    ]);
    expect(known.stored).toEqual([0, 1, 3, 4, 5]);
    expect(known.refused).toEqual([]);
  });

  it.each([
    ['in memory', null],
    ['on disk', createMemoryDisk()],
  ])('whose fate is unknown are never tried carelessly again: %s', async (_, disk) => {
    const { batches, known } = store({ spool: disk && (await spoolOn(disk)) });
    batches.add(0);
    known.away = true;
    await expect(batches.flush()).rejects.toThrow('cannot be reached');
    await expect(batches.flush()).rejects.toThrow('cannot be reached');
    known.away = false;
    batches.add(1);
    await batches.flush();
    batches.add(2);
    await batches.flush();
    expect(known.stored).toEqual([0, 1, 2]);
    expect(known.firstTries[0]).toEqual([0]);
    expect(known.firstTries.slice(1).flat()).not.toContain(0);
    expect(known.firstTries.at(-1)).toEqual([2]);
  });

  it('an earlier process left are tried with care from the beginning', async () => {
    const disk = createMemoryDisk();
    const before = store({ spool: await spoolOn(disk) });
    before.known.away = true;
    before.batches.add(0);
    await expect(before.batches.flush()).rejects.toThrow('cannot be reached');
    const { batches, known } = store({ spool: await spoolOn(disk), there: [0] });
    await batches.flush();
    expect(known.tries).toEqual([[0]]);
    expect(known.firstTries).toEqual([]);
  });

  it('refuse the newest when too many wait: what waits already was promised first', async () => {
    const { batches, known } = store({ maxWaiting: 3 });
    for (const item of numbers(5)) batches.add(item);
    expect(known.overflowed).toEqual([3, 4]);
    await batches.flush();
    expect(known.stored).toEqual([0, 1, 2]);
  });

  it('are written once although two flush at the same time, with what is added meanwhile', async () => {
    const { batches, known } = store();
    batches.add(0);
    const first = batches.flush();
    batches.add(1);
    await Promise.all([first, batches.flush()]);
    expect(known.tries).toEqual([[0], [1]]);
  });

  it('lose nothing, keep the order and refuse only poison, whichever tries fail', async () => {
    const plan = fc.record({
      items: fc.nat(60),
      maxBatch: fc.integer({ min: 1, max: 20 }),
      poison: fc.uniqueArray(fc.nat(60), { maxLength: 4 }),
      fails: fc.array(fc.boolean(), { maxLength: 40 }),
    });
    await fc.assert(
      fc.asyncProperty(plan, async ({ items, maxBatch, poison, fails }) => {
        const tries = fails.values();
        const { batches, known } = store({ maxBatch, poison, failsNow: () => tries.next().value ?? false });
        for (const item of numbers(items)) batches.add(item);
        for (let round = 0; batches.waiting() > 0; round += 1) {
          expect(round).toBeLessThanOrEqual(fails.length);
          await batches.flush().catch(() => undefined);
        }
        // A batch that failed half-way is written again from its beginning: the store knows what it has.
        expect([...new Set(known.stored)]).toEqual(numbers(items).filter(item => !poison.includes(item)));
        expect(new Set(known.refused)).toEqual(new Set(poison.filter(item => item < items)));
      }),
    );
  });
});
