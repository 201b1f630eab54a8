import type { Context } from '../context.ts';
import type { OrganizationId } from '../ids.ts';
import { type SystemDb, sql, type TenantTx } from '../platform/db.ts';
import { type Horizons, horizonsOf, type OwnRetention } from './retention.ts';

export type Organization = { id: OrganizationId; name: string };

/** The organization of that name, made first when there is none. Safe when two processes start at once. */
export async function ensureOrganization(
  db: SystemDb,
  fresh: { id: OrganizationId; name: string; at: Date },
): Promise<Organization> {
  await db.execute(sql`
    insert into organizations (id, name, created_at, updated_at)
    values (${fresh.id}, ${fresh.name}, ${fresh.at}, ${fresh.at})
    on conflict (name) do nothing`);
  return db.one<Organization>(sql`select id, name from organizations where name = ${fresh.name}`);
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
