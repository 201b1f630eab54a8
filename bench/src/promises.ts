import type { Observation } from './observe.ts';
import type { Measurement } from './report.ts';

/** What must not happen to servers that are polled, whatever the scale. */
export function promises({ cadence, changes }: Observation): Measurement[] {
  const judged = { name: 'checks judged', value: cadence.judged };
  return [
    { name: 'servers never checked', measured: cadence.neverChecked, unit: 'servers', bar: '0' },
    {
      name: 'checks missed (a gap of two intervals)',
      measured: cadence.missed,
      unit: 'checks',
      reference: judged,
      bar: '0',
    },
    { name: 'checks that overlap', measured: cadence.overlaps, unit: 'checks', reference: judged, bar: '0' },
    // Those that answer do so all the time: whoever changed was called so wrongly.
    {
      name: 'changes told of servers that answer',
      measured: changes,
      unit: 'events',
      reference: judged,
      bar: '0',
    },
  ];
}
