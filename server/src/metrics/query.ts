import { invalidField } from '../platform/http/errors.ts';
import { type MetricField, metricFields, type Period, periodFor, periodMs } from './metric.ts';
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
export const maxReturnedValues = 200_000;
/** Servers times periods that one query reads, for about two seconds of the database. */
export const maxReadValues = 3_000_000;
export const maxPeriods = 10_000;
/** How many values `auto` lets be read of many servers: a tenth of a second or so. */
const autoReadValues = 250_000;

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

/** Periods of one length that follow each other. */
export type Grid = { period: Period; from: Date; to: Date; count: number };

export type GridRequest = {
  from: Date;
  to: Date;
  period: Period | 'auto';
  points: number;
  /** Of how many servers each period is read, and returned one by one. */
  servers: number;
  returns: 'each' | 'one';
  /** Where in the request the range and the period stand. */
  pointer: (name: string) => string;
};

/** The periods that begin in the range. Refuses a range without one, and more than can be read or returned. */
export function gridOf(request: GridRequest): Grid {
  const { from, to, servers, returns, pointer } = request;
  const most = Math.max(servers, 1);
  const budget = returns === 'each' ? maxReturnedValues : autoReadValues;
  const period =
    request.period === 'auto'
      ? periodFor(to.getTime() - from.getTime(), Math.min(request.points, Math.floor(budget / most)))
      : request.period;
  const span = wholePeriods(period, { from, to }) as Span & { from: Date; to: Date };
  const count = (span.to.getTime() - span.from.getTime()) / periodMs(period);
  if (count <= 0) throw invalidField(pointer('start_time'), `no period of ${period} begins in the range`);
  const [values, limit, what] =
    returns === 'each'
      ? [count * servers, maxReturnedValues, 'returned']
      : [count * servers, maxReadValues, 'read'];
  if (count > maxPeriods) {
    throw invalidField(
      pointer('period'),
      `the range has ${count} periods of ${period}, and ${maxPeriods} at most are ${what}: choose longer periods or a shorter range`,
    );
  }
  if (values > limit) {
    throw invalidField(
      pointer('period'),
      `${servers} servers in ${count} periods of ${period} are ${values} values, and ${limit} at most are ${what}: ` +
        'choose fewer servers, longer periods or a shorter range',
    );
  }
  return { period, ...span, count };
}

/** Where each period begins. */
export const beginsOf = ({ period, from, count }: Grid): string[] =>
  Array.from({ length: count }, (_, place) =>
    new Date(from.getTime() + place * periodMs(period)).toISOString(),
  );
