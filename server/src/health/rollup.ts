import type { RollupPeriod } from '../rollups/rollup.ts';
import { longestBackoffMs } from './breaker.ts';
import { staleAfterIntervals } from './evaluate.ts';

export const healthRollupTable = (period: RollupPeriod) => `server_health_${period}` as const;

/** The states that a time can have been in; of what could not be checked nothing is known. */
export const heldStates = ['healthy', 'degraded', 'critical', 'unreachable'] as const;

/**
 * What a check found is taken to be so until the next one, and for three intervals at most: after that, nothing is
 * known, as of a server's state. Who answers nobody is asked less and less often, so where two checks in a row found
 * nobody, the second holds for three times the time between them, if that can be a backoff at all. One alone does not:
 * a server that failed once before we went blind ourselves was not down for a quarter of an hour.
 */
export const holdIntervals = staleAfterIntervals;

/** The longest that a check may hold of a server with this interval, in milliseconds. */
export const longestHoldMs = (intervalMs: number): number =>
  holdIntervals * Math.max(intervalMs, longestBackoffMs);
