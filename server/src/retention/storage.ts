import { type Queryable, sql } from '../platform/db.ts';
import { partitionsOf } from './maintain.ts';
import {
  intervalOf,
  intervalsAhead,
  type PartitionedTable,
  type PartitionInterval,
  partitionedTables,
  type Span,
} from './partitions.ts';

export type PartitionStorage = Span & {
  name: string;
  /** On disk, with indexes. */
  bytes: number;
  /** As PostgreSQL last estimated; null: never yet. */
  rows: number | null;
};

export type TableStorage = {
  table: PartitionedTable;
  /** Whole intervals after the current one whose rows have their place. */
  intervalsAhead: number;
  bytes: number;
  /** Oldest first. */
  partitions: PartitionStorage[];
};

/** What each partitioned table holds at `now`, and for how long its place is prepared. */
export async function storageOf(
  db: Queryable,
  { now, interval }: { now: Date; interval: PartitionInterval },
): Promise<TableStorage[]> {
  const attached = await partitionsOf(db, partitionedTables);
  const sizes = await db.many(sql<{ name: string; bytes: number | null; rows: number | null }>`
    select relname as name, pg_total_relation_size(oid)::float8 as bytes,
      case when reltuples >= 0 then reltuples::float8 end as rows
    from pg_class where oid in (select to_regclass(quote_ident(name)) from unnest(${attached.map(({ name }) => name)}::text[]) as name)`);
  const sizeOf = new Map(sizes.map(size => [size.name, size]));
  return partitionedTables.map(table => {
    const own = attached
      .filter(each => each.table === table)
      .toSorted((a, b) => a.from.getTime() - b.from.getTime());
    const partitions = own.map(({ name, from, to }) => ({
      name,
      from,
      to,
      bytes: sizeOf.get(name)?.bytes ?? 0,
      rows: sizeOf.get(name)?.rows ?? null,
    }));
    return {
      table,
      // One that is being detached takes no rows.
      intervalsAhead: intervalsAhead(
        now,
        intervalOf(table, interval),
        own.filter(each => !each.detaching),
      ),
      bytes: partitions.reduce((sum, each) => sum + each.bytes, 0),
      partitions,
    };
  });
}
