import { describe, expect, it } from 'vitest';
import { systemClock } from '../platform/clock.ts';
import { createLane as createLaneOf, createStarts } from './lanes.ts';

const createLane = (concurrency: number) => createLaneOf(concurrency, createStarts(systemClock));

/** A task that tells when it begins, and ends when it is told to. */
function tasks() {
  const begun: string[] = [];
  const finish = new Map<string, () => void>();
  const task = (name: string) => () => {
    begun.push(name);
    return new Promise<void>(resolve => finish.set(name, resolve));
  };
  const end = async (name: string) => {
    finish.get(name)!();
    // Two turns of the microtask queue: the task's own end, and the lane's hearing of it.
    await new Promise(resolve => setImmediate(resolve));
  };
  return { begun, task, end };
}

describe('a lane', () => {
  it('runs as many at once as it has room for, the others in the order of asking', async () => {
    const lane = createLane(2);
    const { begun, task, end } = tasks();
    for (const name of ['a', 'b', 'c', 'd']) lane.run(task(name));
    expect(begun).toEqual(['a', 'b']);
    expect([lane.active(), lane.waiting()]).toEqual([2, 2]);
    await end('b');
    expect(begun).toEqual(['a', 'b', 'c']);
    await end('a');
    expect(begun).toEqual(['a', 'b', 'c', 'd']);
    expect([lane.active(), lane.waiting()]).toEqual([2, 0]);
  });

  it('keeps the order over thousands of tasks', async () => {
    const lane = createLane(3);
    const order: number[] = [];
    for (let index = 0; index < 5_000; index += 1) {
      lane.run(async () => {
        order.push(index);
        await Promise.resolve();
      });
    }
    await lane.idle();
    expect(order).toEqual(Array.from({ length: 5_000 }, (_, index) => index));
  });

  it('is not delayed by another one whose tasks all hang', () => {
    const stuck = createLane(1);
    const live = createLane(1);
    const { begun, task } = tasks();
    for (const name of ['hangs', 'waits behind it']) stuck.run(task(name));
    live.run(task('runs'));
    expect(begun).toEqual(['hangs', 'runs']);
  });

  it('is idle when nothing runs and nothing waits', async () => {
    const lane = createLane(1);
    await lane.idle();
    const { task, end } = tasks();
    lane.run(task('a'));
    lane.run(task('b'));
    let idle = false;
    const becameIdle = lane.idle().then(() => (idle = true));
    await end('a');
    expect(idle).toBe(false);
    await end('b');
    await becameIdle;
    expect(idle).toBe(true);
  });

  it('forgets what has not started when it is cleared, and lets the rest finish', async () => {
    const lane = createLane(1);
    const { begun, task, end } = tasks();
    lane.run(task('a'));
    lane.run(task('b'));
    lane.clear();
    const idle = lane.idle();
    await end('a');
    await idle;
    expect(begun).toEqual(['a']);
  });
});

describe('in one turn of the event loop', () => {
  /** Lanes with room for everybody, and turns that end when they are told to. */
  function turns(laneCount: number) {
    let end = (): void => undefined;
    const sleep = (): Promise<void> => new Promise(resolve => (end = resolve));
    const starts = createStarts({ sleep });
    const lanes = Array.from({ length: laneCount }, () => createLaneOf(512, starts));
    const begun = lanes.map(() => 0);
    return {
      begun,
      run(lane: number, count: number) {
        for (let index = 0; index < count; index += 1) {
          lanes[lane]!.run(() => {
            begun[lane]! += 1;
            return new Promise(() => undefined);
          });
        }
      },
      async nextTurn() {
        end();
        await new Promise(resolve => setImmediate(resolve));
      },
    };
  }

  it('64 polls start over all lanes, and the others in the next turns', async () => {
    const { begun, run, nextTurn } = turns(2);
    run(0, 40);
    run(1, 110);
    expect(begun).toEqual([40, 24]);
    await nextTurn();
    expect(begun).toEqual([40, 88]);
    await nextTurn();
    expect(begun).toEqual([40, 110]);
  });

  it('no lane keeps another one waiting, however much it has to do', async () => {
    const { begun, run, nextTurn } = turns(3);
    run(0, 400);
    run(1, 400);
    run(2, 1);
    await nextTurn();
    await nextTurn();
    expect(begun).toEqual([64 + 63, 64, 1]);
    for (let turn = 0; turn < 4; turn += 1) await nextTurn();
    expect(begun[0]! + begun[1]!).toBe(7 * 64 - 1);
    expect(Math.abs(begun[0]! - begun[1]!)).toBeLessThanOrEqual(64);
  });

  it('those that end at once count as well, and none is forgotten', async () => {
    const lane = createLane(1);
    const begun: number[] = [];
    for (let index = 0; index < 150; index += 1) lane.run(async () => void begun.push(index));
    await lane.idle();
    expect(begun).toEqual(Array.from({ length: 150 }, (_, index) => index));
  });
});
