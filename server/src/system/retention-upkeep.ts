import type { Condition } from '../conditions/condition.ts';
import { reconcileConditions } from '../conditions/store.ts';
import type { Context } from '../context.ts';
import type { EventFeed } from '../events/feed.ts';
import { healthRollupTable } from '../health/rollup.ts';
import { metricRollupTable } from '../metrics/rollup.ts';
import type { Clock } from '../platform/clock.ts';
import { type SystemDb, type SystemTx, sql } from '../platform/db.ts';
import { expirePartitions, overduePartitions } from '../retention/expire.ts';
import { type Partition, type PartitionedTable, partitionedTables } from '../retention/partitions.ts';
import { type RollupKind, type RollupPeriod, rollupPeriods } from '../rollups/rollup.ts';
import { isSourceReleased, releaseSource } from '../rollups/store.ts';

const dayMs = 86_400_000;
/** So long after it should have gone, a partition that is there is more than one that waits for its turn. */
const patienceMs = 2 * dayMs;

/** Which sums a table holds, and which are made of it. */
type Place = { kind: RollupKind; holds: RollupPeriod | null; feeds: RollupPeriod | null };

const placesOf = (
  kind: RollupKind,
  collected: PartitionedTable,
  tableOf: (period: RollupPeriod) => PartitionedTable,
): [PartitionedTable, Place][] => [
  [collected, { kind, holds: null, feeds: rollupPeriods[0] }],
  ...rollupPeriods.map((period, index): [PartitionedTable, Place] => [
    tableOf(period),
    { kind, holds: period, feeds: rollupPeriods[index + 1] ?? null },
  ]),
];

const places = new Map([
  ...placesOf('health', 'server_health_checks', healthRollupTable),
  ...placesOf('metrics', 'server_metrics_aggregated', metricRollupTable),
]);

/**
 * History goes when it has been summed up, and sums when what they were made of has gone: so neither is made anew from
 * what is only half there.
 */
async function release(tx: SystemTx, partition: Partition): Promise<boolean> {
  const place = places.get(partition.table);
  if (place === undefined) return true;
  const { kind, holds, feeds } = place;
  if (holds !== null && !(await isSourceReleased(tx, kind, holds, partition.to))) return false;
  return feeds === null || releaseSource(tx, kind, feeds, partition);
}

export type RetentionParts = Pick<Context, 'db' | 'settings' | 'instruments' | 'stopping'> & {
  clock: Pick<Clock, 'now'>;
  feed: Pick<EventFeed, 'announce'>;
};

/**
 * Lets go of the history that is older than what is kept, and says as the condition `retention_behind` where that has
 * failed for days. Returns how many partitions are gone. Throws what kept it from that, after it has looked and told.
 */
export async function keepRetention(parts: RetentionParts): Promise<number> {
  const { db, clock, settings, instruments, feed, stopping } = parts;
  const { retention, archive } = settings;
  const now = await earliestNow(db.system, clock);
  const [gone] = await Promise.allSettled([
    expirePartitions({ db, clock: { now: () => now }, retention, archive, signal: stopping, release }),
  ]);
  const overdue = await overduePartitions(db.system, { clock: { now: () => now }, retention });
  for (const table of partitionedTables) {
    instruments.partitionsOverdue.set({ table }, overdue.filter(each => each.table === table).length);
  }
  const late = await overduePartitions(db.system, {
    clock: { now: () => new Date(now.getTime() - patienceMs) },
    retention,
  });
  const behind = late.length === 0 ? null : behindCondition(late, now);
  const isTold = await reconcileConditions(db.system, behind === null ? {} : { retention_behind: behind }, {
    among: ['retention_behind'],
    at: now,
  });
  if (isTold) feed.announce();
  if (gone.status === 'rejected') throw gone.reason;
  return gone.value?.dropped.length ?? 0;
}

/** What is dropped is gone: a clock that is ahead, here or at the database, must not make history old. */
async function earliestNow(db: SystemDb, clock: Pick<Clock, 'now'>): Promise<Date> {
  const { there } = await db.one(sql<{ there: Date }>`select clock_timestamp() as there`);
  const here = clock.now();
  return here < there ? here : there;
}

function behindCondition(late: readonly Partition[], since: Date): Condition {
  const tables = [...new Set(late.map(({ table }) => table))].join(', ');
  return {
    since,
    detail: `${late.length} partitions that should have gone days ago are still there (${tables}). They wait to be summed up, or to be archived by the process that has OPSFLEET_ARCHIVE_DIR; the log says why.`,
  };
}
