import { Type } from 'typebox';
import { KeptFrom } from '../organizations/kept-from.ts';

export const Instant = Type.String({ format: 'date-time' });
export const Count = Type.Integer({ minimum: 0 });
const Ms = Type.Integer({ minimum: 0, description: 'Milliseconds.' });

export const Uptime = Type.Object(
  {
    percent: Type.Union([Type.Number(), Type.Null()], {
      description: 'up_ms of known_ms, rounded down to four decimals; null where nothing is known.',
    }),
    up_ms: Type.Integer({ description: 'For so long it was healthy or degraded.' }),
    known_ms: Type.Integer({ description: 'For so long it was known how it is.' }),
  },
  { title: 'Uptime', additionalProperties: false },
);

/** The fields of a report on a range. */
export const report = {
  start_time: Instant,
  end_time: Instant,
  kept_from: KeptFrom,
  uptime: Uptime,
  states: Type.Object(
    { healthy_ms: Ms, degraded_ms: Ms, critical_ms: Ms, unreachable_ms: Ms, unknown_ms: Ms },
    {
      title: 'HeldStates',
      additionalProperties: false,
      description:
        'For how long each was so. What a check found holds until the next one, for three intervals at most; of the ' +
        'rest nothing is known.',
    },
  ),
  checks: Type.Object(
    { healthy: Count, degraded: Count, critical: Count, unreachable: Count, error: Count },
    {
      title: 'CheckCounts',
      additionalProperties: false,
      description: 'What checks found; error: we could not check.',
    },
  ),
  response_time_ms: Type.Union(
    [
      Type.Object(
        {
          count: Count,
          avg: Type.Number(),
          min: Count,
          max: Count,
          p50: Count,
          p95: Count,
          p99: Count,
        },
        {
          title: 'ResponseTimes',
          additionalProperties: false,
          description: 'Of the checks that were answered; the percentiles are at most 1 % off.',
        },
      ),
      Type.Null(),
    ],
    { description: 'Null where nothing has answered.' },
  ),
};
