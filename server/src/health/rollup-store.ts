import type { OrganizationId } from '../ids.ts';
import { type SystemTx, sql } from '../platform/db.ts';
import { unnest } from '../platform/unnest.ts';
import {
  type PeriodOf,
  type Rollup,
  type RollupPeriod,
  type RollupRange,
  rollupPeriodMs,
  rollupPeriods,
} from '../rollups/rollup.ts';
import { deleteSums, replaceSums } from '../rollups/store.ts';
import type { FormerServer } from '../servers/deletion-store.ts';
import { longestIntervalMs } from '../servers/server.ts';
import { added, factsOfChecks, factsOfSums, holdsOf, sumColumns } from './facts.ts';
import { healthRollupTable, longestHoldMs } from './rollup.ts';

/** `intervalMs`: how often the servers are checked that say nothing else. */
export const healthRollup = ({ intervalMs }: { intervalMs: number }): Rollup => ({
  kind: 'health',
  lookbackMs: 2 * longestHoldMs(longestIntervalMs),
  rollUp: (tx, period, range) => rollUpHealth(tx, period, range, intervalMs),
  touchedBy: (tx, organizationId, changed) => touchedBy(tx, organizationId, changed, intervalMs),
});

/** From the checks, or from the next shorter periods. Periods of which nothing is known have no row. */
function rollUpHealth(
  tx: SystemTx,
  period: RollupPeriod,
  range: RollupRange,
  intervalMs: number,
): Promise<number> {
  const shorter = rollupPeriods[rollupPeriods.indexOf(period) - 1];
  const buckets = { origin: new Date(0), lengthMs: rollupPeriodMs[period] };
  const facts =
    shorter === undefined ? factsOfChecks(range, buckets, intervalMs) : factsOfSums(range, shorter, buckets);
  return replaceSums(tx, range, {
    table: healthRollupTable(period),
    columns: sumColumns.map(name => sql.ref(name)),
    query: sql`
      select *, bucket as timestamp from (${added(facts, ['server_id', 'bucket'])}) sums`,
  });
}

/**
 * What a check found holds into the time after its period, and for how long it does the check after it. So it is up to
 * the second check from there, and no further than checks can hold.
 */
async function touchedBy(
  tx: SystemTx,
  organizationId: OrganizationId,
  changed: readonly PeriodOf[],
  intervalMs: number,
): Promise<PeriodOf[]> {
  const [shortest] = rollupPeriods;
  const length = sql`${sql.lit(`${rollupPeriodMs[shortest] / 1000} seconds`)}::interval`;
  const serverIds = changed.map(({ serverId }) => serverId);
  return tx.many(sql<PeriodOf>`
    with p as (
      select a.server_id, a.longest, p.start + ${length} as over
      from ${unnest([
        ['uuid', serverIds],
        ['timestamptz', changed.map(({ timestamp }) => timestamp)],
      ])} as p (server_id, start)
      join (${holdsOf({ organizationId, serverIds }, intervalMs)}) a using (server_id))
    select distinct p.server_id as "serverId", touched as timestamp
    from p
    cross join lateral (
      select min(timestamp) as first, case when count(*) = 2 then max(timestamp) end as second
      from (
        select timestamp from server_health_checks c
        where c.organization_id = ${organizationId} and c.server_id = p.server_id
          and c.timestamp >= p.over and c.timestamp < p.over + 2 * p.longest
        order by timestamp limit 2
      ) as next
    ) as next
    cross join lateral (
      select least(second, case when first < over + longest then first + longest else over + longest end) as until
    ) as reach
    cross join lateral generate_series(over, until, ${length}) as touched
    where touched < until`);
}

/** Deletes up to `limit` sums of a server, of all periods, and returns how many. */
export const deleteHealthRollups = (tx: SystemTx, server: FormerServer, limit: number): Promise<number> =>
  deleteSums(tx, rollupPeriods.map(healthRollupTable), server, limit);
