import { type Sql, sql } from '../platform/db.ts';

/**
 * Response times are counted in classes, each 2 % wider than the one before, so that those of many periods and servers
 * add up: class n holds what is above growth^(n-1) ms and up to growth^n. What is read back is the middle of a class, at
 * most 1 % off, and exact below 50 ms, where a class holds one whole millisecond at most. (DDSketch, Masson, Rim and Lee,
 * VLDB 2019, with all classes kept.)
 */
const growth = 1.02;
/** Of answers within half a millisecond, stored as 0. */
const classOfZero = -1;

/** The class of a column's milliseconds; null of null. */
export const responseClassOf = (ms: Sql<unknown>): Sql<unknown> =>
  sql`(case when ${ms} > 0 then ceil(ln(${ms}::float8) / ln(${sql.lit(growth)}::float8)) when ${ms} is not null then ${sql.lit(classOfZero)} end)::smallint`;

/** Response times in milliseconds: of how many checks, exact, but for the percentiles. */
export type ResponseTimes = {
  count: number;
  avg: number;
  min: number;
  max: number;
  p50: number;
  p95: number;
  p99: number;
};

/** What is stored of response times. */
export type ResponseSums = {
  response_count: number;
  response_ms_sum: number;
  response_ms_min: number | null;
  response_ms_max: number | null;
  response_classes: readonly number[];
  response_class_counts: readonly number[];
};

/** Null where nothing has answered. */
export function responseTimesOf(sums: ResponseSums): ResponseTimes | null {
  const { response_count: count, response_ms_min: min, response_ms_max: max } = sums;
  if (count === 0 || min === null || max === null) return null;
  const percentile = (share: number): number =>
    Math.min(max, Math.max(min, nearestRank(sums.response_classes, sums.response_class_counts, share)));
  return {
    count,
    avg: Math.round((10 * sums.response_ms_sum) / count) / 10,
    min,
    max,
    p50: percentile(0.5),
    p95: percentile(0.95),
    p99: percentile(0.99),
  };
}

/** The smallest class that has the share of all at or below it, as its middle in whole milliseconds. */
function nearestRank(classes: readonly number[], counts: readonly number[], share: number): number {
  const total = counts.reduce((sum, count) => sum + count, 0);
  const rank = Math.max(1, Math.ceil(share * total));
  let below = 0;
  const index = counts.findIndex(count => {
    below += count;
    return below >= rank;
  });
  const found = classes[index] ?? classOfZero;
  return found === classOfZero ? 0 : Math.round((2 * growth ** found) / (growth + 1));
}
