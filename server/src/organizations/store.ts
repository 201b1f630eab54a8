import type { Context } from '../context.ts';
import type { OrganizationId } from '../ids.ts';
import { type SystemDb, sql, type TenantTx } from '../platform/db.ts';
import { type Horizons, horizonsOf, type OwnRetention } from './retention.ts';

export type Organization = { id: OrganizationId; name: string };

/** The organization a fresh installation begins with, and that every start makes where there is none. */
export const firstOrganization = 'default';

/** The organization of that name, made first when there is none. Safe when two processes start at once. */
export async function ensureOrganization(
  db: SystemDb,
  fresh: { id: OrganizationId; name: string; at: Date },
): Promise<Organization> {
  await db.execute(sql`
    insert into organizations (id, name, created_at, updated_at)
    values (${fresh.id}, ${fresh.name}, ${fresh.at}, ${fresh.at})
    on conflict (name) where deleted_at is null do nothing`);
  return db.one<Organization>(
    sql`select id, name from organizations where name = ${fresh.name} and deleted_at is null`,
  );
}

/** An organization as the operator sees it. */
export type ListedOrganization = Organization & {
  createdAt: Date;
  servers: number;
  /** Null: it is there. */
  deletedAt: Date | null;
  /** When all but its events had been removed; null: it has not. */
  clearedAt: Date | null;
};

/** All organizations, by name, deleted ones included until nothing is left of them. */
export async function listOrganizations(db: SystemDb): Promise<ListedOrganization[]> {
  // By themselves: where tables are spread over several machines, counts of each organization come from each.
  const counts = await db.many<{ id: OrganizationId; servers: number }>(sql`
    select organization_id as id, count(*)::int as servers from managed_servers group by organization_id`);
  const servers = new Map(counts.map(each => [each.id, each.servers]));
  const rows = await db.many<Omit<ListedOrganization, 'servers'>>(sql`
    select id, name, created_at as "createdAt", deleted_at as "deletedAt", cleared_at as "clearedAt"
    from organizations order by name, deleted_at nulls first, id`);
  return rows.map(row => ({ ...row, servers: servers.get(row.id) ?? 0 }));
}

/** Makes an organization, as which the transaction acts; false when the name is taken. */
export async function insertOrganization(
  tx: TenantTx,
  { name, at }: { name: string; at: Date },
): Promise<boolean> {
  const made = await tx.execute(sql`
    insert into organizations (id, name, created_at, updated_at) values (${tx.organizationId}, ${name}, ${at}, ${at})
    on conflict (name) where deleted_at is null do nothing`);
  return made === 1;
}

/** What an organization chose of its history's retention. */
export async function ownRetentionOf(db: TenantTx): Promise<OwnRetention> {
  const { retention } = await db.one(
    sql<{ retention: OwnRetention }>`select retention from organizations where id = ${db.organizationId}`,
  );
  return retention;
}

export async function setOwnRetention(tx: TenantTx, own: OwnRetention, at: Date): Promise<void> {
  await tx.execute(sql`
    update organizations set retention = ${JSON.stringify(own)}::jsonb, updated_at = ${at}
    where id = ${tx.organizationId}`);
}

/** How far back each kind of an organization's history goes. */
export async function readHorizons(
  { clock, settings }: Pick<Context, 'clock' | 'settings'>,
  db: TenantTx,
): Promise<Horizons> {
  return horizonsOf(settings.retention, await ownRetentionOf(db), clock.now());
}
