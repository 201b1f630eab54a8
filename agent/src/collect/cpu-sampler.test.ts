import { expect, onTestFinished, test } from 'vitest';
import type { CpuTimes } from './cpu.ts';
import { startCpuSampler } from './cpu-sampler.ts';

/** Busy by 25 and idle by 75 ticks more at each reading. */
function steadyReader(): () => Promise<CpuTimes> {
  let readings = 0;
  return async () => {
    readings += 1;
    return { busy: [25 * readings], idle: [75 * readings] };
  };
}

test('who asks before the first interval is over gets a short one of its own', async () => {
  const sampler = startCpuSampler(steadyReader());
  onTestFinished(() => sampler.stop());
  await expect(sampler.percent()).resolves.toBe(25);
});

test('afterwards the last full interval is known, and asking reads nothing', async () => {
  const readings: CpuTimes[] = [
    { busy: [0], idle: [0] },
    { busy: [40], idle: [60] },
  ];
  const { promise: thirdReading, resolve } = Promise.withResolvers<void>();
  const read = async (): Promise<CpuTimes> => {
    const next = readings.shift();
    if (next !== undefined) return next;
    resolve();
    return new Promise(() => {});
  };
  const sampler = startCpuSampler(read, { intervalMs: 1, firstIntervalMs: 1 });
  onTestFinished(() => sampler.stop());
  // The sampler itself does not keep a process alive; something has to while the test waits.
  const keepAlive = setTimeout(() => {}, 30_000);
  await thirdReading;
  clearTimeout(keepAlive);
  await expect(sampler.percent()).resolves.toBe(40);
});

test('while nothing can be read, asking fails with the reason', async () => {
  const sampler = startCpuSampler(() => Promise.reject(new Error('no /proc here')));
  onTestFinished(() => sampler.stop());
  await expect(sampler.percent()).rejects.toThrow('no /proc here');
});
