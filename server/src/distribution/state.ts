import { hasCitus } from '../platform/citus.ts';
import { type Queryable, sql } from '../platform/db.ts';
import { StartupError } from '../platform/errors.ts';
import { placement as ours, type Placement } from './tables.ts';

/** How a table lies as Citus knows it. `managed`: local, and in its books, as it refers to a reference table. */
export type Kind = 'distributed' | 'reference' | 'managed';

/** What Citus knows of the tables; only where there is Citus. */
export async function kindsOf(db: Queryable): Promise<Map<string, Kind>> {
  const rows = await db.many(sql<{ name: string; method: string; model: string }>`
    select c.relname as name, p.partmethod::text as method, p.repmodel::text as model
    from pg_catalog.pg_dist_partition p join pg_class c on c.oid = p.logicalrelid
    where c.relnamespace = 'public'::regnamespace`);
  // https://docs.citusdata.com/en/stable/develop/api_metadata.html: h by hash; n in one shard, which is on every
  // machine where they are kept in step by two phases (t).
  return new Map(
    rows.map(({ name, method, model }) => [
      name,
      method === 'h' ? 'distributed' : model === 't' ? 'reference' : 'managed',
    ]),
  );
}

/**
 * Whether the tables lie as `placement` says. Throws StartupError where some do and others do not: `opsfleet db distribute`
 * was interrupted, or the schema has grown since.
 */
export async function isDistributed(db: Queryable, placement: Placement = ours): Promise<boolean> {
  if (!(await hasCitus(db))) return false;
  const kinds = await kindsOf(db);
  const placed = [...placement.reference, ...placement.distributed];
  const missing = placed.filter(table => (kinds.get(table) ?? 'managed') === 'managed');
  if (missing.length === placed.length) return false;
  const unforced = await db.many(sql<{ name: string }>`
    select relname as name from pg_class
    where relnamespace = 'public'::regnamespace and relname = any(${placed}::text[]) and not relforcerowsecurity`);
  const [left] = [...missing, ...unforced.map(({ name }) => name)];
  if (left === undefined) return true;
  throw new StartupError(
    `the database is distributed in part (${left} is not yet); run: npm run opsfleet -- db distribute`,
  );
}
