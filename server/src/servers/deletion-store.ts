import type { OrganizationId, ServerId } from '../ids.ts';
import { type SystemDb, type SystemTx, sql, type TenantTx } from '../platform/db.ts';

/** A server that may be gone. */
export type FormerServer = { organizationId: OrganizationId; serverId: ServerId };

/** A table of history: deletes up to `limit` rows of a server, and returns how many. */
export type History = (tx: SystemTx, server: FormerServer, limit: number) => Promise<number>;

/** Some 30 ms of the database, in which nobody waits for it: only rows of nobody's are locked. */
const rowsAtOnce = 2_000;

/** Much longer than a statement may take that began before the server was deleted. */
const lastLookAfter = sql`interval '1 hour'`;

/**
 * Puts a server that the transaction deletes into the queue. A trigger has done so, whoever deletes it, but where the
 * servers are distributed: then there is none.
 */
export async function rememberDeleted(tx: TenantTx, id: ServerId): Promise<void> {
  await tx.execute(sql`
    insert into deleted_servers (organization_id, server_id, deleted_at) values (${tx.organizationId}, ${id}, now())
    on conflict (organization_id, server_id) do update set deleted_at = excluded.deleted_at, cleared_at = null`);
}

/**
 * Deletes up to `limit` servers of an organization of which nothing is to be left, with their memberships and tokens, and
 * returns them. They are in no queue: their history goes with all else that the organization has.
 */
export async function deleteServers(tx: TenantTx, limit: number): Promise<{ id: ServerId; name: string }[]> {
  const isIts = sql`organization_id = ${tx.organizationId}`;
  // Locked in the order in which states are written: in another one, the two could wait for each other.
  const servers = await tx.many(sql<{ id: ServerId; name: string }>`
    select id, name from managed_servers where ${isIts} order by id limit ${limit} for update`);
  const ids = servers.map(({ id }) => id);
  await tx.execute(sql`delete from managed_servers where ${isIts} and id = any(${ids}::uuid[])`);
  // A trigger has put them there.
  await tx.execute(sql`delete from deleted_servers where ${isIts} and server_id = any(${ids}::uuid[])`);
  return servers;
}

/**
 * Deletes a part of the history of one deleted server, in a transaction of its own. Returns how many rows that were, or
 * null where nothing is left to do, or others are at it. Killed at any moment, it goes on from where it was. A server
 * that is there again, from a backup, keeps its history. `traces` goes at the last look alone, an hour after the server:
 * what others have to read of it until then.
 */
export async function clearHistory(
  db: SystemDb,
  histories: readonly History[],
  traces: readonly History[] = [],
): Promise<number | null> {
  return db.transaction(async tx => {
    const server = await tx.maybeOne<FormerServer & { wasCleared: boolean }>(sql`
      select organization_id as "organizationId", server_id as "serverId", cleared_at is not null as "wasCleared"
      from deleted_servers where cleared_at is null or deleted_at < now() - ${lastLookAfter}
      order by deleted_at limit 1 for update skip locked`);
    if (server === null) return null;
    // By itself: the queue and the servers may lie on different machines.
    const { isBack } = await tx.one<{ isBack: boolean }>(sql`
      select exists (select 1 from managed_servers
                     where organization_id = ${server.organizationId} and id = ${server.serverId}) as "isBack"`);
    let deleted = 0;
    const going = isBack ? [] : [...histories, ...(server.wasCleared ? traces : [])];
    for (const history of going) deleted += await history(tx, server, rowsAtOnce - deleted);
    if (deleted < rowsAtOnce) {
      const isIt = sql`organization_id = ${server.organizationId} and server_id = ${server.serverId}`;
      await tx.execute(
        server.wasCleared || isBack
          ? sql`delete from deleted_servers where ${isIt}`
          : sql`update deleted_servers set cleared_at = now() where ${isIt}`,
      );
    }
    return deleted;
  });
}
