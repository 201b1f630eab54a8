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
