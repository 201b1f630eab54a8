import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { numbers, spoolOn, store } from '../../test/fakes/batch-store.ts';
import { createMemoryDisk } from '../../test/fakes/memory-disk.ts';

describe('batches with a disk', () => {
  it('write nothing to it while the store takes them', async () => {
    const disk = createMemoryDisk();
    const { batches, known } = store({ spool: await spoolOn(disk) });
    disk.refuseWrites('EIO');
    for (const item of numbers(10)) batches.add(item);
    await batches.flush();
    await batches.spillIfStuck();
    expect(known.stored).toEqual(numbers(10));
    expect(disk.names()).toEqual([]);
  });

  it('are all on it once the store has failed, each as it will be repeated', async () => {
    const disk = createMemoryDisk();
    const { batches, known } = store({ spool: await spoolOn(disk) });
    known.away = true;
    for (const item of numbers(6)) batches.add(item);
    await expect(batches.flush()).rejects.toThrow('cannot be reached');
    batches.add(6);
    await expect(batches.flush()).rejects.toThrow('cannot be reached');
    expect([batches.waiting(), batches.onDisk()]).toEqual([0, 3]);
    expect(batches.isBehind()).toBe(true);

    const next = store({ spool: await spoolOn(disk) });
    next.batches.add(7);
    await next.batches.flush();
    expect(next.known.tries).toEqual([[0, 1, 2, 3], [4, 5], [6], [7]]);
    expect(next.batches.isEmpty()).toBe(true);
    expect(disk.names()).toEqual([]);
  });

  it('are stored in bounded steps after that, the new ones behind the old', async () => {
    const disk = createMemoryDisk();
    const { batches, known } = store({ maxBatch: 1, spool: await spoolOn(disk) });
    known.away = true;
    for (const item of numbers(3)) batches.add(item);
    await expect(batches.flush()).rejects.toThrow();
    known.away = false;
    batches.add(3);
    await batches.flush(2);
    expect(known.stored).toEqual([0, 1]);
    await batches.flush(1);
    await batches.flush();
    expect(known.stored).toEqual([0, 1, 2, 3]);
  });

  it('go to it when there are too many for memory', async () => {
    const { batches, known } = store({ maxInMemory: 5, spool: await spoolOn(createMemoryDisk()) });
    for (const item of numbers(5)) batches.add(item);
    await batches.spillIfStuck();
    expect(batches.waiting()).toBe(5);
    batches.add(5);
    await batches.spillIfStuck();
    expect(batches.waiting()).toBe(0);
    await batches.flush();
    expect(known.stored).toEqual(numbers(6));
  });

  it('go to it while the store says nothing, the one that it holds included, and are written once', async () => {
    const disk = createMemoryDisk();
    const held = Promise.withResolvers<void>();
    const { batches, known } = store({ spool: await spoolOn(disk), holds: () => held.promise });
    for (const item of numbers(5)) batches.add(item);
    const flushed = batches.flush();
    known.nowMs = 2_899;
    await batches.spillIfStuck();
    expect(batches.waiting()).toBe(5);
    known.nowMs = 2_900;
    await batches.spillIfStuck();
    expect(batches.waiting()).toBe(0);

    // Killed here, the next process has all.
    const copy = createMemoryDisk();
    for (const name of disk.names()) copy.write(name, disk.bytes(name));
    const next = store({ spool: await spoolOn(copy) });
    await next.batches.flush();
    expect(next.known.stored).toEqual(numbers(5));

    batches.add(5);
    held.resolve();
    await flushed;
    expect(known.stored).toEqual(numbers(6));
    expect(disk.names()).toEqual([]);
  });

  it('go to it between two tries, once the store has failed and until it takes something again', async () => {
    const { batches, known } = store({ spool: await spoolOn(createMemoryDisk()) });
    known.away = true;
    batches.add(0);
    await expect(batches.flush()).rejects.toThrow('cannot be reached');
    batches.add(1);
    await batches.spillIfStuck();
    expect(batches.waiting()).toBe(0);
    known.away = false;
    await batches.flush();
    batches.add(2);
    await batches.spillIfStuck();
    expect(batches.waiting()).toBe(1);
  });

  it('go to it once they have been seen for three seconds, however much the store takes meanwhile', async () => {
    let held = Promise.withResolvers<void>();
    const { batches, known } = store({ spool: await spoolOn(createMemoryDisk()), holds: () => held.promise });
    batches.add(0);
    const flushed = batches.flush();
    for (const item of [1, 2, 3]) batches.add(item);
    known.nowMs = 2_800;
    await batches.spillIfStuck();
    known.nowMs = 5_600;
    const first = held;
    held = Promise.withResolvers<void>();
    first.resolve();
    while (known.tries.length < 2) await Promise.resolve();
    await batches.spillIfStuck();
    expect(batches.waiting()).toBe(3);
    batches.add(4);
    known.nowMs = 5_700;
    await batches.spillIfStuck();
    expect(batches.waiting()).toBe(0);
    held.resolve();
    await flushed;
    expect(known.stored).toEqual(numbers(5));
  });

  it('tell when what waits now is written, wherever it lies by then and whatever comes meanwhile', async () => {
    const { batches, known } = store({ spool: await spoolOn(createMemoryDisk()) });
    const add = (from: number, to: number): void => {
      for (let item = from; item < to; item += 1) batches.add(item);
    };
    add(0, 9);
    await batches.spill();
    add(9, 15);
    const isWritten = batches.checkpoint();
    await batches.spill();
    let next = 15;
    while (!isWritten()) {
      add(next, (next += 4));
      await batches.flush(1);
    }
    expect(known.stored).toEqual(numbers(known.stored.length));
    expect(known.stored.length).toBeGreaterThanOrEqual(15);
    expect(batches.isEmpty()).toBe(false);
    await batches.flush();
    expect(batches.checkpoint()()).toBe(true);
  });

  it('wait in memory where the disk is full or broken, as they were, and the newest is refused in the end', async () => {
    const disk = createMemoryDisk();
    const { batches, known } = store({ maxWaiting: 3, spool: await spoolOn(disk, 12) });
    known.away = true;
    disk.refuseWrites('ENOSPC');
    batches.add(0);
    await expect(batches.flush()).rejects.toThrow('cannot be reached');
    disk.refuseWrites(null);
    batches.add(1);
    await expect(batches.flush()).rejects.toThrow('cannot be reached');
    // [0] fits, [1] does not.
    for (const item of [2, 3, 4]) batches.add(item);
    expect(known.overflowed).toEqual([4]);
    known.away = false;
    await batches.flush();
    expect(known.tries.slice(-3)).toEqual([[0], [1], [2, 3]]);
  });

  it('pass over what nobody can read, and count it', async () => {
    const spool = await spoolOn(createMemoryDisk());
    await spool.queue.append([Buffer.from('rubbish'), Buffer.from('[1]')]);
    const { batches, known } = store({ spool });
    await batches.flush();
    expect(known.stored).toEqual([1]);
    expect(spool.unreadable).toBe(1);
  });

  it('lose nothing and keep the order, whichever tries fail, wherever disk and process fail', async () => {
    const action = fc.oneof(
      { weight: 4, arbitrary: fc.record({ add: fc.integer({ min: 1, max: 9 }) }) },
      { weight: 2, arbitrary: fc.record({ flush: fc.integer({ min: 1, max: 3 }) }) },
      { weight: 1, arbitrary: fc.constantFrom('spill' as const, 'stuck' as const, 'restart' as const) },
      { weight: 1, arbitrary: fc.record({ away: fc.boolean(), disk: fc.boolean() }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 30 }), async actions => {
        const disk = createMemoryDisk();
        const stored: number[] = [];
        let count = 0;
        let isAway = false;
        const begin = async () => store({ spool: await spoolOn(disk), failsNow: () => isAway });
        let current = await begin();
        const end = async (): Promise<void> => {
          stored.push(...current.known.stored);
        };
        for (const each of actions) {
          const { batches } = current;
          const running: Promise<unknown>[] = [];
          if (each === 'spill') running.push(batches.spill());
          else if (each === 'stuck') running.push(batches.spillIfStuck());
          else if (each === 'restart') {
            // As at a SIGTERM: nothing is added any more, and the disk works.
            disk.refuseWrites(null);
            await batches.spill();
            await end();
            current = await begin();
          } else if ('add' in each) for (let left = each.add; left > 0; left -= 1) batches.add(count++);
          else if ('flush' in each) running.push(batches.flush(each.flush), batches.spillIfStuck());
          else {
            isAway = each.away;
            disk.refuseWrites(each.disk ? null : 'EIO');
          }
          await Promise.allSettled(running);
        }
        isAway = false;
        disk.refuseWrites(null);
        await current.batches.flush();
        await end();
        expect(current.batches.isEmpty()).toBe(true);
        // What was stored and not yet dropped when a process ended comes again.
        const fresh = stored.filter((item, index) => stored.indexOf(item) === index);
        expect(fresh).toEqual(numbers(count));
      }),
      { numRuns: 300 },
    );
  });
});
