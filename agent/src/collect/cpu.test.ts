import { expect, test } from 'vitest';
import { fixture } from '../../test/fixtures.ts';
import { type CpuTimes, cpuPercent, parseCpuTimes, readCpuTimes } from './cpu.ts';

const sum = (ticks: readonly number[]): number => ticks.reduce((total, tick) => total + tick, 0);

test.each([
  ['stat-vm-2-cpus.txt', 2],
  ['stat-96-cpus.txt', 96],
])('%s: the first line is the sum of its processors', (name, processors) => {
  const text = fixture(name);
  const each = [...text.matchAll(/^cpu\d+ (.*)$/gm)].map(([, ticks]) => parseCpuTimes(`cpu  ${ticks}\n`));
  expect(each).toHaveLength(processors);

  const all = parseCpuTimes(text);
  // The kernel rounds each column down by itself.
  expect(Math.abs(sum(all.busy) - sum(each.map(times => sum(times.busy))))).toBeLessThanOrEqual(
    6 * processors,
  );
  expect(Math.abs(sum(all.idle) - sum(each.map(times => sum(times.idle))))).toBeLessThanOrEqual(
    2 * processors,
  );
});

test('waiting for a disk is idle, stolen time is busy, guests are counted once', () => {
  const { busy, idle } = parseCpuTimes(fixture('stat-virtual-host-with-guests.txt'));
  expect(sum(busy)).toBe(800 + 200 + 300 + 10 + 20 + 70);
  expect(sum(idle)).toBe(5000 + 700);
});

test('kernels without the guest columns are understood', () => {
  expect(parseCpuTimes(fixture('stat-linux-2.6.18.txt')).idle).toEqual([1_979_929_414, 22_095_053]);
});

test('the percentage is the busy share of the time between', () => {
  const before: CpuTimes = { busy: [100, 50], idle: [1000, 10] };
  expect(cpuPercent(before, { busy: [110, 60], idle: [1050, 40] })).toBe(20);
  expect(cpuPercent(before, { busy: [200, 50], idle: [1000, 10] })).toBe(100);
  expect(cpuPercent(before, { busy: [100, 50], idle: [1100, 10] })).toBe(0);
});

test('a counter that steps back counts as standing still', () => {
  expect(cpuPercent({ busy: [100], idle: [1000, 500] }, { busy: [150], idle: [1050, 400] })).toBe(50);
});

test('without time between there is no percentage', () => {
  const times: CpuTimes = { busy: [1], idle: [2] };
  expect(cpuPercent(times, times)).toBeUndefined();
  expect(cpuPercent(times, { busy: [0], idle: [0] })).toBeUndefined();
});

test('text without the line is refused', () => {
  expect(() => parseCpuTimes('cpu0 1 2 3 4\n')).toThrow('no line for all processors');
  expect(() => parseCpuTimes('cpu  1 2 three 4\n')).toThrow('no line for all processors');
});

test('this machine can be read, and its counters grow', async () => {
  const before = await readCpuTimes();
  const after = await readCpuTimes();
  expect(sum([...after.busy, ...after.idle])).toBeGreaterThanOrEqual(sum([...before.busy, ...before.idle]));
});
