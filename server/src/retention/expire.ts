import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { advisoryLocks } from '../platform/advisory-locks.ts';
import { hasCitus } from '../platform/citus.ts';
import type { Clock } from '../platform/clock.ts';
import { type Database, type SystemDb, type SystemTx, sql } from '../platform/db.ts';
import { sever } from '../platform/silence.ts';
import { contentOf, isIntact, prepareDirectory, quoted, writeArchive } from './archive.ts';
import { alone, attachPartition, finalizeDetach, partitionsOf } from './maintain.ts';
import { type Partition, partitionedTables } from './partitions.ts';
import { keptFrom, type Retention } from './retention.ts';
import {
  deleteRetired,
  insertArchive,
  insertRetired,
  isArchivingRequired,
  listArchives,
  markDropped,
  restoredPartitions,
  retiredPartitions,
  setArchivingRequired,
} from './store.ts';

/** What a process was told: to archive into a directory, that nobody does any more, or nothing. */
export type ArchiveSetting = { directory: string } | 'none' | 'unchanged';

export type ExpiryParts = {
  db: Database;
  clock: Pick<Clock, 'now'>;
  retention: Retention;
  archive: ArchiveSetting;
  /** Ends the pass, in the middle of a file too. */
  signal: AbortSignal;
  /**
   * Asked in the transaction in which a partition is given up, beside which nobody else changes partitions: whether
   * nothing needs it any more. Where it says so, it has seen to it that nothing will.
   */
  release(tx: SystemTx, partition: Partition): Promise<boolean>;
};

/** What a pass did, by partition name. */
export type Expiry = { dropped: string[]; archived: string[] };

/**
 * Lets go of the partitions that are older than what is kept: gives up, archives where that is wanted, detaches and drops
 * one after the other, the oldest first. Killed at any moment, the next pass goes on where it was; until the drop, every
 * row is in the database, and from then on in a file that was read back, if there are archives. One process at a time does
 * it; null where another one is at it. One partition that fails does not keep the others; then the first fault is thrown.
 */
export async function expirePartitions(parts: ExpiryParts): Promise<Expiry | null> {
  const client = await parts.db.dedicated();
  // Whatever it waits for: a program that stops does not.
  const giveUp = (): void => sever(client);
  parts.signal.addEventListener('abort', giveUp);
  try {
    const { rows } = await client.query<{ locked: boolean }>('select pg_try_advisory_lock($1) as locked', [
      advisoryLocks.expiry,
    ]);
    if (rows[0]?.locked !== true) return null;
    return await expireAll(parts, client);
  } finally {
    parts.signal.removeEventListener('abort', giveUp);
    await client.end();
  }
}

async function expireAll(parts: ExpiryParts, client: pg.Client): Promise<Expiry> {
  const db = parts.db.system;
  const expiry: Expiry = { dropped: [], archived: [] };
  const faults: unknown[] = [];
  const attempt = async (work: () => Promise<void>): Promise<void> => {
    if (parts.signal.aborted) return;
    await work().catch((error: unknown) => faults.push(error));
  };
  await attempt(() => settleArchiving(parts));
  // Where the directory cannot be had, nothing may go.
  if (faults.length > 0) throw faults[0];
  for (const partition of await retiredPartitions(db)) {
    if (!isOverdue(partition, parts)) await attempt(() => takeBack(db, partition));
  }
  for (const partition of await overduePartitions(db, parts)) await attempt(() => retire(parts, partition));
  for (const partition of await retiredPartitions(db))
    await attempt(() => finish(parts, client, partition, expiry));
  if (faults.length > 0) throw faults[0];
  return expiry;
}

async function settleArchiving({ db, clock, archive }: ExpiryParts): Promise<void> {
  if (archive === 'unchanged') return;
  if (archive !== 'none') await prepareDirectory(archive.directory);
  await setArchivingRequired(db.system, archive !== 'none', clock.now());
}

type Age = Pick<ExpiryParts, 'clock' | 'retention'>;

const isOverdue = ({ table, to }: Partition, { clock, retention }: Age): boolean =>
  to <= keptFrom(table, clock.now(), retention);

/** The partitions that are older than what is kept, and were not brought back to be read: the oldest first. */
export async function overduePartitions(db: SystemDb, age: Age): Promise<Partition[]> {
  const restored = await restoredPartitions(db, age.clock.now());
  const attached = await partitionsOf(db, partitionedTables);
  const detached = (await retiredPartitions(db)).filter(
    ({ name }) => !attached.some(each => each.name === name),
  );
  return [...attached, ...detached]
    .filter(each => isOverdue(each, age) && !restored.has(each.name))
    .toSorted((a, b) => a.to.getTime() - b.to.getTime() || orderOf(a) - orderOf(b));
}

/** What is summed up goes before its sums. */
const orderOf = ({ table }: Partition): number => partitionedTables.indexOf(table);

/** From here on nobody makes a partition in its time, nor sums it up again. */
async function retire({ db, clock, release }: ExpiryParts, partition: Partition): Promise<void> {
  await alone(db.system, async tx => {
    if (await release(tx, partition)) await insertRetired(tx, partition, clock.now());
  });
}

/** It is to be kept longer, by a setting that has changed. */
async function takeBack(db: SystemDb, partition: Partition): Promise<void> {
  await alone(db, tx => deleteRetired(tx, partition.name));
  const attached = (await partitionsOf(db, [partition.table])).find(each => each.name === partition.name);
  if (attached?.detaching === true) await finalizeDetach(db, attached);
  await attachPartition(db, partition);
}

async function finish(
  parts: ExpiryParts,
  client: pg.Client,
  partition: Partition,
  expiry: Expiry,
): Promise<void> {
  const db = parts.db.system;
  if (!(await archive(parts, client, partition, expiry))) return;
  await detach(db, client, partition);
  // Rows that came in before that are archived too; from now on there are none.
  if (!(await archive(parts, client, partition, expiry))) return;
  await drop(db, partition, parts.clock.now());
  expiry.dropped.push(partition.name);
}

/** Whether a partition may go as far as archives are concerned, which is made so where this process can. */
async function archive(
  parts: ExpiryParts,
  client: pg.Client,
  partition: Partition,
  expiry: Expiry,
): Promise<boolean> {
  const db = parts.db.system;
  if (!(await isArchivingRequired(db)) || !(await exists(db, partition))) return true;
  // Another process does that.
  if (parts.archive === 'unchanged' || parts.archive === 'none') return false;
  const { directory } = parts.archive;
  if (await isArchived(parts, client, partition, directory)) return true;
  const [now, { signal }] = [parts.clock.now(), parts];
  await insertArchive(
    db,
    await writeArchive(client, partition, { directory, id: randomUUID(), now, signal }),
  );
  expiry.archived.push(partition.name);
  return true;
}

/** Whether the newest archive of a partition has just what is in it now, and is whole. */
async function isArchived(
  { db, signal }: ExpiryParts,
  client: pg.Client,
  { name }: Partition,
  directory: string,
): Promise<boolean> {
  const [newest] = await listArchives(db.system, name);
  if (newest === undefined) return false;
  const content = await contentOf(client, name, newest.columns);
  if (content.rows !== newest.rows || content.rowHash !== newest.rowHash) return false;
  return isIntact(directory, newest, signal);
}

/**
 * Concurrently, so that neither readers nor writers wait; Citus cannot, and has them wait for a moment. What a killed
 * process had begun is completed.
 */
async function detach(db: SystemDb, client: pg.Client, { table, name }: Partition): Promise<void> {
  const attached = (await partitionsOf(db, [table])).find(each => each.name === name);
  if (attached === undefined) return;
  if (attached.detaching) {
    await finalizeDetach(db, attached);
    return;
  }
  const how = (await hasCitus(db)) ? '' : 'concurrently';
  await client.query(`alter table ${quoted(table)} detach partition ${quoted(name)} ${how}`);
}

async function drop(db: SystemDb, { name }: Partition, at: Date): Promise<void> {
  await alone(db, async tx => {
    await tx.execute(sql`drop table if exists ${sql.id(name)}`);
    await deleteRetired(tx, name);
    await markDropped(tx, name, at);
  });
}

async function exists(db: SystemDb, { name }: Partition): Promise<boolean> {
  const { found } = await db.one(sql<{ found: boolean }>`select to_regclass(${name}) is not null as found`);
  return found;
}
