import { type RecentResults, recentSize } from './recent-results.ts';

/** Flapping begins above the one and ends below the other: in between, it stays as it was. */
export const flappingStartPercent = 30;
export const flappingStopPercent = 15;

/** A step counts 0.8 where it is the oldest of the twenty, 1.2 where it is the newest, evenly in between. */
const steps = recentSize - 1;
const weights = Array.from({ length: steps }, (_, age) => 1.2 - (0.4 * age) / (steps - 1));

/**
 * How much of the last 21 results is change, in percent: the steps from success to failure or back, newer ones
 * counting more, as a share of all twenty. A step to or from a result that is not known is none. Source:
 * https://assets.nagios.com/downloads/nagioscore/docs/nagioscore/4/en/flapping.html
 */
export function flappingPercent({ bits, known }: RecentResults): number {
  const knownSteps = Math.max(0, known - 1);
  let sum = 0;
  for (let changes = (bits ^ (bits >> 1)) & ((1 << knownSteps) - 1); changes !== 0; changes &= changes - 1) {
    sum += weights[31 - Math.clz32(changes & -changes)]!;
  }
  return (100 * sum) / steps;
}

/** Since when the server flaps, after a result at `at`; null: it does not. */
export function flappingAfter(since: Date | null, percent: number, at: Date): Date | null {
  if (since === null) return percent > flappingStartPercent ? at : null;
  return percent < flappingStopPercent ? null : since;
}
