import type { OrganizationId } from '../ids.ts';
import { type SystemDb, sql, type TenantDb } from '../platform/db.ts';
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

// Ends before the oldest transaction still running: whatever it appends sorts after all that is read here.
const settled = sql`xid < pg_snapshot_xmin(pg_current_snapshot())`;

/** The events after a position, oldest first, of every organization. */
export async function readFeed(db: SystemDb, after: Position, limit: number): Promise<StoredEvent[]> {
  const rows = await db.many<Row>(sql`
    select xid, id, organization_id, type, subject_id, data, created_at from events
    where (xid, id) > (${String(after.xid)}::xid8, ${after.id}) and ${settled}
    order by xid, id limit ${limit}`);
  return rows.map(toEvent);
}

/** The events of one organization after a position, oldest first. */
export async function readFeedOf(db: TenantDb, after: Position, limit: number): Promise<StoredEvent[]> {
  const rows = await db.many<Row>(sql`
    select xid, id, organization_id, type, subject_id, data, created_at from events
    where organization_id = ${db.organizationId}
      and (xid, id) > (${String(after.xid)}::xid8, ${after.id}) and ${settled}
    order by xid, id limit ${limit}`);
  return rows.map(toEvent);
}

/** Where the feed ends now: everything before it is settled, everything after it is still to come. */
export async function endOfFeed(db: SystemDb): Promise<Position> {
  const { xmin } = await db.one<{ xmin: string }>(
    sql`select pg_snapshot_xmin(pg_current_snapshot())::text as xmin`,
  );
  // No row has the id 0, so this position sorts before every row of that transaction.
  return { xid: BigInt(xmin), id: 0 };
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
