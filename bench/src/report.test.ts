import { describe, expect, it } from 'vitest';
import { formatJson, formatTable, type Measurement, median, quantile } from './report.ts';

const MEASUREMENTS: Measurement[] = [
  { name: 'poll', measured: 82.456, unit: 'µs', reference: { name: 'bare', value: 41.228 }, bar: '≤ 100' },
  { name: 'rows stored', measured: 41_234.5, unit: 'rows/s' },
];

describe('formatTable', () => {
  it('aligns columns and marks what is unknown', () => {
    expect(formatTable(MEASUREMENTS).split('\n')).toEqual([
      'name         measured  unit    reference  ratio  bar',
      'poll             82.5  µs      41.2 bare   2.00  ≤ 100',
      'rows stored    41,235  rows/s  –              –  –',
    ]);
  });

  it('has no ratio to a reference of zero', () => {
    const reference = { name: 'bare', value: 0 };
    expect(formatTable([{ name: 'a', measured: 1, unit: 'µs', reference }])).toMatch(/0 bare\s+–\s+–$/);
  });
});

describe('formatJson', () => {
  it('gives one object per line, with the unrounded ratio', () => {
    const [first, second] = formatJson(MEASUREMENTS)
      .split('\n')
      .map(line => JSON.parse(line));
    expect(first).toEqual({ ...MEASUREMENTS[0], ratio: 2 });
    expect(second).toEqual(MEASUREMENTS[1]);
  });
});

describe('median', () => {
  it('is the middle value, or between the two', () => {
    expect([median([9, 1, 5]), median([4, 1, 9, 2])]).toEqual([5, 3]);
  });

  it('refuses to invent one', () => {
    expect(() => median([])).toThrow('no median');
  });
});

describe('quantile', () => {
  it('is the smallest value that so many do not exceed', () => {
    const hundred = Array.from({ length: 100 }, (_, index) => index + 1);
    expect([0, 0.5, 0.99, 1].map(share => quantile(hundred, share))).toEqual([1, 50, 99, 100]);
    expect(quantile([7], 0.99)).toBe(7);
    expect(() => quantile([], 0.5)).toThrow('no quantile');
  });
});
