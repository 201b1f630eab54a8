import type { Horizon, Horizons } from '../organizations/retention.ts';
import { invalidField } from '../platform/http/errors.ts';
import { linesAtOnce } from '../platform/http/export.ts';
import { historyNameOf, type MetricField, metricFields, type Period, periodFor, periodMs } from './metric.ts';
import { type Span, wholePeriods } from './period-sums.ts';

/** What a query can show of a gauge and of a counter; the first is what it shows unless told otherwise. */
export const gaugeValues = ['avg', 'min', 'max', 'last'] as const;
export const counterValues = ['rate', 'increase', 'last'] as const;
export type MetricValue = (typeof gaugeValues)[number] | (typeof counterValues)[number];
export const metricValues = [...new Set([...gaugeValues, ...counterValues])];

/** How the values of many servers become one. */
export const acrossFunctions = ['avg', 'sum', 'min', 'max', 'p50', 'p95', 'p99', 'count'] as const;
export type Across = (typeof acrossFunctions)[number];

export const answerForms = ['server', 'fleet', 'total'] as const;
export type AnswerForm = (typeof answerForms)[number];

/** Of an answer, so that it stays small enough to be built and read. */
const maxReturnedValues = 200_000;
/** Servers times periods that one query reads: for a second or two of the database, which gives it five. */
const maxReadValues = 1_000_000;
const maxPeriods = 10_000;
/** How many values `auto` lets be read of many servers: for a tenth of a second, or more where that were few periods. */
const autoReadValues = 50_000;
const autoReadMost = 200_000;
const fewPeriods = 24;

/** The value to show of a field; `invalid` where it has none of that kind. */
export function valueOf(field: MetricField, asked: MetricValue | undefined): MetricValue {
  const { kind } = metricFields[field];
  const allowed: readonly MetricValue[] = kind === 'gauge' ? gaugeValues : counterValues;
  const value = asked ?? allowed[0]!;
  if (!allowed.includes(value))
    throw invalidField('/value', `of ${field}, a ${kind}, must be one of ${allowed.join(', ')}`);
  return value;
}

/** Decimals shown of a value: those of the field where it is one of its numbers, and more where it was computed. */
export function decimalsOf(field: MetricField, value: MetricValue): number {
  const { decimals } = metricFields[field];
  if (value === 'avg') return Math.max(decimals, 2);
  return value === 'rate' ? decimals + 6 : decimals;
}

/** The unit of a value, as it is said to people. */
export const unitOf = (field: MetricField, value: MetricValue): string =>
  value === 'rate' ? `${metricFields[field].unit} per second` : metricFields[field].unit;

/** Periods of one length that follow each other, and from when on those are kept and told. */
export type Grid = { period: Period; from: Date; to: Date; count: number } & Horizon;

export type GridRequest = {
  from: Date;
  to: Date;
  period: Period | 'auto';
  points: number;
  /** Of how many servers each period is read, and returned one by one. */
  servers: number;
  returns: 'each' | 'one';
  horizons: Horizons;
  /** Whether it is read part by part, so that only how many periods there are is limited. */
  inParts?: boolean;
  /** Where in the request the range and the period stand. */
  pointer: (name: string) => string;
};

/** The periods that begin in the range. Refuses a range without one, and more than can be read or returned. */
export function gridOf(request: GridRequest): Grid {
  const { from, to, pointer } = request;
  const period = request.period === 'auto' ? autoPeriod(request) : request.period;
  const span = wholePeriods(period, { from, to }) as Span & { from: Date; to: Date };
  const count = (span.to.getTime() - span.from.getTime()) / periodMs(period);
  if (count <= 0) throw invalidField(pointer('start_time'), `no period of ${period} begins in the range`);
  const tooMuch = whyTooMuch(request, period, count);
  if (tooMuch !== null) throw invalidField(pointer('period'), tooMuch);
  return { period, ...span, count, ...request.horizons[historyNameOf(period)] };
}

function autoPeriod({ from, to, points, servers, returns, horizons }: GridRequest): Period {
  const rangeMs = to.getTime() - from.getTime();
  const within = (values: number): Period =>
    periodFor({ from, to }, Math.min(points, Math.floor(values / Math.max(servers, 1))), horizons);
  if (returns === 'each') return within(maxReturnedValues);
  const quick = within(autoReadValues);
  return rangeMs / periodMs(quick) < fewPeriods ? within(autoReadMost) : quick;
}

function whyTooMuch(
  { servers, returns, inParts }: GridRequest,
  period: Period,
  count: number,
): string | null {
  const [most, what] = returns === 'each' ? [maxReturnedValues, 'returned'] : [maxReadValues, 'read'];
  if (count > maxPeriods)
    return `the range has ${count} periods of ${period}, and ${maxPeriods} at most are ${what}: choose longer periods or a shorter range`;
  if (inParts !== true && count * servers > most)
    return (
      `${servers} servers in ${count} periods of ${period} are ${count * servers} values, and ${most} at most are ` +
      `${what}: choose fewer servers, longer periods or a shorter range`
    );
  return null;
}

/** Where each period begins. */
export const beginsOf = ({ period, from, count }: Grid): string[] =>
  Array.from({ length: count }, (_, place) =>
    new Date(from.getTime() + place * periodMs(period)).toISOString(),
  );

/** Servers times periods that a part is read of: as much as `auto` lets be read of a few periods. */
const partReadValues = autoReadMost;
const maxPartServers = 1_000;

/** Of how many servers at once a grid is read part by part. */
export const serversAtOnce = ({ count }: Grid, returns: GridRequest['returns']): number => {
  const values = returns === 'each' ? linesAtOnce : partReadValues;
  return Math.min(maxPartServers, Math.max(1, Math.floor(values / count)));
};

/** A grid in parts that follow each other, for so many servers to be read of each. */
export function partsOf(grid: Grid, servers: number): Grid[] {
  const { from, count } = grid;
  const lengthMs = periodMs(grid.period);
  const most = Math.max(1, Math.floor(partReadValues / Math.max(servers, 1)));
  const at = (place: number): Date => new Date(from.getTime() + place * lengthMs);
  return Array.from({ length: Math.ceil(count / most) }, (_, part) => {
    const [first, end] = [part * most, Math.min(count, (part + 1) * most)];
    return { ...grid, from: at(first), to: at(end), count: end - first };
  });
}
