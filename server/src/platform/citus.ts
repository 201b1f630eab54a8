import { type Queryable, sql } from './db.ts';

/** Whether the database has the extension, by a table of its catalog. */
export async function hasCitus(db: Queryable): Promise<boolean> {
  const { found } = await db.one(sql<{ found: boolean }>`
    select to_regclass('pg_catalog.pg_dist_partition') is not null as found`);
  return found;
}
