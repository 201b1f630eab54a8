import type { Condition } from '../conditions/condition.ts';
import { reconcileConditions } from '../conditions/store.ts';
import type { Context } from '../context.ts';
import { ensurePartitions } from '../retention/maintain.ts';
import { fewestAhead, type PartitionInterval } from '../retention/partitions.ts';
import { storageOf, type TableStorage } from '../retention/storage.ts';

/**
 * Makes the partitions of the time ahead, and says as the condition `partitions_behind` where that has failed for so
 * long that fewer than three intervals are prepared. Returns how many partitions it changed. Throws what kept it from
 * making them, after it has looked and told.
 */
export async function keepPartitions({ db, clock, settings, instruments, feed }: Context): Promise<number> {
  const now = clock.now();
  const interval = settings.partitionInterval;
  const [made] = await Promise.allSettled([ensurePartitions(db.system, { now, interval })]);
  const tables = await storageOf(db.system, { now, interval });
  for (const { table, intervalsAhead, bytes } of tables) {
    instruments.partitionsAhead.set({ table }, intervalsAhead);
    instruments.tableBytes.set({ table }, bytes);
  }
  const behind = behindCondition(tables, now, interval);
  const isTold = await reconcileConditions(db.system, behind === null ? {} : { partitions_behind: behind }, {
    among: ['partitions_behind'],
    at: now,
  });
  if (isTold) feed.announce();
  if (made.status === 'rejected') throw made.reason;
  return Object.values(made.value).reduce((sum, names) => sum + names.length, 0);
}

function behindCondition(
  tables: readonly TableStorage[],
  since: Date,
  interval: PartitionInterval,
): Condition | null {
  const behind = tables.filter(({ intervalsAhead }) => intervalsAhead < fewestAhead);
  if (behind.length === 0) return null;
  const named = behind.map(({ table, intervalsAhead }) => `${table}: ${intervalsAhead}`).join(', ');
  return {
    since,
    detail: `Fewer than ${fewestAhead} partitions (each a ${interval}) are prepared for what is to be stored (${named}), and no more could be made; the log says why.`,
  };
}
