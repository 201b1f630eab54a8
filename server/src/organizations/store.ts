import type { OrganizationId } from '../ids.ts';
import { type SystemDb, sql } from '../platform/db.ts';

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
