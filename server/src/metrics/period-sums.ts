import type { Queryable, Sql } from '../platform/db.ts';
import { sql } from '../platform/db.ts';
import { type RollupPeriod, rollupPeriodMs } from '../rollups/rollup.ts';
import { bucketOf, rolledUntilOf } from '../rollups/store.ts';
import { type Period, periodMs } from './metric.ts';
import { type Summed, storedSums, sumsOfCollected, sumsOfSums } from './sums.ts';

/** A time, the end not in it; null is open. */
export type Span = { from: Date | null; to: Date | null };

/** The time of the periods that begin in a range, both ends of which are in it. */
export function wholePeriods(period: Period, { from, to }: Span): Span {
  const lengthMs = periodMs(period);
  return {
    from: from === null ? null : new Date(Math.ceil(from.getTime() / lengthMs) * lengthMs),
    to: to === null ? null : new Date((Math.floor(to.getTime() / lengthMs) + 1) * lengthMs),
  };
}

/** Until when each length has been summed up. */
export type RolledUntil = Readonly<Record<RollupPeriod, Date>>;

/** A part of a range and where it is read: sums of a length, or what was collected (`1m`). */
export type Source = { period: Period } & Span;

/**
 * Where the newest is read that has not been summed up to its length yet, the longest first. Not from quarters of an
 * hour: they spare eight rows of a server at most, and to find the first one of it costs as much.
 */
const forTheNewest: readonly RollupPeriod[] = ['1h', '5m'];

/**
 * Where the sums of whole periods are read: as far as they have been summed up from their own table, and after that, up
 * to now, from shorter ones. So the newest day is made of hours and not of 1,440 collections. What `rolledUntil` says
 * may be older than what is read: it only ever grows, and what has been summed up can be summed up again.
 */
export function sourcesOf(period: Period, { from, to }: Span, rolledUntil: RolledUntil): Source[] {
  const sources: Source[] = [];
  let begin = from;
  const shorter = forTheNewest.filter(each => rollupPeriodMs[each] < periodMs(period));
  for (const each of period === '1m' ? [] : [period, ...shorter]) {
    const end = to !== null && to < rolledUntil[each] ? to : rolledUntil[each];
    if (begin !== null && begin >= end) continue;
    sources.push({ period: each, from: begin, to: end });
    begin = end;
  }
  // Of a range without a period too: a query must be of something.
  if (begin === null || to === null || begin < to || sources.length === 0)
    sources.push({ period: '1m', from: begin, to });
  return sources;
}

/** The servers whose sums are read, and which parts. */
export type Asked = Pick<Summed, 'organizationId' | 'servers'> & { parts: readonly string[] };

/** The sums of these periods by server: a query with the columns server_id, timestamp and the parts. */
export function periodSums(period: Period, sources: readonly Source[], asked: Asked): Sql<unknown> {
  const { parts } = asked;
  const read = (source: Source, length: Period): Sql<unknown> =>
    source.period === '1m'
      ? sumsOfCollected({ ...asked, ...source, bucketOf: inPeriod(length) }, parts)
      : storedSums(source.period, { ...asked, ...source }, parts);
  const whole = sources.filter(source => source.period === period).map(source => read(source, period));
  const newest = sources.filter(source => source.period !== period);
  if (newest.length === 0) return unionAll(whole);
  const [only] = newest;
  if (newest.length === 1 && only?.period === '1m') return unionAll([...whole, read(only, period)]);
  // What was collected by five minutes, so that it comes after the sums before it: the last value is that of the last.
  const shorter = unionAll(newest.map(source => read(source, '5m')));
  return unionAll([...whole, sumsOfSums(shorter, inPeriod(period), parts)]);
}

const inPeriod =
  (period: Period) =>
  (timestamp: Sql<unknown>): Sql<unknown> =>
    bucketOf(periodMs(period), timestamp);

const unionAll = (queries: readonly Sql<unknown>[]): Sql<unknown> =>
  sql.join(
    queries.map(query => sql`(${query})`),
    sql` union all `,
  );

/** Until when the metrics have been summed up, for `sourcesOf`. */
export const metricsRolledUntil = (db: Queryable): Promise<RolledUntil> => rolledUntilOf(db, 'metrics');
