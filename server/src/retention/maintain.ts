import { advisoryLocks } from '../platform/advisory-locks.ts';
import { sqlState, violatedConstraint } from '../platform/database-failure.ts';
import { type Queryable, type Sql, type SystemDb, type SystemTx, sql } from '../platform/db.ts';
import {
  intervalOf,
  isSameSpan,
  mayHavePartition,
  ofAnotherLength,
  type Partition,
  type PartitionedTable,
  type PartitionInterval,
  type PartitionPolicy,
  partitionedTables,
  partitionOf,
  partitionsBetween,
  type Span,
  summedUpFrom,
  uncovered,
  wantedPartitions,
} from './partitions.ts';
import { isRetired, restoredPartitions } from './store.ts';

/** What upkeep did, by partition name. All are empty when there was nothing to do. */
export type PartitionChanges = {
  created: string[];
  /** A table of the right name stood alone (a finished detach) and is a partition again. */
  reattached: string[];
  /** A `DETACH … CONCURRENTLY` had been interrupted and is now complete. */
  finalized: string[];
  /** Prepared for another length than is set now, and empty. */
  replaced: string[];
};

/**
 * Makes sure that every table has its partitions for `now` and the time ahead. Safe to run from any number of
 * processes at once and while rows are written. Of what is there already it changes only empty partitions of the
 * future, where the interval has been set anew. Where a lock cannot be had within the connection's lock_timeout it
 * fails with AppError `unavailable`, keeping what it made so far.
 */
export async function ensurePartitions(
  db: SystemDb,
  {
    now,
    interval,
    tables = partitionedTables,
  }: { now: Date; interval: PartitionInterval; tables?: readonly PartitionedTable[] },
): Promise<PartitionChanges> {
  const changes = noChanges();
  for (const table of tables) {
    const ownInterval = intervalOf(table, interval);
    const ahead = wantedPartitions(table, now, ownInterval);
    const past = await beside(db, table, ownInterval, now);
    await ensure(db, { table, wanted: unique([...past, ...ahead]), now, changes });
  }
  return changes;
}

/** The places that a table needs because what it is summed up from has them, unless only to be read. */
async function beside(
  db: Queryable,
  table: PartitionedTable,
  interval: PartitionInterval,
  now: Date,
): Promise<Partition[]> {
  const source = summedUpFrom[table];
  if (source === undefined) return [];
  const restored = await restoredPartitions(db, now);
  const sources = (await partitionsOf(db, [source])).filter(({ name }) => !restored.has(name));
  return sources.flatMap(span => partitionsBetween(table, span, interval));
}

/** Each once, the oldest first. */
const unique = (partitions: readonly Partition[]): Partition[] =>
  [...new Map(partitions.map(partition => [partition.name, partition])).values()].toSorted(
    (a, b) => a.from.getTime() - b.from.getTime(),
  );

/**
 * For a writer whose rows found no partition (`isMissingPartition`): makes those of these instants. The write may
 * then be repeated, in a new transaction: one that has used the table before keeps its old list of
 * partitions. What is summed up from the table gets its place too. Passes over instants outside `mayHavePartition`, and
 * refuses where there are no others.
 */
export async function ensurePartitionsFor(
  db: SystemDb,
  rows: { table: PartitionedTable; instants: readonly Date[]; now: Date; policy: PartitionPolicy },
): Promise<{ ok: true; changes: PartitionChanges } | { ok: false; reason: 'out_of_range' }> {
  const { table, now, policy } = rows;
  const possible = rows.instants.filter(instant => mayHavePartition(table, instant, now, policy));
  if (possible.length === 0) return { ok: false, reason: 'out_of_range' };
  const changes = noChanges();
  for (const each of partitionedTables.filter(other => other === table || summedUpFrom[other] === table)) {
    const wanted = possible.map(instant => partitionOf(each, instant, intervalOf(each, policy.interval)));
    await ensure(db, { table: each, wanted: unique(wanted), now, changes });
  }
  return { ok: true, changes };
}

const noChanges = (): PartitionChanges => ({ created: [], reattached: [], finalized: [], replaced: [] });

/** Whether a write failed because no partition takes its row: a check_violation that names no constraint. */
export function isMissingPartition(error: unknown): boolean {
  return sqlState(error) === '23514' && violatedConstraint(error) === null;
}

/** A partition as the catalog knows it. */
export type Attached = Span & { table: PartitionedTable; name: string; detaching: boolean };

type Task = { table: PartitionedTable; wanted: readonly Partition[]; now: Date; changes: PartitionChanges };

async function ensure(db: SystemDb, task: Task): Promise<void> {
  const attached = await prepare(db, task);
  // Last, because completing a detach waits for every older snapshot: one long-running reader must not keep
  // next month's partition from being made.
  for (const partition of attached.filter(each => each.detaching)) {
    if (!(await finalizeDetach(db, partition))) continue;
    task.changes.finalized.push(partition.name);
    await prepare(db, task);
  }
}

/** Makes what is missing, and returns what there was. */
async function prepare(db: SystemDb, { table, wanted, now, changes }: Task): Promise<Attached[]> {
  const attached = await partitionsOf(db, [table]);
  const empty: Attached[] = [];
  for (const partition of ofAnotherLength(wanted, attached, now)) {
    if (await isEmpty(db, partition.name)) empty.push(partition);
  }
  const staying = attached.filter(each => !empty.includes(each));
  const plan = wanted.flatMap(each => uncovered(each, staying));
  for (const partition of empty.filter(each => !plan.some(planned => isSameSpan(planned, each)))) {
    if (await dropEmpty(db, partition)) changes.replaced.push(partition.name);
  }
  for (const partition of plan.filter(planned => !empty.some(each => isSameSpan(planned, each)))) {
    const change = await attachPartition(db, partition);
    if (change !== null) changes[change].push(partition.name);
  }
  return attached;
}

async function isEmpty(db: Queryable, name: string): Promise<boolean> {
  const { empty } = await db.one(
    sql<{ empty: boolean }>`select not exists (select 1 from ${sql.id(name)}) as empty`,
  );
  return empty;
}

/** The partitions of these tables; those that end nowhere are nobody's we made, and are left out. */
export async function partitionsOf(db: Queryable, tables: readonly PartitionedTable[]): Promise<Attached[]> {
  return db.many(sql<Attached>`
    select parent.relname as table, child.relname as name, i.inhdetachpending as detaching,
      bounds[1]::timestamptz as from, bounds[2]::timestamptz as to
    from pg_inherits i
    join pg_class parent on parent.oid = i.inhparent
    join pg_class child on child.oid = i.inhrelid
    cross join lateral regexp_match(
      pg_get_expr(child.relpartbound, child.oid), 'FROM \\(''([^'']+)''\\) TO \\(''([^'']+)''\\)') as bounds
    where i.inhparent = any(${tables}::regclass[]) and bounds is not null`);
}

/** Runs alone among everything that changes partitions; one transaction per change keeps the locks short. */
export async function alone<T>(db: SystemDb, work: (tx: SystemTx) => Promise<T>): Promise<T> {
  return db.transaction(async tx => {
    await tx.execute(sql`select pg_advisory_xact_lock(${advisoryLocks.partitions})`);
    return work(tx);
  });
}

/** Until it is completed, an interrupted detach refuses every row of its range. */
export async function finalizeDetach(db: SystemDb, { table, name }: Attached): Promise<boolean> {
  return alone(db, async tx => {
    const current = await partitionsOf(tx, [table]);
    if (!current.some(each => each.name === name && each.detaching)) return false;
    await tx.execute(sql`alter table ${sql.id(table)} detach partition ${sql.id(name)} finalize`);
    return true;
  });
}

/** Nobody is writing into it: the table is locked, for as long as looking and dropping take. */
async function dropEmpty(db: SystemDb, { table, name }: Attached): Promise<boolean> {
  return alone(db, async tx => {
    // The parent first, as writers do: in the other order the two would wait for each other.
    await tx.execute(sql`lock table only ${sql.id(table)} in access exclusive mode`);
    if (!(await partitionsOf(tx, [table])).some(each => each.name === name && !each.detaching)) return false;
    const mayGo = await isEmpty(tx, name);
    if (mayGo) await tx.execute(sql`drop table ${sql.id(name)}`);
    return mayGo;
  });
}

/**
 * Not `CREATE TABLE … PARTITION OF`: that locks the parent against readers and writers, and ATTACH lets both go on.
 * Row security comes before: a partition named directly answers by its own policies, not its parent's, and would
 * otherwise show every tenant. Nothing is made in the time of a partition that is on its way out.
 */
export async function attachPartition(
  db: SystemDb,
  partition: Partition,
): Promise<'created' | 'reattached' | null> {
  const table = sql.id(partition.table);
  const name = sql.id(partition.name);
  return alone(db, async tx => {
    if ((await partitionsOf(tx, [partition.table])).some(each => each.name === partition.name)) return null;
    if (await isRetired(tx, partition)) return null;
    const { exists } = await tx.one(
      sql<{ exists: boolean }>`select to_regclass(${partition.name}) is not null as exists`,
    );
    if (!exists) {
      await tx.execute(sql`create table ${name} (like ${table} including defaults including constraints)`);
    }
    await tx.execute(sql`alter table ${name} enable row level security, force row level security`);
    await tx.execute(sql`drop policy if exists tenant on ${name}`);
    await tx.execute(sql`create policy tenant on ${name} using (${await policyOf(tx, partition.table)})`);
    await tx.execute(sql`alter table ${table} attach partition ${name}
      for values from (${sql.lit(partition.from.toISOString())}) to (${sql.lit(partition.to.toISOString())})`);
    return exists ? 'reattached' : 'created';
  });
}

/** What a table's policy asks for. */
async function policyOf(tx: SystemTx, table: PartitionedTable): Promise<Sql<unknown>> {
  const { condition } = await tx.one(sql<{ condition: string }>`
    select pg_get_expr(polqual, polrelid) as condition from pg_policy
    where polrelid = ${table}::regclass and polname = 'tenant'`);
  return sql.raw(condition);
}
