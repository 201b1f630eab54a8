import { describe, expect, test } from 'vitest';
import { formatByteRate, formatCount, formatMilliseconds, formatPercent } from './units.ts';

const plain = (text: string): string => text.replaceAll('\u2009', ' ');

describe('a missing value', () => {
  test.each([formatPercent, formatCount, formatMilliseconds, formatByteRate])(
    'is a dash, never a zero',
    format => {
      expect(format(null)).toBe('–');
      expect(format(undefined)).toBe('–');
      expect(format(0)).toMatch(/^0/);
    },
  );
});

test('a percentage always has one decimal', () => {
  expect(plain(formatPercent(7))).toBe('7.0 %');
  expect(plain(formatPercent(99.96))).toBe('100.0 %');
});

test('a response time turns to seconds where milliseconds say no more', () => {
  expect(plain(formatMilliseconds(84))).toBe('84 ms');
  expect(plain(formatMilliseconds(1250))).toBe('1.3 s');
});

describe('a rate of bytes', () => {
  test.each([
    [12, '12 B/s'],
    [999, '999 B/s'],
    [1_000, '1.0 kB/s'],
    [999_940, '999.9 kB/s'],
    [999_960, '1.0 MB/s'],
    [2_500_000_000, '2.5 GB/s'],
  ])('%d is %s', (rate, text) => {
    expect(plain(formatByteRate(rate))).toBe(text);
  });

  test('beyond the largest unit stays in it', () => {
    expect(plain(formatByteRate(5e15))).toBe('5,000.0 TB/s');
  });
});
