import { Type } from 'typebox';
import type { FailureReason, NotCheckedReason } from '../health/check.ts';
import type { Horizons } from '../organizations/retention.ts';
import { parseInstant } from '../platform/instant.ts';
import { rollupPeriodMs, rollupPeriods } from '../rollups/rollup.ts';

/** What a field's numbers mean over time, and with it how a longer period sums them up. */
export type MetricKind =
  /** A state at one moment: a longer period shows the mean. */
  | 'gauge'
  /** Grows until the server restarts: a longer period shows the last value, so that it stays a counter. */
  | 'counter';

type MetricSpec = {
  kind: MetricKind;
  unit: string;
  /** The type of its column, which bounds `max`. */
  column: 'real' | 'integer' | 'bigint' | 'numeric';
  max: number;
  decimals: number;
};

const percent = { kind: 'gauge', unit: 'percent', column: 'real', max: 100, decimals: 2 } as const;
const bytes = {
  kind: 'counter',
  unit: 'bytes',
  column: 'bigint',
  max: Number.MAX_SAFE_INTEGER,
  decimals: 0,
} as const;
const count = (unit: string) =>
  ({ kind: 'gauge', unit, column: 'integer', max: 2_147_483_647, decimals: 0 }) as const;

/** The 12 fields of the contract, in its order. All start at 0; `max` is the largest that can be stored. */
export const metricFields = {
  cpu_percent: percent,
  memory_percent: percent,
  disk_percent: percent,
  network_rx_bytes: bytes,
  network_tx_bytes: bytes,
  active_services: count('services'),
  failed_services: count('services'),
  total_services: count('services'),
  llm_requests: {
    kind: 'counter',
    unit: 'requests',
    column: 'bigint',
    max: Number.MAX_SAFE_INTEGER,
    decimals: 0,
  },
  llm_cost_usd: { kind: 'counter', unit: 'US dollars', column: 'numeric', max: 999_999_999_999, decimals: 6 },
  active_users: count('users'),
  total_users: count('users'),
} as const satisfies Record<string, MetricSpec>;

export type MetricField = keyof typeof metricFields;
export type Metrics = Partial<Record<MetricField, number>>;

export const metricEntries = Object.entries(metricFields) as readonly (readonly [MetricField, MetricSpec])[];

/** The periods there are. `1m` is what was collected, one row per collection; the others are summed up from it. */
export const periods = ['1m', ...rollupPeriods] as const;
export type Period = (typeof periods)[number];

export const periodMs = (period: Period): number => (period === '1m' ? 60_000 : rollupPeriodMs[period]);

/** The name by which the collections and sums of a period are kept. */
export const historyNameOf = (period: Period) => (period === '1m' ? 'metrics' : period);

/**
 * The shortest period of which a range, both ends included, has at most so many, and of which all of it is kept; days
 * where there is none.
 */
export function periodFor(
  { from, to }: { from: Date; to: Date },
  points: number,
  horizons: Horizons,
): Period {
  const rangeMs = to.getTime() - from.getTime();
  return (
    periods.find(
      period =>
        Math.floor(rangeMs / periodMs(period)) + 1 <= points &&
        horizons[historyNameOf(period)].keptFrom <= from,
    ) ?? '1d'
  );
}

const columnOf = ({ kind, unit, max, decimals }: MetricSpec) => {
  const range = { minimum: 0, maximum: max, description: `${unit}, ${kind}` };
  return Type.Union([decimals === 0 ? Type.Integer(range) : Type.Number(range), Type.Null()]);
};

/** One row of a server's metrics as the API shows it: null where the server reported nothing. */
export const MetricRow = Type.Object(
  {
    id: Type.Integer(),
    server_id: Type.String({ format: 'uuid' }),
    timestamp: Type.String({
      format: 'date-time',
      description: 'When it was collected, or where the period begins.',
    }),
    period: Type.String({ enum: [...periods] }),
    ...Object.fromEntries(metricEntries.map(([field, spec]) => [field, columnOf(spec)])),
    created_at: Type.String({ format: 'date-time' }),
  },
  { title: 'MetricRow', additionalProperties: false },
);

export type DroppedField = { field: MetricField | 'timestamp'; why: string };

/** What a collection brought. `reportedAt` is the server's own clock, where it told. */
export type ParsedMetrics =
  | { ok: true; metrics: Metrics; reportedAt: Date | null; dropped: readonly DroppedField[] }
  | { ok: false; reason: FailureReason | NotCheckedReason; detail: string };

/** Where Ops-Center's `/api/v1/system-metrics/current` has what the contract has at the top. */
const nestedPaths: { readonly [Field in MetricField]?: readonly (readonly [string, string])[] } = {
  cpu_percent: [
    ['cpu', 'usage_percent'],
    ['cpu', 'percent'],
  ],
  memory_percent: [
    ['memory', 'usage_percent'],
    ['memory', 'percent'],
  ],
  disk_percent: [
    ['disk', 'usage_percent'],
    ['disk', 'percent'],
  ],
  network_rx_bytes: [['network', 'bytes_received']],
  network_tx_bytes: [['network', 'bytes_sent']],
};

/**
 * Reads the answer of a server: the contract's flat object or Ops-Center's nested one. A field that is not
 * what the contract says is left out and named, and the others are kept; one that is missing or null was not
 * reported. An answer without a single usable field is no success.
 */
export function parseMetrics(payload: unknown): ParsedMetrics {
  if (!isFields(payload)) return badPayload('The answer is JSON, but not an object.');
  const metrics: Metrics = {};
  const dropped: DroppedField[] = [];
  for (const [field, spec] of metricEntries) {
    const found = find(payload, field);
    if (found === null) continue;
    const checked = check(found, spec);
    if (typeof checked === 'number') metrics[field] = checked;
    else dropped.push({ field, why: checked.why });
  }
  if (Object.keys(metrics).length === 0) {
    const named = dropped.map(({ field, why }) => `${field} ${why}`).join('; ');
    return badPayload(
      dropped.length === 0 ? 'The answer has none of the metrics.' : `No metric is usable: ${named}.`,
    );
  }
  const reportedAt = instantOf(payload['timestamp'] ?? null);
  if (reportedAt === 'invalid') dropped.push({ field: 'timestamp', why: 'is not an RFC 3339 time' });
  return { ok: true, metrics, reportedAt: reportedAt === 'invalid' ? null : reportedAt, dropped };
}

const badPayload = (detail: string): ParsedMetrics => ({ ok: false, reason: 'bad_payload', detail });

type Fields = Readonly<Record<string, unknown>>;
const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function find(payload: Fields, field: MetricField): unknown {
  const nested = (nestedPaths[field] ?? []).map(([group, key]) => {
    const fields = payload[group];
    return isFields(fields) ? fields[key] : null;
  });
  return [payload[field], ...nested].find(value => value !== undefined && value !== null) ?? null;
}

/**
 * The value as it is stored. Rounding comes before the range, because 100.00000000000001 is how floating
 * point spells a full disk, and because PostgreSQL refuses a `real` as small as 1e-320, with its whole batch.
 */
function check(value: unknown, { max, decimals }: MetricSpec): number | { why: string } {
  if (typeof value !== 'number') return { why: 'is not a number' };
  if (!Number.isFinite(value)) return { why: 'is not a finite number' };
  if (value < 0) return { why: 'is negative' };
  if (decimals === 0 && !Number.isInteger(value)) return { why: 'is not an integer' };
  const scale = 10 ** decimals;
  const rounded = decimals === 0 ? value : Math.round(value * scale) / scale;
  // JSON has a negative zero, too.
  return rounded > max ? { why: `is above ${max}` } : Math.abs(rounded);
}

// Unlike a person's query, a protocol must say which zone it means.
const zoned = /(?:[Zz]|[+-]\d\d:\d\d)$/;

function instantOf(value: unknown): Date | null | 'invalid' {
  if (value === null) return null;
  const instant = typeof value === 'string' && zoned.test(value) ? parseInstant(value) : null;
  return instant ?? 'invalid';
}
