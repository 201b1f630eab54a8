import type { Context } from '../context.ts';
import { healthRollup } from '../health/rollup-store.ts';
import { metricRollup } from '../metrics/rollup-store.ts';
import { roll } from '../rollups/roll.ts';
import { type Rollup, rollupPeriods } from '../rollups/rollup.ts';
import { progressOf } from '../rollups/store.ts';

type Parts = Pick<Context, 'db' | 'clock' | 'instruments' | 'settings'>;

/**
 * One pass over all that history is summed up to, one kind after the other: a worker has connections for little more. A
 * kind that fails does not keep the next from its turn; then the first fault is thrown. Returns how many rows changed.
 */
export async function keepRollups(parts: Parts): Promise<number> {
  const rollups = [healthRollup({ intervalMs: parts.settings.healthIntervalMs }), metricRollup];
  const faults: unknown[] = [];
  let changed = 0;
  for (const rollup of rollups) {
    try {
      changed += await keepRollup(parts, rollup);
    } catch (error) {
      faults.push(error);
    }
  }
  if (faults.length > 0) throw faults[0];
  return changed;
}

async function keepRollup({ db, clock, instruments }: Parts, rollup: Rollup): Promise<number> {
  const changed = await roll({ db: db.system, clock }, rollup);
  for (const period of rollupPeriods) {
    const { rolledUntil } = await progressOf(db.system, rollup.kind, period);
    instruments.rolledUntil.set({ kind: rollup.kind, period }, rolledUntil.getTime() / 1000);
  }
  return changed;
}
