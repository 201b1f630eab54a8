/** How late polls start: what 99 of 100 of the last half to whole minute do not exceed. */
export type Lateness = {
  add(lateMs: number, nowMs: number): void;
  /** In milliseconds, at most a fifth too high; 0 where nothing was polled. */
  p99Ms(nowMs: number): number;
};

const halfMs = 30_000;
// Four buckets to an octave from 1 ms: the upper bound of the last one is 18 hours.
const bucketsPerOctave = 4;
const bucketCount = 26 * bucketsPerOctave;

const bucketOf = (ms: number): number =>
  ms <= 1 ? 0 : Math.min(bucketCount - 1, Math.ceil(Math.log2(ms) * bucketsPerOctave));
const upperBoundMs = (bucket: number): number => (bucket === 0 ? 0 : 2 ** (bucket / bucketsPerOctave));

/** Two histograms that take turns, so that a minute of 5,000 polls a second takes no more memory than an idle one. */
export function createLateness(): Lateness {
  let current = new Uint32Array(bucketCount);
  let previous = new Uint32Array(bucketCount);
  let half = 0;

  function turn(nowMs: number): void {
    const now = Math.floor(nowMs / halfMs);
    if (now === half) return;
    previous = now === half + 1 ? current : new Uint32Array(bucketCount);
    current = new Uint32Array(bucketCount);
    half = now;
  }

  return {
    add(lateMs, nowMs) {
      turn(nowMs);
      current[bucketOf(lateMs)]! += 1;
    },
    p99Ms(nowMs) {
      turn(nowMs);
      let count = 0;
      for (let bucket = 0; bucket < bucketCount; bucket += 1) count += current[bucket]! + previous[bucket]!;
      let beyond = Math.floor(count / 100);
      for (let bucket = bucketCount - 1; bucket > 0; bucket -= 1) {
        beyond -= current[bucket]! + previous[bucket]!;
        if (beyond < 0) return upperBoundMs(bucket);
      }
      return 0;
    },
  };
}
