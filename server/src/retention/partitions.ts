import { keptFrom, type Retention } from './retention.ts';

/** The tables whose rows lie in partitions by their time. */
export const partitionedTables = [
  'server_health_checks',
  'server_health_5m',
  'server_health_15m',
  'server_health_1h',
  'server_health_1d',
  'server_metrics_aggregated',
  'server_metrics_5m',
  'server_metrics_15m',
  'server_metrics_1h',
  'server_metrics_1d',
  'events',
] as const;
export type PartitionedTable = (typeof partitionedTables)[number];

/** What is summed up from a table has its place wherever that has its own. */
export const summedUpFrom: Readonly<Partial<Record<PartitionedTable, PartitionedTable>>> = {
  server_health_5m: 'server_health_checks',
  server_health_15m: 'server_health_checks',
  server_health_1h: 'server_health_checks',
  server_health_1d: 'server_health_checks',
  server_metrics_5m: 'server_metrics_aggregated',
  server_metrics_15m: 'server_metrics_aggregated',
  server_metrics_1h: 'server_metrics_aggregated',
  server_metrics_1d: 'server_metrics_aggregated',
};

/** How much time one partition holds. Weeks begin on Monday, and everything at midnight UTC. */
export const partitionIntervals = ['month', 'week', 'day'] as const;
export type PartitionInterval = (typeof partitionIntervals)[number];

/** Of rows that are few and kept for years, a month is little enough. */
const alwaysByMonth: ReadonlySet<PartitionedTable> = new Set([
  'server_health_1h',
  'server_health_1d',
  'server_metrics_1h',
  'server_metrics_1d',
]);

/** How much time a partition of this table holds where `setting` is set. */
export const intervalOf = (table: PartitionedTable, setting: PartitionInterval): PartitionInterval =>
  alwaysByMonth.has(table) ? 'month' : setting;

/** A span of time, from `from` (included) to `to` (excluded). */
export type Span = { from: Date; to: Date };

/** One partition of a table. Both ends are midnight UTC. */
export type Partition = Span & { table: PartitionedTable; name: string };

// Months and weeks: as long as upkeep may fail before a row could not find its partition. Of days, as many as a week has.
const ahead: Readonly<Record<PartitionInterval, number>> = { month: 3, week: 3, day: 8 };

/** With fewer whole intervals prepared than this, the operator is told. */
export const fewestAhead = 3;

/** How history is laid out and for how long it is kept: the same in every process. */
export type PartitionPolicy = { interval: PartitionInterval; retention: Retention };

// A clock that is ahead by more is wrong.
const monthsEarly = 1;

const dayMs = 86_400_000;

/** The partition an instant belongs to: `events_2026_11`, or of a week or day by its first day `events_2026_11_23`. */
export function partitionOf(table: PartitionedTable, instant: Date, interval: PartitionInterval): Partition {
  const span = spanOf(instant, interval);
  return { table, name: nameOf(table, span.from, interval), ...span };
}

function spanOf(instant: Date, interval: PartitionInterval): Span {
  const year = instant.getUTCFullYear();
  const month = instant.getUTCMonth();
  if (interval === 'month')
    return { from: new Date(Date.UTC(year, month, 1)), to: new Date(Date.UTC(year, month + 1, 1)) };
  const midnight = Date.UTC(year, month, instant.getUTCDate());
  if (interval === 'day') return { from: new Date(midnight), to: new Date(midnight + dayMs) };
  const monday = midnight - ((instant.getUTCDay() + 6) % 7) * dayMs;
  return { from: new Date(monday), to: new Date(monday + 7 * dayMs) };
}

function nameOf(table: PartitionedTable, from: Date, interval: PartitionInterval): string {
  const date = from.toISOString().slice(0, interval === 'month' ? 7 : 10);
  return `${table}_${date.replaceAll('-', '_')}`;
}

/** The partitions a table should have at `now`: the one of now and those that are prepared, oldest first. */
export function wantedPartitions(
  table: PartitionedTable,
  now: Date,
  interval: PartitionInterval,
): Partition[] {
  const wanted = [partitionOf(table, now, interval)];
  while (wanted.length <= ahead[interval]) wanted.push(partitionOf(table, wanted.at(-1)!.to, interval));
  return wanted;
}

/** The partitions from the one of an instant to the one before another's, oldest first. */
export function partitionsBetween(
  table: PartitionedTable,
  span: Span,
  interval: PartitionInterval,
): Partition[] {
  const between: Partition[] = [];
  for (
    let next = partitionOf(table, span.from, interval);
    next.from < span.to;
    next = partitionOf(table, next.to, interval)
  )
    between.push(next);
  return between;
}

/**
 * What of a wanted partition no existing one covers: all of it, nothing, or the rest, where partitions once were of
 * another length. A rest is named by its first day, which no other partition begins with.
 */
export function uncovered(wanted: Partition, existing: readonly Span[]): Partition[] {
  const rests: Partition[] = [];
  let { from } = wanted;
  const inside = existing
    .filter(span => span.from < wanted.to && span.to > wanted.from)
    .toSorted((a, b) => a.from.getTime() - b.from.getTime());
  for (const span of [...inside, { from: wanted.to, to: wanted.to }]) {
    if (from < span.from) {
      const isWhole = from === wanted.from && span.from >= wanted.to;
      const name = isWhole ? wanted.name : nameOf(wanted.table, from, 'day');
      rests.push({ table: wanted.table, name, from, to: span.from });
    }
    if (span.to > from) from = span.to;
  }
  return rests;
}

/**
 * Which of the existing partitions were prepared for another length than is wanted now: they begin after `now`, in the
 * time of the wanted ones, and are none of them. Where they are empty they can make room.
 */
export function ofAnotherLength<T extends Span>(
  wanted: readonly Partition[],
  existing: readonly T[],
  now: Date,
): T[] {
  const end = wanted.at(-1)?.to ?? now;
  return existing.filter(
    each => each.from > now && each.from < end && !wanted.some(partition => isSameSpan(partition, each)),
  );
}

export const isSameSpan = (one: Span, other: Span): boolean =>
  one.from.getTime() === other.from.getTime() && one.to.getTime() === other.to.getTime();

/**
 * How many whole intervals after the one of `now` have their place without a gap: what upkeep has still prepared, and
 * the time there is to find out why it no longer does.
 */
export function intervalsAhead(now: Date, interval: PartitionInterval, existing: readonly Span[]): number {
  let count = -1;
  for (let span = spanOf(now, interval); isCovered(span, existing); span = spanOf(span.to, interval))
    count += 1;
  return Math.max(0, count);
}

const isCovered = ({ from, to }: Span, existing: readonly Span[]): boolean => {
  let end = from;
  for (const span of existing.toSorted((a, b) => a.from.getTime() - b.from.getTime())) {
    if (span.from <= end && span.to > end) end = span.to;
  }
  return end >= to;
};

/**
 * Whether a row of this instant may have a partition made for it: as long as that would be kept, and up to one month
 * after `now`. The bounds are what keeps a timestamp out of a remote answer from making tables.
 */
export function mayHavePartition(
  table: PartitionedTable,
  instant: Date,
  now: Date,
  { interval, retention }: PartitionPolicy,
): boolean {
  // A time that is none is neither before nor after.
  if (!(instant <= addMonths(now, monthsEarly))) return false;
  return partitionOf(table, instant, intervalOf(table, interval)).to > keptFrom(table, now, retention);
}

/** Calendar months in UTC; a day the month does not have becomes its last one, as in PostgreSQL. */
function addMonths(instant: Date, months: number): Date {
  const moved = new Date(instant);
  moved.setUTCMonth(instant.getUTCMonth() + months);
  // 31 January plus one month overflows into March; day 0 is the last day of the month before.
  if (moved.getUTCDate() !== instant.getUTCDate()) moved.setUTCDate(0);
  return moved;
}
