/** One line of the report. It states what was measured and leaves the verdict to the reader. */
export type Measurement = {
  name: string;
  measured: number;
  unit: string;
  /** The same work by something plainer or well known, measured in the same run. */
  reference?: { name: string; value: number };
  /** The project's budget for this number, as text: `≤ 100`. */
  bar?: string;
};

const COLUMNS = ['name', 'measured', 'unit', 'reference', 'ratio', 'bar'] as const;

/** An aligned table: text to the left, numbers to the right, `–` where there is nothing to say. */
export function formatTable(measurements: readonly Measurement[]): string {
  const rows = [COLUMNS.map(String), ...measurements.map(cells)];
  const widths = COLUMNS.map((_, column) => Math.max(...rows.map(row => row[column]!.length)));
  const isNumber = (column: number): boolean => COLUMNS[column] === 'measured' || COLUMNS[column] === 'ratio';
  return rows
    .map(row =>
      row
        .map((cell, column) =>
          isNumber(column) ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** The same as JSON lines, with the ratio worked out; for scripts that compare runs. */
export function formatJson(measurements: readonly Measurement[]): string {
  return measurements
    .map(measurement => JSON.stringify({ ...measurement, ratio: ratio(measurement) }))
    .join('\n');
}

function cells(measurement: Measurement): string[] {
  const { name, measured, unit, reference, bar } = measurement;
  return [
    name,
    formatNumber(measured),
    unit,
    reference === undefined ? '–' : `${formatNumber(reference.value)} ${reference.name}`,
    ratio(measurement)?.toFixed(2) ?? '–',
    bar ?? '–',
  ];
}

/** Measured divided by reference; undefined where there is none to divide by. */
function ratio({ measured, reference }: Measurement): number | undefined {
  return reference === undefined || reference.value === 0 ? undefined : measured / reference.value;
}

/** The middle of the values, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted[sorted.length >> 1];
  const lower = sorted[(sorted.length - 1) >> 1];
  if (upper === undefined || lower === undefined) throw new RangeError('There is no median of nothing');
  return (lower + upper) / 2;
}

/** The smallest of the sorted values that this share of them does not exceed. */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  const value = sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
  if (value === undefined) throw new RangeError('There is no quantile of nothing');
  return value;
}

/** Three significant digits for small numbers, whole ones grouped by thousands from 100 upwards. */
function formatNumber(value: number): string {
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en');
  return String(Number(value.toPrecision(3)));
}
