/** The last 21 results, as Nagios keeps them to tell flapping: 20 steps from one to the next. */
export const recentSize = 21;
const mask = (1 << recentSize) - 1;

/** `bits`: newest in the lowest one, 1 = failed. `known`: how many of them are results, 21 at most. */
export type RecentResults = { bits: number; known: number };

export const withResult = ({ bits, known }: RecentResults, failed: boolean): RecentResults => ({
  bits: ((bits << 1) | Number(failed)) & mask,
  known: Math.min(recentSize, known + 1),
});

/** Without the newest `count`. What had made room for them is not remembered. */
export const withoutNewest = ({ bits, known }: RecentResults, count: number): RecentResults => ({
  bits: bits >> count,
  known: Math.max(0, known - count),
});

/** How many of the newest `count` results failed, and how many of those there are. */
export function failuresAmong(recent: RecentResults, count: number): { failed: number; known: number } {
  const known = Math.min(recent.known, count);
  let failed = 0;
  for (let bits = recent.bits & ((1 << known) - 1); bits !== 0; bits &= bits - 1) failed += 1;
  return { failed, known };
}
