import { type RollupPeriod, rollupPeriodMs, rollupPeriods } from './rollup.ts';

/** A part of a range, and what tells it: sums of these periods, or what was collected. */
export type Segment = { from: Date; to: Date; tier: RollupPeriod | 'collected' };

/**
 * What tells a range with the fewest rows, in order: the longest periods, up to `longest`, where they lie in it whole and
 * have been summed up (`rolledUntil`); shorter ones at its ends; and what was collected where there is nothing else.
 */
export function segmentsOf(
  range: { from: Date; to: Date },
  rolledUntil: Readonly<Record<RollupPeriod, Date>>,
  longest: RollupPeriod | 'collected',
): Segment[] {
  const { from, to } = range;
  if (from >= to) return [];
  if (longest === 'collected') return [{ from, to, tier: longest }];
  const shorter = rollupPeriods[rollupPeriods.indexOf(longest) - 1] ?? 'collected';
  const lengthMs = rollupPeriodMs[longest];
  const first = new Date(Math.ceil(from.getTime() / lengthMs) * lengthMs);
  const endMs = Math.min(to.getTime(), rolledUntil[longest].getTime());
  const end = new Date(Math.floor(endMs / lengthMs) * lengthMs);
  if (first >= end) return segmentsOf(range, rolledUntil, shorter);
  return [
    ...segmentsOf({ from, to: first }, rolledUntil, shorter),
    { from: first, to: end, tier: longest },
    ...segmentsOf({ from: end, to }, rolledUntil, shorter),
  ];
}
