import fc from 'fast-check';
import { expect, test } from 'vitest';
import { responseTimesOf } from './response-times.ts';

/** As the database counts them; found by going through the classes. */
function classOf(ms: number): number {
  if (ms === 0) return -1;
  let found = 0;
  for (let most = 1; most < ms; most *= 1.02) found += 1;
  return found;
}

function sumsOf(times: readonly number[]) {
  const counts = new Map<number, number>();
  for (const ms of times) counts.set(classOf(ms), (counts.get(classOf(ms)) ?? 0) + 1);
  const sorted = [...counts].toSorted(([a], [b]) => a - b);
  return {
    response_count: times.length,
    response_ms_sum: times.reduce((sum, ms) => sum + ms, 0),
    response_ms_min: times.length === 0 ? null : Math.min(...times),
    response_ms_max: times.length === 0 ? null : Math.max(...times),
    response_classes: sorted.map(([place]) => place),
    response_class_counts: sorted.map(([, count]) => count),
  };
}

test('where nothing has answered there are no times', () => {
  expect(responseTimesOf(sumsOf([]))).toBeNull();
});

test('below 50 ms they are exact', () => {
  for (let ms = 0; ms < 50; ms += 1) {
    expect(responseTimesOf(sumsOf([ms]))).toEqual({
      count: 1,
      avg: ms,
      min: ms,
      max: ms,
      p50: ms,
      p95: ms,
      p99: ms,
    });
    // Not because of the least and the most.
    expect(responseTimesOf(sumsOf([0, ms, 60_000]))?.p50).toBe(ms);
  }
});

test('percentiles are those of the nearest rank, at most 1 % and a rounding off', () => {
  const times = fc.array(fc.oneof(fc.nat({ max: 100 }), fc.nat({ max: 60_000 })), {
    minLength: 1,
    maxLength: 200,
  });
  fc.assert(
    fc.property(times, drawn => {
      const sorted = drawn.toSorted((a, b) => a - b);
      const found = responseTimesOf(sumsOf(drawn))!;
      for (const [name, share] of [
        ['p50', 0.5],
        ['p95', 0.95],
        ['p99', 0.99],
      ] as const) {
        const exact = sorted[Math.ceil(share * sorted.length) - 1]!;
        expect(Math.abs(found[name] - exact)).toBeLessThanOrEqual(0.01 * exact + 0.5);
      }
    }),
  );
});
