import { appendForAll } from '../events/outbox.ts';
import type { OrganizationId } from '../ids.ts';
import { type SystemDb, sql, type TenantTx } from '../platform/db.ts';
import { firstOrganization, type Organization } from './store.ts';

/** Longer than a request may take that began before the organization was deleted, wherever that had not been heard of yet. */
const settledAfter = sql`interval '1 minute'`;

/** Much longer than any statement may take, and than others need to read what events tell of it. */
const lastLookAfter = sql`interval '1 hour'`;

/**
 * Deletes an organization: from the commit on nobody of it is recognised, and its name is free. What it had is removed
 * afterwards (system/organization-removal.ts). Null where there is none, and for the first one, which every start would make
 * anew.
 */
export async function deleteOrganization(
  db: SystemDb,
  id: OrganizationId,
  at: Date,
): Promise<Organization | null> {
  return db.transaction(async tx => {
    const organization = await tx.maybeOne<Organization>(sql`
      update organizations set deleted_at = now(), updated_at = ${at}
      where id = ${id} and name <> ${firstOrganization} and deleted_at is null returning id, name`);
    if (organization === null) return null;
    const data = { name: organization.name };
    const event = { type: 'organization.deleted', subject: id, data } as const;
    await appendForAll(tx, at, [{ organizationId: id, event }]);
    return organization;
  });
}

/** A deleted organization of which something may be left. */
export type Leftover = {
  id: OrganizationId;
  /** Whether nobody can be adding anything any more who had been recognised before. */
  isSettled: boolean;
  /** An hour ago all but its events had been removed: whatever is found now is the last. */
  isLastLook: boolean;
};

/** The organizations that there is something to do of, what was deleted first before others. */
export async function leftovers(db: SystemDb): Promise<Leftover[]> {
  return db.many<Leftover>(sql`
    select id, deleted_at < now() - ${settledAfter} as "isSettled", cleared_at is not null as "isLastLook"
    from organizations
    where deleted_at is not null and (cleared_at is null or cleared_at < now() - ${lastLookAfter})
    order by deleted_at, id`);
}

/** All but its events has been removed. */
export function markCleared(tx: TenantTx): Promise<number> {
  return tx.execute(sql`update organizations set cleared_at = now() where id = ${tx.organizationId}`);
}

/** Others have something to read of it again: it is not the last look yet. */
export function unmarkCleared(tx: TenantTx): Promise<number> {
  return tx.execute(sql`update organizations set cleared_at = null where id = ${tx.organizationId}`);
}

/** Nothing is left of it but its row, and now that is not either. */
export function forgetOrganization(tx: TenantTx): Promise<number> {
  return tx.execute(
    sql`delete from organizations where id = ${tx.organizationId} and deleted_at is not null`,
  );
}
