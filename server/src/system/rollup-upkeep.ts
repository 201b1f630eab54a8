import type { Context } from '../context.ts';
import { roll } from '../rollups/roll.ts';
import { type Rollup, rollupPeriods } from '../rollups/rollup.ts';
import { progressOf } from '../rollups/store.ts';

/** One pass over what one kind of history is summed up to, and how far that has come. Returns how many rows changed. */
export async function sumUp(
  { db, clock, instruments }: Pick<Context, 'db' | 'clock' | 'instruments'>,
  rollup: Rollup,
): Promise<number> {
  const changed = await roll({ db: db.system, clock }, rollup);
  for (const period of rollupPeriods) {
    const { rolledUntil } = await progressOf(db.system, rollup.kind, period);
    instruments.rolledUntil.set({ kind: rollup.kind, period }, rolledUntil.getTime() / 1000);
  }
  return changed;
}
