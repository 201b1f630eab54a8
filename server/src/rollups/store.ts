import type { OrganizationId, ServerId } from '../ids.ts';
import { type Queryable, type Sql, type SystemTx, sql } from '../platform/db.ts';
import { unnest } from '../platform/unnest.ts';
import {
  type PeriodOf,
  type RollupKind,
  type RollupPeriod,
  rollupPeriodMs,
  rollupPeriods,
} from './rollup.ts';

const [shortest] = rollupPeriods;

const isOf = (kind: RollupKind, period: RollupPeriod): Sql<unknown> =>
  sql`kind = ${sql.lit(kind)} and period = ${sql.lit(period)}`;

/** Where the period of a column's instants begins, as `periodStart` has it. */
export const startOf = (period: RollupPeriod, column: Sql<unknown>): Sql<unknown> =>
  sql`date_bin(${sql.lit(`${rollupPeriodMs[period] / 1000} seconds`)}::interval, ${column}, 'epoch'::timestamptz)`;

/**
 * For a statement that stores what was collected: until when periods are closed. It is locked against moving until the
 * statement's transaction ends, so that whoever moves it sees all rows afterwards that were taken for being in time.
 */
export const closedUntil = (kind: RollupKind): Sql<unknown> =>
  sql`(select closed_until from rollup_progress where ${isOf(kind, shortest)} for share)`;

/**
 * For the same, as a part of its `with`: notes the periods of what comes late, in one order, as two may note the same.
 * Where such a period is being summed up again right now, it waits for that, and notes it anew. `rows` names a query that
 * has the columns `organization_id`, `server_id` and `timestamp`.
 */
export const noteLate = (kind: RollupKind, rows: Sql<unknown>): Sql<unknown> => sql`
  closed as materialized ${closedUntil(kind)},
  noted as (
    insert into rollup_late (kind, period, organization_id, server_id, timestamp)
    select distinct ${sql.lit(kind)}, ${sql.lit(shortest)}, r.organization_id, r.server_id, ${startOf(shortest, sql`r.timestamp`)}
    from ${rows} r, closed where r.timestamp < closed.closed_until
    order by 3, 4, 5 on conflict do nothing)`;

/** For a statement that reads: until when the periods of this length have been summed up. */
export const rolledUntil = (kind: RollupKind, period: RollupPeriod): Sql<unknown> =>
  sql`(select rolled_until from rollup_progress where ${isOf(kind, period)})`;

export type Progress = { closedUntil: Date; rolledUntil: Date };

export async function progressOf(db: Queryable, kind: RollupKind, period: RollupPeriod): Promise<Progress> {
  return db.one(sql<Progress>`
    select closed_until as "closedUntil", rolled_until as "rolledUntil" from rollup_progress where ${isOf(kind, period)}`);
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
  const chunks = new Map<OrganizationId, ServerId[]>();
  for (const { organization_id, id } of rows) {
    const ids = chunks.get(organization_id) ?? [];
    chunks.set(organization_id, ids);
    ids.push(id);
  }
  return [...chunks].map(([organizationId, serverIds]) => ({ organizationId, serverIds }));
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
