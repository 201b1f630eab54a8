import type { Horizons } from '../organizations/retention.ts';
import { type RollupPeriod, rollupPeriodMs, rollupPeriods } from '../rollups/rollup.ts';
import type { CheckStatus } from './history.ts';
import { type ResponseSums, type ResponseTimes, responseTimesOf } from './response-times.ts';
import type { heldStates } from './rollup.ts';

type HeldState = (typeof heldStates)[number];

/** What is stored of checks, added up. */
export type HealthSums = Record<`${CheckStatus}_checks`, number> &
  Record<`${HeldState}_ms`, number> &
  ResponseSums;

/**
 * For how much of a time it was known how a server is, and for how much of that it was up: healthy or degraded. `percent`
 * is rounded down to four decimals, so that 100 means that it was never down; null where nothing is known.
 */
export type Uptime = { percent: number | null; up_ms: number; known_ms: number };

export const uptimeOf = (sums: Readonly<Record<`${HeldState}_ms`, number>>): Uptime => {
  const up_ms = sums.healthy_ms + sums.degraded_ms;
  const known_ms = up_ms + sums.critical_ms + sums.unreachable_ms;
  const percent = known_ms === 0 ? null : Math.floor((1e6 * up_ms) / known_ms) / 1e4;
  return { percent, up_ms, known_ms };
};

/** How one server, or several, were in a time that was `lengthMs` long for each of them. */
export type HealthReport = {
  uptime: Uptime;
  states: Record<`${HeldState}_ms` | 'unknown_ms', number>;
  checks: Record<CheckStatus, number>;
  response_time_ms: ResponseTimes | null;
};

export function reportOf(
  sums: HealthSums,
  { lengthMs, servers }: { lengthMs: number; servers: number },
): HealthReport {
  const uptime = uptimeOf(sums);
  const { healthy_ms, degraded_ms, critical_ms, unreachable_ms } = sums;
  return {
    uptime,
    states: {
      healthy_ms,
      degraded_ms,
      critical_ms,
      unreachable_ms,
      unknown_ms: Math.max(0, servers * lengthMs - uptime.known_ms),
    },
    checks: {
      healthy: sums.healthy_checks,
      degraded: sums.degraded_checks,
      critical: sums.critical_checks,
      unreachable: sums.unreachable_checks,
      error: sums.error_checks,
    },
    response_time_ms: responseTimesOf(sums),
  };
}

/**
 * A range as it can be answered: not beyond now, and where checks are no longer kept, widened to whole periods of the
 * shortest sums that are.
 */
export function answerable(
  { from, to }: { from: Date; to: Date },
  now: Date,
  horizons: Horizons,
): { from: Date; to: Date } {
  const lengthAt = (instant: Date): number => {
    if (horizons.checks.keptFrom <= instant) return 1;
    const shortest = rollupPeriods.find(period => horizons[period].keptFrom <= instant);
    return rollupPeriodMs[shortest ?? longest];
  };
  const [first, last] = [lengthAt(from), lengthAt(to)];
  return {
    from: new Date(Math.floor(from.getTime() / first) * first),
    to: new Date(Math.min(now.getTime(), Math.ceil(to.getTime() / last) * last)),
  };
}

const longest: RollupPeriod = rollupPeriods.at(-1)!;

/** Periods of one length that follow each other. `to` is the end of the last one, which may still be filling. */
export type Timeline = { period: RollupPeriod; from: Date; to: Date; count: number };

/** The periods that a range lies in: of this length, or of the shortest of which there are at most `points` and all are kept. */
export function timelineOf(
  { from, to }: { from: Date; to: Date },
  asked: RollupPeriod | 'auto',
  { points, horizons }: { points: number; horizons: Horizons },
): Timeline {
  const periodsIn = (period: RollupPeriod): Timeline => {
    const lengthMs = rollupPeriodMs[period];
    const [first, end] = [Math.floor(from.getTime() / lengthMs), Math.ceil(to.getTime() / lengthMs)];
    return { period, from: new Date(first * lengthMs), to: new Date(end * lengthMs), count: end - first };
  };
  if (asked !== 'auto') return periodsIn(asked);
  const shortest = rollupPeriods
    .map(periodsIn)
    .find(timeline => timeline.count <= points && horizons[timeline.period].keptFrom <= timeline.from);
  return shortest ?? periodsIn(longest);
}
