import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from '../../server/src/platform/db.ts';
import { rollupPeriodMs } from '../../server/src/rollups/rollup.ts';
import { withDatabase } from './fleet-data.ts';
import type { Scene } from './polled-fleet.ts';
import type { Measurement } from './report.ts';

const SAMPLE_MS = 1_000;

/**
 * Watches for so long how far the sums of five minutes are behind, of checks and of metrics: how long ago what has been
 * summed up ends, at the most, in periods. The one that is still filling is part of that, so just in time is up to 1.
 */
export function watchRollups({ controlPlane }: Scene, seconds: number): Promise<number> {
  return withDatabase(controlPlane, async ({ system }) => {
    let most = 0;
    for (
      const endMs = performance.now() + seconds * 1000;
      performance.now() < endMs;
      await sleep(SAMPLE_MS)
    ) {
      const { behindMs } = await system.one(sql<{ behindMs: number }>`
        select (extract(epoch from now() - min(rolled_until)) * 1000)::float8 as "behindMs"
        from rollup_progress where period = '5m'`);
      most = Math.max(most, behindMs / rollupPeriodMs['5m']);
    }
    return most;
  });
}

export const rollupLag = (periods: number): Measurement => ({
  name: 'sums of five minutes behind, the most',
  measured: periods,
  unit: 'periods',
  bar: '≤ 2',
});
