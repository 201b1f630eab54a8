import { spread } from '../platform/spread.ts';
import { failuresAmong, type RecentResults } from './recent-results.ts';

/** Failures in a row that open the breaker, whatever was before. */
export const breakerFailures = 5;
/** So many of the last twenty results open it too, once there are at least ten. */
const ratioWindow = 20;
const ratioMinimum = 10;
const ratioToOpen = 0.5;

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
/** How long the breaker has been open, and how far apart checks are from then on, the longest first. */
const backoff = [
  { afterMs: 24 * hourMs, intervalMs: 5 * minuteMs },
  { afterMs: hourMs, intervalMs: minuteMs },
] as const;
export const longestBackoffMs = backoff[0].intervalMs;
export const backoffJitter = 0.1;

/** Whether a failure, counted in already, opens the breaker. */
export function opensBreaker(consecutiveFailures: number, recent: RecentResults): boolean {
  if (consecutiveFailures >= breakerFailures) return true;
  const { failed, known } = failuresAmong(recent, ratioWindow);
  return known >= ratioMinimum && failed >= ratioToOpen * known;
}

/**
 * How far apart the health checks of a server are, in milliseconds: as configured, and while its breaker is
 * open as configured for an hour, then 60 s, after a day 300 s, but never more often than configured. Moved by
 * up to 10 % either way, always the same for one `id`, so that a rack that died in one moment is not asked in
 * one moment for ever.
 */
export function healthIntervalMs(
  state: { breakerOpenedAt: Date | null },
  configuredMs: number,
  at: Date,
  id: string,
): number {
  if (state.breakerOpenedAt === null) return configuredMs;
  const openMs = at.getTime() - state.breakerOpenedAt.getTime();
  const step = backoff.find(({ afterMs }) => openMs >= afterMs);
  const intervalMs = Math.max(configuredMs, step?.intervalMs ?? 0);
  return intervalMs * (1 - backoffJitter + 2 * backoffJitter * spread('backoff', id));
}

/**
 * Whether metrics are collected: not where the breaker is open, nor where nothing answers at all. The health
 * check is already trying there, and one wasted connection is enough.
 */
export const isMetricsDue = (state: { status: string; breakerOpenedAt: Date | null }): boolean =>
  state.breakerOpenedAt === null && state.status !== 'unreachable';
