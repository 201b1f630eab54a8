import { describe, expect, it } from 'vitest';
import { horizonsOf } from '../organizations/retention.ts';
import { AppError } from '../platform/errors.ts';
import { defaultRetention } from '../retention/retention.ts';
import {
  beginsOf,
  decimalsOf,
  type GridRequest,
  gridOf,
  partsOf,
  serversAtOnce,
  unitOf,
  valueOf,
} from './query.ts';

const at = (time: string): Date => new Date(`2026-11-24T${time}Z`);
const request = (facts: Partial<GridRequest>): GridRequest => ({
  from: at('12:00:00'),
  to: at('13:00:00'),
  period: 'auto',
  points: 500,
  servers: 1,
  returns: 'each',
  horizons: horizonsOf(defaultRetention, {}, at('13:00:00')),
  pointer: name => `/${name}`,
  ...facts,
});

function refusal(facts: Partial<GridRequest>): string {
  try {
    gridOf(request(facts));
  } catch (error) {
    if (error instanceof AppError) return error.message;
    throw error;
  }
  return 'none';
}

describe('the periods of a range', () => {
  const day = { from: new Date('2026-11-23T13:00:00Z') };
  const week = { from: new Date('2026-11-17T13:00:00Z') };

  it('are those that begin in it, both ends included', () => {
    expect(gridOf(request({ period: '15m' }))).toMatchObject({
      period: '15m',
      from: at('12:00:00'),
      to: at('13:15:00'),
      count: 5,
    });
    const grid = gridOf(request({ period: '15m', from: at('12:00:01'), to: at('12:44:59') }));
    expect(beginsOf(grid)).toEqual(['2026-11-24T12:15:00.000Z', '2026-11-24T12:30:00.000Z']);
  });

  it.each([
    ['as many as are wanted', { points: 61 }, '1m'],
    ['fewer, where that is too many', { points: 60 }, '5m'],
    ['fewer, where of so many servers they are too many to return', { servers: 20_000 }, '15m'],
    [
      'fewer, where of so many servers they take too long to read',
      { ...day, servers: 1_000, returns: 'one' },
      '1h',
    ],
    ['more, where those that are read quickly were few', { ...week, servers: 1_000, returns: 'one' }, '1h'],
    ['more, but no more than are wanted', { ...week, servers: 1_000, points: 100, returns: 'one' }, '1d'],
    ['as many, where they are read and one comes of them', { servers: 800, returns: 'one' }, '1m'],
  ] as const)('chosen: %s', (_what, facts, period) => {
    expect(gridOf(request(facts)).period).toBe(period);
  });

  it.each([
    ['those that are kept that far back', '2026-09-01T12:00:00Z', '5m'],
    ['the shortest that are kept', '2026-01-01T12:00:00Z', '1h'],
    ['days, where nothing is', '2001-01-01T12:00:00Z', '1d'],
  ] as const)('chosen: %s', (_what, from, period) => {
    const to = new Date(Date.parse(from) + 36 * 3_600_000);
    expect(gridOf(request({ from: new Date(from), to, points: 3_000 })).period).toBe(period);
  });

  it('are refused where there are none, too many, or too many of so many servers', () => {
    expect(refusal({ from: at('12:00:01'), to: at('12:00:59') })).toMatch(
      /no period of 1m begins in the range/,
    );
    expect(refusal({ period: '1m', to: new Date('2026-12-24') })).toMatch(
      /42481 periods of 1m, and 10000 at most/,
    );
    expect(refusal({ period: '1m', servers: 3_279 })).toMatch(
      /3279 servers in 61 periods of 1m are 200019 values/,
    );
    expect(refusal({ period: '1m', servers: 3_278 })).toBe('none');
    expect(refusal({ period: '1m', servers: 16_394, returns: 'one' })).toMatch(
      /1000034 values, and 1000000 at most are read/,
    );
    expect(refusal({ period: '1m', servers: 16_393, returns: 'one' })).toBe('none');
  });
});

describe('what is read part by part', () => {
  const hour = gridOf(request({ period: '1m' }));

  it('is of however many servers, but not of more periods', () => {
    expect(refusal({ period: '1m', servers: 1_000_000, returns: 'one', inParts: true })).toBe('none');
    expect(refusal({ period: '1m', to: new Date('2026-12-24'), inParts: true })).toMatch(
      /42481 periods of 1m, and 10000 at most/,
    );
  });

  it('is of fewer servers at once the more periods there are, and of one at least', () => {
    expect(serversAtOnce(hour, 'each')).toBe(Math.floor(10_000 / 61));
    expect(serversAtOnce(hour, 'one')).toBe(1_000);
    expect(serversAtOnce({ ...hour, count: 720 }, 'one')).toBe(Math.floor(200_000 / 720));
    expect(serversAtOnce({ ...hour, count: 10_000 }, 'each')).toBe(1);
    expect(serversAtOnce({ ...hour, count: 10_001 }, 'each')).toBe(1);
  });

  it('or of all servers in some periods, which follow each other', () => {
    expect(partsOf(hour, 3_278)).toEqual([hour]);
    expect(partsOf(hour, 0)).toEqual([hour]);
    const parts = partsOf(hour, 10_000);
    expect(parts.map(({ count }) => count)).toEqual([20, 20, 20, 1]);
    expect(parts.flatMap(beginsOf)).toEqual(beginsOf(hour));
    expect(parts.map(({ to }) => to).slice(0, -1)).toEqual(parts.map(({ from }) => from).slice(1));
    expect(parts.at(-1)!.to).toEqual(hour.to);
    expect(partsOf(hour, 1_000_000).map(({ count }) => count)).toEqual(Array(61).fill(1));
  });
});

describe('a value', () => {
  it('is the mean of a gauge and the rate of a counter unless another one is named', () => {
    expect(valueOf('cpu_percent', undefined)).toBe('avg');
    expect(valueOf('llm_cost_usd', undefined)).toBe('rate');
    expect(valueOf('llm_cost_usd', 'last')).toBe('last');
    expect(() => valueOf('cpu_percent', 'increase')).toThrow(/one of avg, min, max, last/);
  });

  it('is shown with the decimals of its field, and with more where it was computed', () => {
    expect([decimalsOf('active_users', 'max'), decimalsOf('active_users', 'avg')]).toEqual([0, 2]);
    expect([decimalsOf('llm_cost_usd', 'increase'), decimalsOf('llm_cost_usd', 'rate')]).toEqual([6, 12]);
    expect([unitOf('llm_cost_usd', 'increase'), unitOf('llm_cost_usd', 'rate')]).toEqual([
      'US dollars',
      'US dollars per second',
    ]);
  });
});
