import type { OrganizationId, ServerId } from '../ids.ts';
import { type Queryable, type Sql, type SystemTx, sql } from '../platform/db.ts';
import { unnest } from '../platform/unnest.ts';
import type { FormerServer } from '../servers/deletion-store.ts';
import {
  type PeriodOf,
  type RollupKind,
  type RollupPeriod,
  type RollupRange,
  rollupPeriodMs,
  rollupPeriods,
} from './rollup.ts';

const [shortest] = rollupPeriods;

const isOf = (kind: RollupKind, period: RollupPeriod): Sql<unknown> =>
  sql`kind = ${sql.lit(kind)} and period = ${sql.lit(period)}`;

/** Where the period of a column's instants begins, as `periodStart` has it. */
export const startOf = (period: RollupPeriod, column: Sql<unknown>): Sql<unknown> =>
  bucketOf(rollupPeriodMs[period], column);

/** The same of periods of any length. */
export const bucketOf = (lengthMs: number, column: Sql<unknown>): Sql<unknown> =>
  sql`date_bin(${sql.lit(`${lengthMs / 1000} seconds`)}::interval, ${column}, 'epoch'::timestamptz)`;

/** What is to be stored of one kind, each row once. */
export type Collected = {
  kind: RollupKind;
  table: string;
  /** What is stored: columns, and what goes into them of `r`. */
  columns: Sql<unknown>;
  values: Sql<unknown>;
  /** Of the columns, those by which a row is known. */
  key: Sql<unknown>;
  /** The rows as a table `r`, with at least organization_id, server_id and timestamp. */
  rows: Sql<unknown>;
  /** The timestamps of the rows; at least one. */
  instants: readonly Date[];
};

/**
 * Stores what was collected, and returns how many rows were new. One that is there is left as it is, and one of a server
 * that is gone is passed over. What comes after its period was closed is noted, to be summed up again. `isFirstTry`: it
 * has just been collected, so that neither is looked for, at two thirds of the price, unless something is late; a row
 * that is there then fails all of them (23505).
 */
export async function storeCollected(
  tx: SystemTx,
  { kind, table, columns, values, key, rows, instants }: Collected,
  isFirstTry: boolean,
): Promise<number> {
  const into = sql`insert into ${sql.id(table)} (${columns}) select ${values} from`;
  if (isFirstTry) {
    const oldest = new Date(Math.min(...instants.map(instant => instant.getTime())));
    const count = await tx.execute(sql`${into} ${rows} where ${oldest} >= ${closedUntil(kind)}`);
    if (count > 0) return count;
  }
  return tx.execute(sql`
    with r as materialized (select * from ${rows}),
    closed as materialized ${closedUntil(kind)},
    noted as (${noteLate(kind)})
    ${into} r join managed_servers s on s.organization_id = r.organization_id and s.id = r.server_id
    on conflict (${key}) do nothing`);
}

/**
 * Until when periods are closed. It is locked against moving until the transaction ends, so that whoever moves it sees
 * all rows afterwards that were taken for being in time.
 */
const closedUntil = (kind: RollupKind): Sql<unknown> =>
  sql`(select closed_until from rollup_progress where ${isOf(kind, shortest)} for share)`;

/**
 * Notes the periods of what in `r` comes late, in one order, as two may note the same. Where such a period is being
 * summed up again right now, it waits for that, and notes it anew.
 */
const noteLate = (kind: RollupKind): Sql<unknown> => sql`
  insert into rollup_late (kind, period, organization_id, server_id, timestamp)
  select distinct ${sql.lit(kind)}, ${sql.lit(shortest)}, r.organization_id, r.server_id, ${startOf(shortest, sql`r.timestamp`)}
  from r, closed where r.timestamp < closed.closed_until
  order by 3, 4, 5 on conflict do nothing`;

/** Sums of a range: a query with the columns server_id, timestamp (where the period begins) and these. */
export type Sums = { table: string; columns: readonly Sql<unknown>[]; query: Sql<unknown> };

/**
 * Puts these sums in the place of what is stored of the range: doing it again changes nothing. Servers that are gone get
 * none. Returns how many rows changed.
 */
export async function replaceSums(
  tx: SystemTx,
  { organizationId, serverIds, from, to }: RollupRange,
  { table, columns, query }: Sums,
): Promise<number> {
  const name = sql.id(table);
  const assignments = columns.map(column => sql`${column} = excluded.${column}`);
  const old = columns.map(column => sql`t.${column}`);
  const anew = columns.map(column => sql`excluded.${column}`);
  const { changed } = await tx.one(sql<{ changed: number }>`
    with sums as materialized (
      select r.server_id, r.timestamp, ${sql.join(columns.map(column => sql`r.${column}`))} from (${query}) r
      join managed_servers s on s.organization_id = ${organizationId} and s.id = r.server_id),
    -- NOT IN is a hash, whatever PostgreSQL expects: it may take a range that has just been filled for an empty one.
    gone as (
      delete from ${name} where organization_id = ${organizationId} and server_id = any(${serverIds}::uuid[])
        and timestamp >= ${from} and timestamp < ${to}
        and (server_id, timestamp) not in (select server_id, timestamp from sums)
      returning 1),
    stored as (
      insert into ${name} as t (organization_id, server_id, timestamp, ${sql.join(columns)})
      select ${organizationId}::uuid, server_id, timestamp, ${sql.join(columns)} from sums
      on conflict (organization_id, server_id, timestamp) do update set ${sql.join(assignments)}
      where (${sql.join(old)}) is distinct from (${sql.join(anew)})
      returning 1)
    select ((select count(*) from gone) + (select count(*) from stored))::int as changed`);
  return changed;
}

/** Deletes up to `limit` rows of a server in all from tables of sums, and returns how many. */
export async function deleteSums(
  tx: SystemTx,
  tables: readonly string[],
  { organizationId, serverId }: FormerServer,
  limit: number,
): Promise<number> {
  const isIts = sql`organization_id = ${organizationId} and server_id = ${serverId}`;
  let deleted = 0;
  for (const table of tables) {
    deleted += await tx.execute(sql`
      delete from ${sql.id(table)} where ${isIts} and timestamp in (
        select timestamp from ${sql.id(table)} where ${isIts} limit ${limit - deleted})`);
  }
  return deleted;
}

/** Until when each period has been summed up. */
export async function rolledUntilOf(db: Queryable, kind: RollupKind): Promise<Record<RollupPeriod, Date>> {
  const rows = await db.many(sql<{ period: RollupPeriod; until: Date }>`
    select period, rolled_until as until from rollup_progress where kind = ${kind}`);
  return Object.fromEntries(rows.map(({ period, until }) => [period, until])) as Record<RollupPeriod, Date>;
}

export type Progress = {
  closedUntil: Date;
  rolledUntil: Date;
  /** What the periods are summed up from is there as a whole from here on. */
  sourceFrom: Date;
};

export async function progressOf(db: Queryable, kind: RollupKind, period: RollupPeriod): Promise<Progress> {
  return db.one(sql<Progress>`
    select closed_until as "closedUntil", rolled_until as "rolledUntil", source_from as "sourceFrom"
    from rollup_progress where ${isOf(kind, period)}`);
}

/** Closes the periods before `until`, which does not go back. Waits for those who store something right now. */
export async function close(
  db: Queryable,
  kind: RollupKind,
  period: RollupPeriod,
  until: Date,
): Promise<void> {
  await db.execute(sql`
    update rollup_progress set closed_until = ${until} where ${isOf(kind, period)} and closed_until < ${until}`);
}

/** Everything from `from` to `until` has been summed up. Changes nothing where somebody else has come further. */
export async function setRolled(
  db: Queryable,
  of: { kind: RollupKind; period: RollupPeriod; from: Date; until: Date },
): Promise<void> {
  await db.execute(sql`
    update rollup_progress set rolled_until = ${of.until}
    where ${isOf(of.kind, of.period)} and rolled_until >= ${of.from} and rolled_until < ${of.until}`);
}

/**
 * Whether it is ours to sum up until the transaction ends: two at once could overwrite newer sums with older ones. Until
 * then each statement is planned for its own values: for any values, PostgreSQL expects ten servers and hardly a row,
 * and of 500 servers and a day it came to no end.
 */
export async function takeTurn(tx: SystemTx, kind: RollupKind): Promise<boolean> {
  const turn = await tx.maybeOne(sql`
    select set_config('plan_cache_mode', 'force_custom_plan', true) from rollup_turns
    where kind = ${kind} for update skip locked`);
  return turn !== null;
}

/**
 * For the transaction in which what these periods are summed up from is given up, of some time: false where some of it is
 * still to be summed up. From then on, nothing of before its end is summed up again: it would find nothing there, and
 * take the sums away. Waits for whoever sums up right now.
 */
export async function releaseSource(
  tx: SystemTx,
  kind: RollupKind,
  period: RollupPeriod,
  { from, to }: { from: Date; to: Date },
): Promise<boolean> {
  // Longer than any statement that sums up.
  await tx.execute(sql`set local lock_timeout = '10s'`);
  await tx.execute(sql`select from rollup_turns where kind = ${kind} for update`);
  const released = await tx.execute(sql`
    update rollup_progress set source_from = greatest(source_from, ${to}::timestamptz)
    where ${isOf(kind, period)} and rolled_until >= ${to} and not exists (
      select from rollup_late l where l.kind = ${kind} and l.period = ${period} and l.timestamp >= ${from}
        and l.timestamp < ${to})`);
  return released > 0;
}

/** Whether what these periods are summed up from has been given up until then. */
export async function isSourceReleased(
  tx: SystemTx,
  kind: RollupKind,
  period: RollupPeriod,
  to: Date,
): Promise<boolean> {
  return (await progressOf(tx, kind, period)).sourceFrom >= to;
}

export type ServerChunk = { organizationId: OrganizationId; serverIds: ServerId[] };

/** The servers after one, by organization, at most so many in all. */
export async function nextServers(
  db: Queryable,
  after: { organizationId: OrganizationId; serverId: ServerId } | null,
  limit: number,
): Promise<ServerChunk[]> {
  const isAfter =
    after === null ? sql`true` : sql`(organization_id, id) > (${after.organizationId}, ${after.serverId})`;
  const rows = await db.many(sql<{ organization_id: OrganizationId; id: ServerId }>`
    select organization_id, id from managed_servers where ${isAfter} order by organization_id, id limit ${limit}`);
  const byOrganization = Map.groupBy(rows, row => row.organization_id);
  return [...byOrganization].map(([organizationId, servers]) => ({
    organizationId,
    serverIds: servers.map(({ id }) => id),
  }));
}

export type LateChunk = { organizationId: OrganizationId; periods: PeriodOf[] };

/**
 * Takes late periods of one organization, the next after `after` or again the first: one after the other has its turn,
 * however much is late of one. They are gone with the transaction. Null: nothing is late.
 */
export async function takeLate(
  tx: SystemTx,
  of: { kind: RollupKind; period: RollupPeriod; after: OrganizationId | null; limit: number },
): Promise<LateChunk | null> {
  // Of the two, the first that there is: UNION ALL reads its parts in order, and LIMIT ends it.
  const rows = await tx.many(sql<{ organization_id: OrganizationId; server_id: ServerId; timestamp: Date }>`
    with next as (
      (select organization_id from rollup_late where ${isOf(of.kind, of.period)} and organization_id > ${of.after}::uuid
       order by organization_id limit 1)
      union all
      (select organization_id from rollup_late where ${isOf(of.kind, of.period)} order by organization_id limit 1)
      limit 1),
    taken as (
      select ctid from rollup_late
      where ${isOf(of.kind, of.period)} and organization_id = (select organization_id from next)
      order by timestamp, server_id limit ${of.limit} for update)
    delete from rollup_late where ctid in (select ctid from taken)
    returning organization_id, server_id, timestamp`);
  const organizationId = rows[0]?.organization_id;
  if (organizationId === undefined) return null;
  return {
    organizationId,
    periods: rows.map(row => ({ serverId: row.server_id, timestamp: row.timestamp })),
  };
}

/** Notes late periods, as far as they are closed. */
export async function addLate(
  tx: SystemTx,
  { kind, period }: { kind: RollupKind; period: RollupPeriod },
  { organizationId, periods }: LateChunk,
): Promise<void> {
  await tx.execute(sql`
    insert into rollup_late (kind, period, organization_id, server_id, timestamp)
    select distinct ${sql.lit(kind)}, ${sql.lit(period)}, ${organizationId}::uuid, late.server_id, late.timestamp
    from ${unnest([
      ['uuid', periods.map(({ serverId }) => serverId)],
      ['timestamptz', periods.map(({ timestamp }) => timestamp)],
    ])} as late (server_id, timestamp)
    where late.timestamp < (select closed_until from rollup_progress where ${isOf(kind, period)})
    on conflict do nothing`);
}
