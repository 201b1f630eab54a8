import type pg from 'pg';
import { installation } from '../ids.ts';
import { hasCitus } from '../platform/citus.ts';
import type { Clock } from '../platform/clock.ts';
import type { Database, SystemDb } from '../platform/db.ts';
import { StartupError } from '../platform/errors.ts';
import { copyIn, forAll, isIntact, quoted, readContent } from './archive.ts';
import { attachPartition, partitionsOf } from './maintain.ts';
import { type Archive, listArchives, markRestored, retiredPartitions } from './store.ts';

const dayMs = 86_400_000;

/** What came back: rows of servers and organizations that are still there, and how many were of others. */
export type Restored = { archive: Archive; rows: number; ofDeleted: number; until: Date };

/**
 * Brings a partition back from its newest archive, to be read for some days; after that it goes as it went before. The file
 * is compared with what was noted of it, and the rows with what was in the partition. Rows of servers and organizations
 * that have been deleted since stay out. Killed at any moment, it can be called again. Throws a StartupError that says
 * what is in the way.
 */
export async function restoreArchive(
  parts: { db: Database; clock: Pick<Clock, 'now'>; directory: string; signal: AbortSignal },
  name: string,
  days: number,
): Promise<Restored> {
  const { db, clock, directory, signal } = parts;
  const archive = await restorable(db.system, name);
  if (!(await isIntact(directory, archive, signal))) {
    throw new StartupError(
      `${archive.file} is not in ${directory} as it was written; nothing was brought back.`,
    );
  }
  const until = new Date(clock.now().getTime() + days * dayMs);
  // Before there is anything that upkeep would find too old.
  await markRestored(db.system, archive.id, until);
  const client = await db.dedicated();
  try {
    const counts = await fill(client, archive, { directory, signal });
    await attachPartition(db.system, archive.partition);
    return { archive, ...counts, until };
  } finally {
    await client.end();
  }
}

/** The archive of a partition that is gone, and in whose time there is no other. */
async function restorable(db: SystemDb, name: string): Promise<Archive> {
  // It copies the rows of a table that becomes a part of a distributed one, which row security refuses.
  if (await hasCitus(db))
    throw new StartupError(
      'Nothing can be brought back into a database that has Citus. The archives are CSV in zstd.',
    );
  const [archive] = await listArchives(db, name);
  if (archive === undefined)
    throw new StartupError(`There is no archive of ${name}. "archive list" tells which there are.`);
  const { table, from, to } = archive.partition;
  const attached = await partitionsOf(db, [table]);
  const there = attached.find(each => each.from < to && each.to > from);
  if (there !== undefined) throw new StartupError(`${there.name} holds the time of ${name}, and is there.`);
  if ((await retiredPartitions(db)).some(each => each.table === table && each.from < to && each.to > from)) {
    throw new StartupError(`${name} is on its way out at this moment. Try again when it is gone.`);
  }
  return archive;
}

/** A table of that name with the rows of the archive, which is no partition yet. */
async function fill(
  client: pg.Client,
  archive: Archive,
  { directory, signal }: { directory: string; signal: AbortSignal },
): Promise<Pick<Restored, 'rows' | 'ofDeleted'>> {
  const { name, table } = archive.partition;
  return forAll(client, 'begin', async () => {
    // What a killed call has left. It is no partition, and the one of that name is gone.
    await client.query(`drop table if exists ${quoted(name)}`);
    await client.query(
      `create table ${quoted(name)} (like ${quoted(table)} including defaults including constraints)`,
    );
    await copyIn(client, name, { directory, archive, signal });
    const content = await readContent(client, name, archive.columns);
    if (content.rows !== archive.rows || content.rowHash !== archive.rowHash) {
      throw new StartupError(
        `The rows of ${archive.file} are not those that were archived; nothing was brought back.`,
      );
    }
    const ofDeleted = await deleteOrphans(client, archive);
    await client.query('commit');
    return { rows: archive.rows - ofDeleted, ofDeleted };
  });
}

/** What has been deleted stays deleted. Events of the installation itself are of no organization. */
async function deleteOrphans(client: pg.Client, { partition, columns }: Archive): Promise<number> {
  const isThere = columns.includes('server_id')
    ? `exists (select 1 from managed_servers s join organizations o on o.id = s.organization_id
         where s.organization_id = t.organization_id and s.id = t.server_id and o.deleted_at is null)`
    : `exists (select 1 from organizations o where o.id = t.organization_id and o.deleted_at is null)
       or t.organization_id = '${installation}'`;
  const { rowCount } = await client.query(`delete from ${quoted(partition.name)} t where not (${isThere})`);
  return rowCount ?? 0;
}
