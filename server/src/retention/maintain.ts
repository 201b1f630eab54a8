import { sqlState, violatedConstraint } from '../platform/database-failure.ts';
import { type Queryable, type SystemDb, type SystemTx, sql } from '../platform/db.ts';
import {
  mayHavePartition,
  type Partition,
  type PartitionedTable,
  partitionOf,
  wantedPartitions,
} from './partitions.ts';

/** What upkeep did, by partition name. All three are empty when there was nothing to do. */
export type PartitionChanges = {
  created: string[];
  /** A table of the right name stood alone (a finished detach) and is a partition again. */
  reattached: string[];
  /** A `DETACH … CONCURRENTLY` had been interrupted and is now complete. */
  finalized: string[];
};

// Any constant will do, as long as everything that changes partitions of this database uses the same one.
const lockKey = 7_700_002;

/**
 * Makes sure that every table has its partitions for the month of `now` and the next three. Safe to run from
 * any number of processes at once and while rows are written; changes nothing that is there already. Where a
 * lock cannot be had within the connection's lock_timeout it fails with AppError `unavailable`, keeping
 * what it made so far.
 */
export async function ensurePartitions(
  db: SystemDb,
  now: Date,
  tables: readonly PartitionedTable[],
): Promise<PartitionChanges> {
  return ensure(
    db,
    tables.flatMap(table => wantedPartitions(table, now)),
  );
}

/**
 * For a writer whose row found no partition (`isMissingPartition`): makes the one of `instant`. The write may
 * then be repeated, in a new transaction: one that has used the table before keeps its old list of
 * partitions. Refuses instants outside `mayHavePartition`.
 */
export async function ensurePartitionFor(
  db: SystemDb,
  row: { table: PartitionedTable; instant: Date; now: Date },
): Promise<{ ok: true; changes: PartitionChanges } | { ok: false; reason: 'out_of_range' }> {
  if (!mayHavePartition(row.instant, row.now)) return { ok: false, reason: 'out_of_range' };
  return { ok: true, changes: await ensure(db, [partitionOf(row.table, row.instant)]) };
}

/** Whether a write failed because no partition takes its row: a check_violation that names no constraint. */
export function isMissingPartition(error: unknown): boolean {
  return sqlState(error) === '23514' && violatedConstraint(error) === null;
}

type Attached = { table: PartitionedTable; name: string; detaching: boolean };

async function ensure(db: SystemDb, wanted: readonly Partition[]): Promise<PartitionChanges> {
  const changes: PartitionChanges = { created: [], reattached: [], finalized: [] };
  const attached = await partitionsOf(db, [...new Set(wanted.map(partition => partition.table))]);
  const attachAll = async (partitions: readonly Partition[]): Promise<void> => {
    for (const partition of partitions) {
      const change = await attach(db, partition);
      if (change !== null) changes[change].push(partition.name);
    }
  };
  await attachAll(wanted.filter(partition => !attached.some(each => each.name === partition.name)));
  // Last, because completing a detach waits for every older snapshot: one long-running reader must not keep
  // next month's partition from being made.
  for (const partition of attached.filter(each => each.detaching)) {
    if (await finalizeDetach(db, partition)) changes.finalized.push(partition.name);
    await attachAll(wanted.filter(each => each.name === partition.name));
  }
  return changes;
}

async function partitionsOf(db: Queryable, tables: readonly PartitionedTable[]): Promise<Attached[]> {
  return db.many(sql<Attached>`
    select parent.relname as table, child.relname as name, i.inhdetachpending as detaching
    from pg_inherits i
    join pg_class parent on parent.oid = i.inhparent
    join pg_class child on child.oid = i.inhrelid
    where i.inhparent = any(${tables}::regclass[])`);
}

/** Runs alone among everything that changes partitions; one transaction per change keeps the locks short. */
async function alone<T>(db: SystemDb, work: (tx: SystemTx) => Promise<T>): Promise<T> {
  return db.transaction(async tx => {
    await tx.execute(sql`select pg_advisory_xact_lock(${lockKey})`);
    return work(tx);
  });
}

/** Until it is completed, an interrupted detach refuses every row of its range. */
async function finalizeDetach(db: SystemDb, { table, name }: Attached): Promise<boolean> {
  return alone(db, async tx => {
    const current = await partitionsOf(tx, [table]);
    if (!current.some(each => each.name === name && each.detaching)) return false;
    await tx.execute(sql`alter table ${sql.id(table)} detach partition ${sql.id(name)} finalize`);
    return true;
  });
}

/**
 * Not `CREATE TABLE … PARTITION OF`: that locks the parent against readers and writers, and ATTACH lets both go on.
 * Row security comes before: a partition named directly answers by its own policies, not its parent's, and would
 * otherwise show every tenant.
 */
async function attach(db: SystemDb, partition: Partition): Promise<'created' | 'reattached' | null> {
  const table = sql.id(partition.table);
  const name = sql.id(partition.name);
  return alone(db, async tx => {
    if ((await partitionsOf(tx, [partition.table])).some(each => each.name === partition.name)) return null;
    const { exists } = await tx.one(
      sql<{ exists: boolean }>`select to_regclass(${partition.name}) is not null as exists`,
    );
    if (!exists) {
      await tx.execute(sql`create table ${name} (like ${table} including defaults including constraints)`);
    }
    await tx.execute(sql`alter table ${name} enable row level security, force row level security`);
    await tx.execute(sql`drop policy if exists tenant on ${name}`);
    await tx.execute(sql`create policy tenant on ${name}
      using (organization_id = (select current_organization()) or (select is_system()))`);
    await tx.execute(sql`alter table ${table} attach partition ${name}
      for values from (${sql.lit(partition.from.toISOString())}) to (${sql.lit(partition.to.toISOString())})`);
    return exists ? 'reattached' : 'created';
  });
}
