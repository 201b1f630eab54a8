import { expect, it } from 'vitest';
import { createFakeClock } from '../../../test/fakes/clock.ts';
import { createLog } from '../log.ts';
import { runLoop } from './loop.ts';

const log = createLog({ level: 'silent' });

function start(runOnce: () => Promise<number>, periodMs = 60_000) {
  const clock = createFakeClock();
  const ended = new AbortController();
  const done = runLoop(
    { name: 'test', description: '', periodMs, runOnce },
    { clock, log, signal: ended.signal },
  );
  return { clock, done, end: () => ended.abort() };
}

it('runs at once, then after each pause', async () => {
  let passes = 0;
  const { clock, done, end } = start(async () => ++passes);
  await clock.advance(0);
  expect(passes).toBe(1);
  await clock.advance(180_000);
  expect(passes).toBe(4);
  end();
  await done;
});

it('never overlaps itself: the pause begins when a pass has ended', async () => {
  const started: number[] = [];
  const { clock, done, end } = start(async () => {
    started.push(clock.monotonicMs());
    await clock.sleep(100_000);
    return 0;
  });
  await clock.advance(400_000);
  expect(started.map(at => at - started[0]!)).toEqual([0, 160_000, 320_000]);
  end();
  await clock.advance(200_000);
  await done;
});

it('tries again soon after a failure, and keeps its period otherwise', async () => {
  let passes = 0;
  const { clock, done, end } = start(async () => {
    passes += 1;
    if (passes < 3) throw new Error('the database is away');
    return 0;
  });
  await clock.advance(10_000);
  expect(passes).toBe(3);
  await clock.advance(50_000);
  expect(passes).toBe(3);
  end();
  await done;
});

it('ends in the middle of a pause', async () => {
  const { clock, done, end } = start(async () => 0, 86_400_000);
  await clock.advance(1);
  end();
  await done;
});
