import type { Context } from '../context.ts';
import type { Horizon, Horizons } from '../organizations/retention.ts';
import { invalidField } from '../platform/http/errors.ts';
import { closedRangeOf } from '../platform/http/time-range.ts';
import { answerable } from './uptime.ts';
import type { HealthRange } from './uptime-store.ts';

const dayMs = 86_400_000;

/** The range that a request names, by default the last 24 hours, as it can be answered. One without a past is `invalid`. */
export function healthRangeOf(
  { clock, settings }: Pick<Context, 'clock' | 'settings'>,
  request: { start_time?: string; end_time?: string },
  { part, horizons }: { part: 'query' | 'body'; horizons: Horizons },
): HealthRange & Horizon {
  const now = clock.now();
  const asked = closedRangeOf(request, { part, now, lengthMs: dayMs });
  const pointer = part === 'query' ? '/query/start_time' : '/start_time';
  if (asked.from >= now) throw invalidField(pointer, 'must lie in the past');
  if (asked.from >= asked.to) throw invalidField(pointer, 'must be before end_time');
  return { ...answerable(asked, now, horizons), ...horizons['1d'], intervalMs: settings.healthIntervalMs };
}
