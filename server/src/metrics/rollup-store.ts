import type { OrganizationId } from '../ids.ts';
import { type Sql, type SystemTx, sql } from '../platform/db.ts';
import { unnest } from '../platform/unnest.ts';
import {
  type PeriodOf,
  periodStart,
  type Rollup,
  type RollupPeriod,
  type RollupRange,
  rollupPeriodMs,
  rollupPeriods,
} from '../rollups/rollup.ts';
import { deleteSums, replaceSums, startOf } from '../rollups/store.ts';
import type { FormerServer } from '../servers/deletion-store.ts';
import { counterGapMs, counters, metricRollupTable } from './rollup.ts';
import { allParts, counterGap, counterOf, storedSums, sumsOfCollected, sumsOfSums } from './sums.ts';

export const metricRollup: Rollup = {
  kind: 'metrics',
  lookbackMs: counterGapMs,
  rollUp: rollUpMetrics,
  touchedBy,
};

/** From what was collected, or from the next shorter periods. Periods without a collection have no row. */
function rollUpMetrics(tx: SystemTx, period: RollupPeriod, range: RollupRange): Promise<number> {
  const shorter = rollupPeriods[rollupPeriods.indexOf(period) - 1];
  const summed = { ...range, servers: sql`any(${range.serverIds}::uuid[])` };
  const bucketOf = (timestamp: Sql<unknown>) => startOf(period, timestamp);
  const query =
    shorter === undefined
      ? sumsOfCollected({ ...summed, bucketOf }, allParts)
      : sumsOfSums(storedSums(shorter, summed, allParts), bucketOf, allParts);
  return replaceSums(tx, range, { table: metricRollupTable(period), columns, query });
}

const columns = allParts.map(name => sql.ref(name));

/** A counter's growth counts where its next value was told: that is where one that comes before it changes something. */
async function touchedBy(
  tx: SystemTx,
  organizationId: OrganizationId,
  changed: readonly PeriodOf[],
): Promise<PeriodOf[]> {
  const lengthMs = rollupPeriodMs[rollupPeriods[0]];
  const isOfServer = sql`c.organization_id = ${organizationId} and c.server_id = p.server_id and c.period = '1m'`;
  const isTold = sql`${counterOf(sql`counter.index`, counters)} is not null`;
  const rows = await tx.many(sql<PeriodOf>`
    select distinct p.server_id as "serverId", next.timestamp
    from ${unnest([
      ['uuid', changed.map(({ serverId }) => serverId)],
      ['timestamptz', changed.map(({ timestamp }) => timestamp)],
      ['timestamptz', changed.map(({ timestamp }) => new Date(timestamp.getTime() + lengthMs))],
    ])} as p (server_id, start, "end")
    cross join generate_series(0, ${counters.length - 1}::int) as counter (index)
    cross join lateral (
      select c.timestamp from server_metrics_aggregated c
      where ${isOfServer} and ${isTold} and c.timestamp >= p."end" and c.timestamp < p."end" + ${counterGap}
      order by c.timestamp limit 1
    ) next
    where exists (
      select from server_metrics_aggregated c
      where ${isOfServer} and ${isTold} and c.timestamp >= p.start and c.timestamp < p."end")`);
  return rows.map(({ serverId, timestamp }) => ({
    serverId,
    timestamp: periodStart(timestamp, rollupPeriods[0]),
  }));
}

/** Deletes up to `limit` sums of a server, of all periods, and returns how many. */
export const deleteMetricRollups = (tx: SystemTx, server: FormerServer, limit: number): Promise<number> =>
  deleteSums(tx, rollupPeriods.map(metricRollupTable), server, limit);
