import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { type HealthStatus, healthStatuses } from '../events/event.ts';
import type { Component } from '../health/check.ts';
import type { FlappingChange, HealthState, StatusChange } from '../health/evaluate.ts';
import { checkStatuses, type HealthCheckRow } from '../health/history.ts';
import { type OrganizationId, parseId, type ServerId } from '../ids.ts';
import { type Metrics, metricEntries } from '../metrics/metric.ts';
import type { MetricsRow } from '../metrics/store.ts';
import type { HealthChange, HealthWrite, MetricsWrite } from './store.ts';

/** How the batches of a queue are written to disk. */
export type Codec<T> = {
  encode(batch: readonly T[]): Uint8Array;
  /** Null: not what `encode` makes. A spool file is an outside byte like any other. */
  decode(record: Uint8Array): readonly T[] | null;
};

/** Checks one value as JSON gives it, and returns it with its own type. Throws where it is another. */
type Shape<T> = (value: unknown) => T;

class WrongShape extends Error {}
const expected = (what: string): never => {
  throw new WrongShape(what);
};

const text: Shape<string> = value => (typeof value === 'string' ? value : expected('text'));
const truth: Shape<boolean> = value => (typeof value === 'boolean' ? value : expected('a boolean'));
const number: Shape<number> = value => (typeof value === 'number' ? value : expected('a number'));
const integer: Shape<number> = value =>
  Number.isSafeInteger(value) ? (value as number) : expected('an integer');
const instant: Shape<Date> = value => {
  const date = new Date(text(value));
  return Number.isFinite(date.getTime()) && date.toISOString() === value ? date : expected('an instant');
};
const id =
  <T extends OrganizationId | ServerId>(): Shape<T> =>
  value =>
    parseId<T>(text(value)) ?? expected('an id');
const oneOf =
  <T extends string>(allowed: readonly T[]): Shape<T> =>
  value =>
    allowed.includes(value as T) ? (value as T) : expected(allowed.join(' or '));
const orNull =
  <T>(shape: Shape<T>): Shape<T | null> =>
  value =>
    value === null ? null : shape(value);
const optional =
  <T>(shape: Shape<T>): Shape<T | undefined> =>
  value =>
    value === undefined ? undefined : shape(value);
const listOf =
  <T>(shape: Shape<T>): Shape<T[]> =>
  value =>
    Array.isArray(value) ? value.map(shape) : expected('a list');
const anyObject: Shape<object> = value =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? value : expected('an object');
const record =
  <T>(shape: Shape<T>): Shape<Record<string, T>> =>
  value =>
    // Not by assignment: a component may be called __proto__.
    Object.fromEntries(Object.entries(anyObject(value)).map(([key, each]) => [key, shape(each)]));

/** Every field of T must be named, so that a field that is added to T is not forgotten here. */
function fields<T extends object>(shapes: { [Key in keyof T]-?: Shape<T[Key]> }): Shape<T> {
  const entries = Object.entries(shapes) as [string, Shape<unknown>][];
  return value => {
    const found = anyObject(value) as Record<string, unknown>;
    const made: Record<string, unknown> = {};
    for (const [key, shape] of entries) {
      const field = shape(Object.hasOwn(found, key) ? found[key] : undefined);
      if (field !== undefined) made[key] = field;
    }
    return made as T;
  };
}

// Measured: 1,000 health states, 648 KB of JSON, become 46 KB in 3.5 ms (level 6: 42 KB in 6.1 ms).
const level = 1;
// Each result of a batch is bounded by what a probe reads. This only ends what is no batch.
const maxBatchBytes = 512 * 1024 * 1024;

/** JSON, packed. A time of ours is a whole number of milliseconds, so ISO 8601 keeps it exactly. */
function codecOf<T>(shape: Shape<T>): Codec<T> {
  const list = listOf(shape);
  return {
    encode: batch => deflateRawSync(JSON.stringify(batch), { level }),
    decode(bytes) {
      try {
        return list(JSON.parse(inflateRawSync(bytes, { maxOutputLength: maxBatchBytes }).toString()));
      } catch {
        return null;
      }
    },
  };
}

const organizationId = id<OrganizationId>();
const serverId = id<ServerId>();
const status: Shape<HealthStatus> = oneOf(healthStatuses);
const metrics = fields<Metrics>(
  Object.fromEntries(metricEntries.map(([field]) => [field, optional(number)])) as {
    [Field in keyof Metrics]-?: Shape<number | undefined>;
  },
);

export const healthChecks: Codec<HealthCheckRow> = codecOf(
  fields<HealthCheckRow>({
    organizationId,
    serverId,
    at: instant,
    status: oneOf(checkStatuses),
    reason: text,
    responseTimeMs: orNull(integer),
    databaseHealthy: orNull(truth),
    redisHealthy: orNull(truth),
    servicesHealthy: orNull(truth),
    errorMessage: orNull(text),
    errorDetails: orNull(anyObject),
  }),
);

export const metricsRows: Codec<MetricsRow> = codecOf(
  fields<MetricsRow>({ organizationId, serverId, at: instant, metrics, reportedAt: orNull(instant) }),
);

const statusChange = fields<StatusChange & { at: Date }>({
  from: status,
  to: status,
  reason: text,
  flapping: optional(value => (value === true ? value : expected('true'))),
  at: instant,
});
const flappingChange = fields<FlappingChange & { at: Date }>({
  isFlapping: truth,
  percent: number,
  at: instant,
});
const change: Shape<HealthChange> = value =>
  'from' in anyObject(value) ? statusChange(value) : flappingChange(value);

export const healthWrites: Codec<HealthWrite> = codecOf(
  fields<HealthWrite>({
    organizationId,
    id: serverId,
    name: text,
    slot: integer,
    epoch: integer,
    seq: integer,
    state: fields<HealthState>({
      status,
      reason: text,
      detail: orNull(text),
      since: instant,
      lastCheckedAt: orNull(instant),
      lastSeenAt: orNull(instant),
      consecutiveFailures: integer,
      consecutiveSuccesses: integer,
      recentResults: integer,
      knownResults: integer,
      suspectSince: orNull(instant),
      recoveringSince: orNull(instant),
      flappingSince: orNull(instant),
      breakerOpenedAt: orNull(instant),
    }),
    components: orNull(
      record(fields<Component>({ healthy: truth, critical: truth, status: text, message: optional(text) })),
    ),
    version: orNull(text),
    responseTimeMs: orNull(integer),
    changes: listOf(change),
  }),
);

export const metricsWrites: Codec<MetricsWrite> = codecOf(
  fields<MetricsWrite>({
    organizationId,
    id: serverId,
    epoch: integer,
    at: instant,
    metrics: orNull(metrics),
    reason: text,
  }),
);
