import { freemem, totalmem } from 'node:os';
import { expect, test } from 'vitest';
import { fixture } from '../../test/fixtures.ts';
import { parseMemoryPercent, readMemoryPercent } from './memory.ts';

test('what is not available is used', () => {
  expect(parseMemoryPercent(fixture('meminfo-debian-12.txt'))).toBeCloseTo(
    (100 * (32_658_012 - 21_934_812)) / 32_658_012,
    10,
  );
});

test('kernels without MemAvailable: free memory and caches, but not shared memory, are available', () => {
  const available = 240_512 + 327_312 + 4_985_640 + 337_572 - 612_344;
  expect(parseMemoryPercent(fixture('meminfo-linux-2.6.32.txt'))).toBeCloseTo(
    (100 * (8_060_896 - available)) / 8_060_896,
    10,
  );
});

test('more available than there is reads as nothing used', () => {
  expect(parseMemoryPercent('MemTotal: 100 kB\nMemFree: 90 kB\nMemAvailable: 120 kB\n')).toBe(0);
});

test.each(['', 'MemTotal: 0 kB\nMemFree: 0 kB\n', 'MemTotal: 100 kB\n', 'MemFree: 100 kB\n'])(
  '%j tells nothing',
  text => {
    expect(() => parseMemoryPercent(text)).toThrow('/proc/meminfo');
  },
);

test('this machine: within 3 points of what the operating system tells Node', async () => {
  // libuv reads the column `available` of free(1), which is not installed everywhere.
  const expected = (100 * (totalmem() - freemem())) / totalmem();
  expect(Math.abs((await readMemoryPercent()) - expected)).toBeLessThan(3);
});
