import type { Context } from '../context.ts';
import { append } from '../events/outbox.ts';
import {
  forgetOrganization,
  type Leftover,
  leftovers,
  markCleared,
  unmarkCleared,
} from '../organizations/deletion-store.ts';
import { advisoryLocks } from '../platform/advisory-locks.ts';
import { planAnew, type Queryable, sql, type TenantTx } from '../platform/db.ts';
import { deleteServers } from '../servers/deletion-store.ts';

/** Some 30 ms of the database, in which nobody waits for it: only rows of nobody's are locked. */
const rowsAtOnce = 2_000;
/** With each go its token and its memberships, and each has an event. */
const serversAtOnce = 200;
/** Of one organization in one pass, so that those that were deleted after it have their turn. */
const partsAtOnce = 100;

type RemovalParts = Pick<Context, 'db' | 'stopping'> & {
  clock: Pick<Context['clock'], 'now'>;
  feed: Pick<Context['feed'], 'announce'>;
};

/**
 * One pass over what deleted organizations have left: their servers, of which pollers learn by the events that they know,
 * and then whatever rows any table has of them, a small part at a time. Events go an hour after the organization, when all
 * tables are looked through once more, and with them its own row. Killed at any moment, the next pass goes on; several at
 * once take turns. Every statement acts as the organization, so that row security keeps it from the rows of any other. One
 * that fails does not keep the others from their turn; then the first fault is thrown. Returns how many rows were deleted.
 */
export async function removeOrganizations(parts: RemovalParts): Promise<number> {
  const deleted = await leftovers(parts.db.system);
  if (deleted.length === 0) return 0;
  const removals = deleted.map(each => createRemoval(parts, each));
  const faults: unknown[] = [];
  const attempt = (work: Promise<void>): Promise<unknown> => work.catch(error => faults.push(error));
  // Nobody's servers are polled on for as long as another one's history takes.
  for (const each of removals) await attempt(each.removeServers());
  const tables = await tablesOfTenants(parts.db.system);
  for (const each of removals) await attempt(each.removeRows(tables));
  if (faults.length > 0) throw faults[0];
  return removals.reduce((sum, each) => sum + each.removed(), 0);
}

type Removal = {
  removeServers(): Promise<void>;
  /** Whatever rows the tables have, and where it is the last look, the organization. */
  removeRows(tables: readonly Table[]): Promise<void>;
  removed(): number;
};

function createRemoval(
  { db, clock, feed, stopping }: RemovalParts,
  { id, isSettled, isLastLook }: Leftover,
): Removal {
  const own = db.tenant(id);
  let partsLeft = partsAtOnce;
  let removed = 0;
  let hadServers = false;
  /** Whether all that was looked at so far is empty. */
  let isThrough = true;

  /** A transaction in which nobody else removes anything. Null where somebody does, or where it is enough for now. */
  async function part(remove: (tx: TenantTx) => Promise<number>): Promise<number | null> {
    if (partsLeft === 0 || stopping.aborted) return null;
    const rows = await own.transaction(async tx => ((await takeTurn(tx)) ? remove(tx) : null));
    if (rows === null || rows === 0) return rows;
    partsLeft -= 1;
    removed += rows;
    return rows;
  }

  /** Parts of so many rows until one has fewer. */
  async function inParts(limit: number, remove: (tx: TenantTx) => Promise<number>): Promise<void> {
    let rows: number | null = limit;
    while (isThrough && rows === limit) {
      // Also where it fails.
      isThrough = false;
      rows = await part(remove);
      isThrough = rows !== null;
    }
  }

  return {
    async removeServers() {
      await inParts(serversAtOnce, async tx => {
        const servers = await deleteServers(tx, serversAtOnce);
        const events = servers.map(
          ({ id: subject, name }) => ({ type: 'server.deleted', subject, data: { name } }) as const,
        );
        await append(tx, clock.now(), events);
        if (isLastLook && servers.length > 0) await unmarkCleared(tx);
        hadServers ||= servers.length > 0;
        return servers.length;
      });
      if (hadServers) feed.announce();
    },
    async removeRows(tables) {
      const mayEventsGo = isLastLook && !hadServers;
      for (const table of tables.filter(({ name }) => name !== 'events' || mayEventsGo))
        await inParts(rowsAtOnce, tx => deleteRows(tx, table, rowsAtOnce));
      if (!isThrough) return;
      if (mayEventsGo) await part(forgetOrganization);
      else if (isSettled && !isLastLook) await part(markCleared);
    },
    removed: () => removed,
  };
}

async function takeTurn(tx: TenantTx): Promise<boolean> {
  const { isOurs } = await tx.one(sql<{ isOurs: boolean }>`
    select pg_try_advisory_xact_lock(${advisoryLocks.organizationRemoval}) as "isOurs"`);
  return isOurs;
}

/** A table that may have rows of an organization. `key`: its primary key without the organization; null: it has none. */
type Table = { name: string; key: string[] | null };

/**
 * Every table with an `organization_id`, those that refer to others first, but for the servers. Partitions are reached by
 * their table, unless they are, or are about to be, on their own: until they have been archived and dropped, or
 * because they are being brought back.
 */
async function tablesOfTenants(db: Queryable): Promise<Table[]> {
  const tables = await db.many(sql<Table & { refersTo: string[] }>`
    select c.relname as name,
      case when p.indrelid is not null then array(
        select a.attname::text from unnest(p.indkey::int2[]) with ordinality as k (attnum, place)
        join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
        where a.attname <> 'organization_id' order by k.place) end as key,
      array(
        select r.relname::text from pg_constraint f join pg_class r on r.oid = f.confrelid
        where f.conrelid = c.oid and f.contype = 'f' and f.confrelid <> c.oid) as "refersTo"
    from pg_class c
    join pg_attribute o on o.attrelid = c.oid and o.attname = 'organization_id' and not o.attisdropped
    left join pg_index p on p.indrelid = c.oid and p.indisprimary
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
      and (not c.relispartition or exists (
        select from pg_inherits i where i.inhrelid = c.oid and i.inhdetachpending))
    order by c.relname`);
  const ordered: typeof tables = [];
  while (ordered.length < tables.length) {
    const left = tables.filter(each => !ordered.includes(each));
    const isReferredTo = (name: string): boolean => left.some(({ refersTo }) => refersTo.includes(name));
    const next = left.filter(({ name }) => !isReferredTo(name));
    // A circle, which any beginning breaks.
    ordered.push(...(next.length > 0 ? next : left));
  }
  return ordered.filter(({ name }) => name !== 'managed_servers');
}

/** Deletes up to `limit` rows, and returns how many. */
async function deleteRows(tx: TenantTx, { name, key }: Table, limit: number): Promise<number> {
  const table = sql.id(name);
  const isIts = sql`organization_id = ${tx.organizationId}`;
  if (key?.length === 0) return tx.execute(sql`delete from ${table} where ${isIts}`);
  // In a table without a key, which is no partition and not distributed, rows have places.
  const columns = (key ?? ['ctid']).map(column => sql.ref(column));
  const last = sql.join(columns.map(column => sql`${column} desc`));
  // A range of the key, and not rows that a part names: whatever the planner knows of an organization that has just grown,
  // there is no join that it could begin at the wrong end, and read all of the organization for each part.
  await tx.execute(sql`set local enable_seqscan to off`);
  return tx.execute(
    planAnew(sql`
      delete from ${table} where ${isIts} and (${sql.join(columns)}) <= (
        select ${sql.join(columns)} from (
          select ${sql.join(columns)} from ${table} where ${isIts} order by ${sql.join(columns)} limit ${limit}) part
        order by ${last} limit 1)`),
  );
}
