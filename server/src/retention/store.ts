import { type Queryable, type SystemTx, sql } from '../platform/db.ts';
import type { Partition, PartitionedTable } from './partitions.ts';

/** Partitions that are on their way out, oldest first. */
export async function retiredPartitions(db: Queryable): Promise<Partition[]> {
  return db.many(sql<Partition>`
    select table_name as table, name, span_from as "from", span_to as "to" from retired_partitions
    order by span_from, name`);
}

export async function insertRetired(tx: SystemTx, partition: Partition, at: Date): Promise<void> {
  await tx.execute(sql`
    insert into retired_partitions (name, table_name, span_from, span_to, retired_at)
    values (${partition.name}, ${partition.table}, ${partition.from}, ${partition.to}, ${at})
    on conflict do nothing`);
}

export async function deleteRetired(tx: SystemTx, name: string): Promise<void> {
  await tx.execute(sql`delete from retired_partitions where name = ${name}`);
}

/** Whether what is on its way out lies in this partition's time. */
export async function isRetired(tx: SystemTx, { table, from, to }: Partition): Promise<boolean> {
  const { found } = await tx.one(sql<{ found: boolean }>`
    select exists (select from retired_partitions
                   where table_name = ${table} and span_from < ${to} and span_to > ${from}) as found`);
  return found;
}

/** All rows of a partition in a file. */
export type Archive = {
  id: string;
  partition: Partition;
  /** Its name in the archive directory. */
  file: string;
  columns: readonly string[];
  rows: number;
  /** The sum of the hashes of the rows, in decimal. */
  rowHash: string;
  /** Of the file. */
  bytes: number;
  sha256: string;
  createdAt: Date;
  /** When the partition went; null: it is there, or is on its way out. */
  droppedAt: Date | null;
  /** It was brought back until then. */
  restoredUntil: Date | null;
};

type ArchiveRow = Omit<Archive, 'partition'> & {
  table: PartitionedTable;
  name: string;
  from: Date;
  to: Date;
};

const archiveOf = ({ table, name, from, to, ...archive }: ArchiveRow): Archive => ({
  ...archive,
  partition: { table, name, from, to },
});

const archiveColumns = sql`id, table_name as table, partition_name as name, span_from as "from", span_to as "to", file,
  columns, row_count as rows, row_hash::text as "rowHash", bytes, sha256, created_at as "createdAt",
  dropped_at as "droppedAt", restored_until as "restoredUntil"`;

/** All archives, the newest time first; of a partition that was archived twice, the newer archive first. */
export async function listArchives(db: Queryable, name: string | null = null): Promise<Archive[]> {
  const rows = await db.many(sql<ArchiveRow>`
    select ${archiveColumns} from partition_archives
    where ${name === null ? sql`true` : sql`partition_name = ${name}`}
    order by span_from desc, partition_name, created_at desc`);
  return rows.map(archiveOf);
}

export async function insertArchive(db: Queryable, archive: Archive): Promise<void> {
  const { partition } = archive;
  await db.execute(sql`
    insert into partition_archives (id, table_name, partition_name, span_from, span_to, file, columns, row_count, row_hash,
                                    bytes, sha256, created_at)
    values (${archive.id}, ${partition.table}, ${partition.name}, ${partition.from}, ${partition.to}, ${archive.file},
            ${archive.columns}, ${archive.rows}, ${archive.rowHash}, ${archive.bytes}, ${archive.sha256}, ${archive.createdAt})`);
}

/** The partition of these archives is gone. */
export async function markDropped(tx: SystemTx, name: string, at: Date): Promise<void> {
  await tx.execute(sql`
    update partition_archives set dropped_at = ${at}, restored_until = null
    where partition_name = ${name} and (dropped_at is null or restored_until is not null)`);
}

/** The partition of this archive is brought back, until then. */
export async function markRestored(db: Queryable, id: string, until: Date): Promise<void> {
  await db.execute(sql`update partition_archives set restored_until = ${until} where id = ${id}`);
}

/** Partitions that were brought back and stay until after `now`. */
export async function restoredPartitions(db: Queryable, now: Date): Promise<Set<string>> {
  const rows = await db.many(sql<{ name: string }>`
    select partition_name as name from partition_archives where restored_until > ${now}`);
  return new Set(rows.map(({ name }) => name));
}

/** Whether partitions must be archived before they go, as was last said. */
export async function isArchivingRequired(db: Queryable): Promise<boolean> {
  const row = await db.maybeOne(sql<{ required: boolean }>`select is_required as required from archiving`);
  return row?.required ?? false;
}

export async function setArchivingRequired(db: Queryable, required: boolean, at: Date): Promise<void> {
  await db.execute(sql`
    insert into archiving as a (is_required, changed_at) values (${required}, ${at})
    on conflict (singleton) do update set is_required = excluded.is_required, changed_at = excluded.changed_at
    where a.is_required is distinct from excluded.is_required`);
}
