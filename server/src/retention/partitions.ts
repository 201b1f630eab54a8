/** The tables that are partitioned by month. */
export const partitionedTables = ['server_health_checks', 'server_metrics_aggregated', 'events'] as const;
export type PartitionedTable = (typeof partitionedTables)[number];

/** One month of a table: rows from `from` (included) to `to` (excluded), both midnight UTC. */
export type Partition = { table: PartitionedTable; name: string; from: Date; to: Date };

// Three months without any upkeep before a row could fail to find its partition.
const monthsAhead = 3;

// What a writer may ask for. Late rows are at most as old as the longest raw retention.
const monthsBack = 13;
const monthsEarly = 1;

/** The partition an instant belongs to, named like `events_2026_11`. */
export function partitionOf(table: PartitionedTable, instant: Date): Partition {
  const year = instant.getUTCFullYear();
  const month = instant.getUTCMonth();
  const from = new Date(Date.UTC(year, month, 1));
  const to = new Date(Date.UTC(year, month + 1, 1));
  return { table, name: `${table}_${from.toISOString().slice(0, 7).replace('-', '_')}`, from, to };
}

/** The partitions a table should have at `now`: the current month and the next three, oldest first. */
export function wantedPartitions(table: PartitionedTable, now: Date): Partition[] {
  const wanted = [partitionOf(table, now)];
  while (wanted.length <= monthsAhead) wanted.push(partitionOf(table, wanted.at(-1)!.to));
  return wanted;
}

/**
 * Whether a row of this instant may have a partition made for it: from 13 months before `now` to one month
 * after, both included. The bound is what keeps a timestamp out of a remote answer from making tables.
 */
export function mayHavePartition(instant: Date, now: Date): boolean {
  return instant >= addMonths(now, -monthsBack) && instant <= addMonths(now, monthsEarly);
}

/** Calendar months in UTC; a day the month does not have becomes its last one, as in PostgreSQL. */
function addMonths(instant: Date, months: number): Date {
  const moved = new Date(instant);
  moved.setUTCMonth(instant.getUTCMonth() + months);
  // 31 January plus one month overflows into March; day 0 is the last day of the month before.
  if (moved.getUTCDate() !== instant.getUTCDate()) moved.setUTCDate(0);
  return moved;
}
