/** One sample; `at` in milliseconds since 1970, `value` null where nothing was reported. */
export type Sample = { at: number; value: number | null };

/**
 * The rate per second of a counter, from each sample to the next. A counter that became smaller was reset, by
 * a restart, so what was counted since then is unknown: that step is null, neither a negative rate nor a peak
 * (Prometheus' rate() assumes a start at zero, which a host's network counters do not keep to). Samples come
 * in order of time; the first has no rate.
 */
export function rateOf(samples: readonly Sample[]): Sample[] {
  return samples.map((sample, n) => {
    const before = samples[n - 1];
    return { at: sample.at, value: before === undefined ? null : stepRate(before, sample) };
  });
}

function stepRate(before: Sample, after: Sample): number | null {
  if (before.value === null || after.value === null) return null;
  const seconds = (after.at - before.at) / 1000;
  const counted = after.value - before.value;
  return seconds <= 0 || counted < 0 ? null : counted / seconds;
}

/** Missing more than one and a half samples in a row is a gap; being a little late is not. */
const gapFactor = 2.5;

/**
 * The longest distance between two samples that is no gap, in milliseconds: two and a half times the usual
 * one. Null where there are too few samples to tell.
 */
export function maxStepMs(times: readonly number[]): number | null {
  if (times.length < 3) return null;
  const steps = times
    .slice(1)
    .map((time, n) => time - times[n]!)
    .toSorted((a, b) => a - b);
  return steps[Math.floor(steps.length / 2)]! * gapFactor;
}

/** The samples with an empty one inside every gap, so that a line breaks there instead of bridging it. */
export function withGaps(samples: readonly Sample[]): Sample[] {
  const limitMs = maxStepMs(samples.map(sample => sample.at));
  if (limitMs === null) return [...samples];
  return samples.flatMap((sample, n) => {
    const before = samples[n - 1];
    if (before === undefined || sample.at - before.at <= limitMs) return [sample];
    return [{ at: before.at + (sample.at - before.at) / 2, value: null }, sample];
  });
}

export type Extent = { latest: number; min: number; max: number };

/** The newest value and the range of all, or null where there is none. */
export function extentOf(samples: readonly Sample[]): Extent | null {
  const values = samples.flatMap(({ value }) => (value === null ? [] : [value]));
  const latest = values.at(-1);
  if (latest === undefined) return null;
  return { latest, min: Math.min(...values), max: Math.max(...values) };
}
