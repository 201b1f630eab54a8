import { type Queryable, type Sql, sql } from '../platform/db.ts';
import type { Placement } from './tables.ts';

const key = 'organization_id';

/**
 * What keeps the tables of the schema `public` from being distributed as `placement` says, one sentence each that names
 * table and column, in order; none: they can be. It looks into the catalog, and changes nothing.
 */
export async function faultsOf(db: Queryable, placement: Placement): Promise<string[]> {
  const found: string[] = [];
  for (const look of [
    unplaced,
    keyColumns,
    uniqueIndexes,
    references,
    partitions,
    triggers,
    defaults,
    policies,
  ])
    found.push(...(await look(db, placement)));
  return found;
}

type Look = (db: Queryable, placement: Placement) => Promise<string[]>;

/** Tables of the schema, but for partitions. */
const own = sql`c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition`;

const told = async (db: Queryable, query: Sql<{ fault: string }>): Promise<string[]> =>
  (await db.many(query)).map(({ fault }) => fault);

const isIn = (column: Sql<unknown>, tables: readonly string[]): Sql<unknown> =>
  sql`${column} = any(${tables}::text[])`;

const unplaced: Look = async (db, { distributed, reference, local }) => {
  const rows = await db.many(sql<{ name: string }>`
    select c.relname as name from pg_class c where ${own}
      and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e') order by 1`);
  const tables = rows.map(({ name }) => name);
  const placed = [...distributed, ...reference, ...Object.keys(local)];
  return [
    ...tables
      .filter(name => !placed.includes(name))
      .map(name => `${name}: is neither distributed nor a reference table nor local; say which`),
    ...placed
      .filter((name, index) => placed.indexOf(name) < index)
      .map(name => `${name}: has more than one place`),
    ...placed
      .filter(name => !tables.includes(name))
      .map(name => `${name}: has a place, and there is no such table`),
  ];
};

/** Rows of one organization meet only where its id is of one type in all tables. */
const keyColumns: Look = (db, { distributed }) =>
  told(
    db,
    sql`
    select c.relname || '.${sql.raw(key)}: ' || case
        when a.attnum is null then 'a distributed table must have it'
        when a.atttypid <> 'uuid'::regtype then 'must be a uuid, and is ' || format_type(a.atttypid, a.atttypmod)
        else 'must be not null' end as fault
    from pg_class c left join pg_attribute a on a.attrelid = c.oid and a.attname = ${key} and not a.attisdropped
    where ${own} and ${isIn(sql`c.relname`, distributed)}
      and (a.attnum is null or a.atttypid <> 'uuid'::regtype or not a.attnotnull)
    order by 1`,
  );

/** What another machine may hold too cannot be unique. */
const uniqueIndexes: Look = (db, { distributed }) =>
  told(
    db,
    sql`
    select fault from (
      select c.relname || ': unique index ' || i.indexrelid::regclass::text || ' (' || columns.names ||
        ') must contain ${sql.raw(key)}' as fault
      from pg_class c join pg_index i on i.indrelid = c.oid
      cross join lateral (
        select string_agg(coalesce(a.attname, 'an expression'), ', ' order by k.place) as names,
          coalesce(bool_or(a.attname = ${key}), false) as has_key
        from unnest(i.indkey::int2[]) with ordinality as k (attnum, place)
        left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
        where k.place <= i.indnkeyatts) columns
      where ${own} and ${isIn(sql`c.relname`, distributed)} and (i.indisunique or i.indisexclusion) and not columns.has_key
      union all
      select c.relname || ': has no primary key' from pg_class c
      where ${own} and ${isIn(sql`c.relname`, distributed)}
        and not exists (select from pg_index where indrelid = c.oid and indisprimary)) all_faults
    order by 1`,
  );

/** Both ends of a reference must lie on one machine. */
const references: Look = async (db, { distributed, reference }) => {
  const rows = await db.many(sql<{
    from: string;
    name: string;
    to: string;
    columns: string[];
    referred: string[];
    onDelete: string;
    onUpdate: string;
  }>`
    select c.relname as from, k.conname as name, k.confrelid::regclass::text as to,
      k.confdeltype::text as "onDelete", k.confupdtype::text as "onUpdate",
      array(select attname::text from unnest(k.conkey) with ordinality as n (num, place)
            join pg_attribute on attrelid = k.conrelid and attnum = n.num order by place) as columns,
      array(select attname::text from unnest(k.confkey) with ordinality as n (num, place)
            join pg_attribute on attrelid = k.confrelid and attnum = n.num order by place) as referred
    from pg_constraint k join pg_class c on c.oid = k.conrelid
    where k.contype = 'f' and ${own} order by 1, 2`);
  const fault = ({
    from,
    name,
    to,
    columns,
    referred,
    onDelete,
    onUpdate,
  }: (typeof rows)[number]): string | null => {
    const says = (why: string): string =>
      `${from} (${columns.join(', ')}): foreign key ${name} to ${to} ${why}`;
    const isSpread = distributed.includes(from);
    if (!isSpread && (distributed.includes(to) || reference.includes(to) || reference.includes(from)))
      return says('goes from a table that is not distributed to or from one that is not local');
    if (!isSpread) return null;
    if (reference.includes(to)) return null;
    if (!distributed.includes(to)) return says('goes to a local table');
    const place = columns.indexOf(key);
    if (place === -1 || referred[place] !== key)
      return says(`must have ${key} in the same position at both ends`);
    if (!distributed.slice(0, distributed.indexOf(from) + 1).includes(to))
      return says('goes to a table that is distributed later');
    // https://www.postgresql.org/docs/current/catalog-pg-constraint.html: n and d set null and default, c cascades.
    if ('nd'.includes(onDelete) || 'ndc'.includes(onUpdate)) return says(`may not change ${key} by itself`);
    return null;
  };
  return rows.map(fault).filter(each => each !== null);
};

const partitions: Look = (db, { distributed }) =>
  told(
    db,
    sql`
    with keys as (
      select c.oid, c.relname, a.attname, p.partattrs[0] as attnum, p.partnatts, p.partstrat, p.partdefid
      from pg_class c join pg_partitioned_table p on p.partrelid = c.oid
      left join pg_attribute a on a.attrelid = c.oid and a.attnum = p.partattrs[0] and a.attnum > 0
      where ${own} and ${isIn(sql`c.relname`, distributed)})
    select fault from (
      select relname || case
        when partstrat <> 'r' or partnatts <> 1 or attname is null then ': must be partitioned by the range of one column'
        when partdefid <> 0 then ': may have no default partition'
        else '.' || attname || ': partitioned by it, and it is not in the primary key' end as fault
      from keys where partstrat <> 'r' or partnatts <> 1 or attname is null or partdefid <> 0 or not exists (
        select from pg_index i where i.indrelid = keys.oid and i.indisprimary and keys.attnum = any(i.indkey::int2[]))
      union all
      select keys.relname || ': its partition ' || child.relname || ' is partitioned again'
      from keys join pg_inherits i on i.inhparent = keys.oid join pg_class child on child.oid = i.inhrelid
      where child.relkind = 'p') all_faults
    order by 1`,
  );

const triggers: Look = (db, { distributed, reference, replacedTriggers }) =>
  told(
    db,
    sql`
    select c.relname || ': trigger ' || t.tgname || ' would not be there' as fault
    from pg_class c join pg_trigger t on t.tgrelid = c.oid and not t.tgisinternal
    where ${own} and ${isIn(sql`c.relname`, [...distributed, ...reference])}
      and t.tgname || ' on ' || c.relname <> all(${Object.keys(replacedTriggers)}::text[])
    order by 1`,
  );

/** Numbers come from sequences of each machine, in ranges that only a bigint has room for; transactions are its own. */
const defaults: Look = (db, { distributed, reference }) =>
  told(
    db,
    sql`
    select c.relname || '.' || a.attname || ': ' || case
        when a.attidentity <> '' then 'is an identity column; give it a sequence as its default'
        when a.attgenerated <> '' and a.attname = ${key} then 'may not be generated'
        when s.seqrelid is not null then 'its sequence must be a bigint'
        else 'its default is of one machine: ' || pg_get_expr(d.adbin, d.adrelid) end as fault
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
    left join pg_depend on pg_depend.classid = 'pg_attrdef'::regclass and pg_depend.objid = d.oid
      and refclassid = 'pg_class'::regclass and refobjid <> c.oid
    left join pg_sequence s on s.seqrelid = pg_depend.refobjid and s.seqtypid <> 'bigint'::regtype
    where ${own} and ${isIn(sql`c.relname`, [...distributed, ...reference])}
      and (a.attidentity <> '' or s.seqrelid is not null or (a.attgenerated <> '' and a.attname = ${key})
           or pg_get_expr(d.adbin, d.adrelid) ~ '\\m(pg_current_xact_id|txid_current)')
    order by 1`,
  );

const policies: Look = async (db, { distributed, reference }) => {
  const rows = await db.many(sql<{ table: string; name: string; condition: string | null; isWhole: boolean }>`
    select c.relname as table, p.polname as name, pg_get_expr(p.polqual, p.polrelid) as condition,
      p.polwithcheck is null and p.polpermissive and p.polcmd = '*' and p.polroles = '{0}' as "isWhole"
    from pg_policy p join pg_class c on c.oid = p.polrelid
    where ${own} and ${isIn(sql`c.relname`, [...distributed, ...reference])} order by 1, 2`);
  return rows
    .filter(
      ({ name, condition, isWhole }) =>
        name !== 'tenant' ||
        !isWhole ||
        condition === null ||
        /\bselect\b/i.test(withoutSubselects(condition)),
    )
    .map(({ table, name }) => `${table}: policy ${name} is none that ${placedName} knows how to distribute`);
};

const placedName = 'opsfleet db distribute';

/** A policy's condition without what Citus refuses: `(SELECT f() AS f)` makes PostgreSQL call `f` once for a statement. */
export const withoutSubselects = (condition: string): string =>
  condition.replaceAll(/\( SELECT (\w+\(\)) AS \w+\)/g, '$1');
