import type { OrganizationId, ServerId } from '../ids.ts';
import { type SystemDb, type SystemTx, sql, type TenantDb } from '../platform/db.ts';
import type { EventFacts, Position, StoredEvent } from './event.ts';

type Row = {
  xid: string;
  id: number;
  organization_id: OrganizationId;
  type: EventFacts['type'];
  subject_id: string;
  data: unknown;
  created_at: Date;
};

const toEvent = (row: Row): StoredEvent =>
  ({
    position: { xid: BigInt(row.xid), id: row.id },
    organizationId: row.organization_id,
    type: row.type,
    subject: row.subject_id,
    data: row.data,
    at: row.created_at,
  }) as StoredEvent;

const columns = sql`xid, id, organization_id, type, subject_id, data, created_at`;

/** The events after a position that are settled, oldest first, of every organization. */
export async function readFeed(db: SystemDb, after: Position, limit: number): Promise<StoredEvent[]> {
  const isAfter = sql`(xid, id) > (${String(after.xid)}::xid8, ${after.id})`;
  const rows = await db.many<Row & { settled: boolean }>(sql`
    select ${columns}, xid < pg_snapshot_xmin(pg_current_snapshot()) as settled
    from events where ${isAfter} order by xid, id limit ${limit}`);
  const settled = rows.filter(row => row.settled);
  if (settled.length > 0 || rows.length === 0) return settled.map(toEvent);
  // They wait for an older transaction. It may be one that has nothing to do with us.
  const { xid } = await endOfFeed(db);
  const others = await db.many<Row>(sql`
    select ${columns} from events where ${isAfter} and xid < ${String(xid)}::xid8
    order by xid, id limit ${limit}`);
  return others.map(toEvent);
}

/** The events of one organization after a position and up to another that is settled, oldest first. */
export async function readFeedOf(
  db: TenantDb,
  { after, until, limit }: { after: Position; until: Position; limit: number },
): Promise<StoredEvent[]> {
  const rows = await db.many<Row>(sql`
    select ${columns} from events
    where organization_id = ${db.organizationId}
      and (xid, id) > (${String(after.xid)}::xid8, ${after.id})
      and (xid, id) <= (${String(until.xid)}::xid8, ${until.id})
    order by xid, id limit ${limit}`);
  return rows.map(toEvent);
}

/**
 * Where the feed ends now: everything before it is settled and seen by every later statement, everything after
 * it is still to come.
 *
 * It is the oldest transaction that was running when this statement began, but for those that are proven to run
 * in another database of the server: they append no event of ours, and may take hours. The proof is the lock
 * that every transaction holds on its own number, and the database of the backend that holds it; both are shown
 * to every role. A transaction without proof counts as ours: one that has its number and not yet the lock, one
 * that was prepared. Where a backend ends between the two looks and another one gets its process id, a
 * transaction of ours could be taken for one of another database; but then it has ended, and the next statement
 * sees what it did. That is why events are read by a statement of their own.
 */
export async function endOfFeed(db: SystemDb): Promise<Position> {
  const { xid } = await db.one<{ xid: string }>(sql`
    select coalesce(
      (select running.xid from pg_snapshot_xip(pg_current_snapshot()) as running (xid)
       where running.xid::xid not in (
         select l.transactionid from pg_locks l join pg_stat_activity a on a.pid = l.pid
         where l.locktype = 'transactionid' and l.mode = 'ExclusiveLock' and l.granted
           and a.datid <> (select oid from pg_database where datname = current_database()))
       order by running.xid limit 1),
      pg_snapshot_xmax(pg_current_snapshot()))::text as xid`);
  // No row has the id 0, so this position sorts before every row of that transaction.
  return { xid: BigInt(xid), id: 0 };
}

/** The oldest position from which nothing is missing, or null while there are no events. */
export async function startOfFeed(db: SystemDb): Promise<Position | null> {
  const row = await db.maybeOne<{ xid: string; id: number }>(
    sql`select xid, id from events order by xid, id limit 1`,
  );
  return row === null ? null : { xid: BigInt(row.xid), id: row.id };
}

/**
 * Transaction numbers start anew in a database restored from a dump, and then rows of the old one would lie
 * in the future of every reader. Moves such rows to transaction 0, before everything new; their ids keep
 * their order. Returns how many.
 */
export async function adoptRestoredEvents(db: SystemDb): Promise<number> {
  return db.execute(sql`update events set xid = '0' where xid > pg_current_xact_id()`);
}

/**
 * Deletes up to `limit` events that tell of a server, of itself or as a member of groups, and returns how many. All that
 * read them must have done so.
 */
export async function deleteEventsOfServer(
  tx: SystemTx,
  { organizationId, serverId }: { organizationId: OrganizationId; serverId: ServerId },
  limit: number,
): Promise<number> {
  const members = sql`type = 'group.members_changed' and data::text like ${`%"${serverId}"%`}`;
  let deleted = 0;
  for (const isOfIt of [sql`subject_id = ${serverId}`, members]) {
    const chosen = sql`organization_id = ${organizationId} and ${isOfIt}`;
    deleted += await tx.execute(sql`
      delete from events where ${chosen} and (created_at, id) in (
        select created_at, id from events where ${chosen} limit ${limit - deleted})`);
  }
  return deleted;
}
