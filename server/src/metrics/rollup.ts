import type { RollupPeriod } from '../rollups/rollup.ts';
import { type MetricField, metricEntries } from './metric.ts';

export const metricRollupTable = (period: RollupPeriod) => `server_metrics_${period}` as const;

export const gauges: readonly MetricField[] = metricEntries
  .filter(([, { kind }]) => kind === 'gauge')
  .map(([field]) => field);
export const counters: readonly MetricField[] = metricEntries
  .filter(([, { kind }]) => kind === 'counter')
  .map(([field]) => field);

/**
 * How far back the value before a counter's first one in a period is looked for: a little more than the longest interval
 * there is. What grew over a longer gap is nobody's: it counts nowhere.
 */
export const counterGapMs = 25 * 3_600_000;
