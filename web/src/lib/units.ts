/** What stands where there is no value. Never a zero: nobody measured one. */
export const noData = '–';

// A thin space keeps a number and its unit together without pulling them apart.
const thinSpace = '\u2009';

// The interface is English, and so are its numbers; a browser's other language would mix both.
const oneDecimal = new Intl.NumberFormat('en', { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

type Maybe = number | null | undefined;

/** `42.5 %`, one decimal always, so that a column of them lines up. */
export const formatPercent = (value: Maybe): string =>
  value == null ? noData : `${oneDecimal.format(value)}${thinSpace}%`;

/** `1,234`. */
export const formatCount = (value: Maybe): string => (value == null ? noData : whole.format(value));

/** `84 ms`, from one second on `1.2 s`. */
export function formatMilliseconds(valueMs: Maybe): string {
  if (valueMs == null) return noData;
  return valueMs < 1000
    ? `${whole.format(valueMs)}${thinSpace}ms`
    : `${oneDecimal.format(valueMs / 1000)}${thinSpace}s`;
}

const rateUnits = ['B/s', 'kB/s', 'MB/s', 'GB/s', 'TB/s'];

/** Bytes per second in SI units: `1.4 MB/s`. */
export function formatByteRate(bytesPerSecond: Maybe): string {
  if (bytesPerSecond == null) return noData;
  let value = bytesPerSecond;
  let unit = 0;
  // 999.95 would be rounded to 1,000.0 and still carry the smaller unit.
  while (value >= 999.95 && unit < rateUnits.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? whole.format(value) : oneDecimal.format(value)}${thinSpace}${rateUnits[unit]}`;
}
