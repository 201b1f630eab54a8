import type { Parts } from './inspect.ts';

const meterEveryMs = 5_000;

/** Tells how far it is, at most every 5 s. */
export function meter(
  { clock, onProgress }: Pick<Parts, 'clock' | 'onProgress'>,
  what: string,
): (bytes: number) => void {
  let nextMs = clock.monotonicMs() + meterEveryMs;
  return bytes => {
    if (clock.monotonicMs() < nextMs) return;
    nextMs = clock.monotonicMs() + meterEveryMs;
    onProgress(`${mebibytes(bytes)} MiB ${what}`);
  };
}

/** MiB with one digit behind the point. */
export const mebibytes = (bytes: number): string => (bytes / 1024 ** 2).toFixed(1);
