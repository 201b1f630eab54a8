import { Type } from 'typebox';
import { parseInstant } from '../instant.ts';
import { invalidField } from './errors.ts';

const Time = (what: string) =>
  Type.Optional(
    Type.String({ maxLength: 40, description: `${what}, inclusive: ISO 8601; without a zone it is UTC.` }),
  );

/** The query parameters of a route over a range of time. */
export const timeRangeQuery = { start_time: Time('Where the range starts'), end_time: Time('Where it ends') };

export type TimeRange = { from: Date | null; to: Date | null };

/** The range a query names, both ends inclusive; null is open. A wrong time or order is `invalid`. */
export function timeRangeOf(query: { start_time?: string; end_time?: string }): TimeRange {
  const from = instantOf(query.start_time, '/query/start_time');
  const to = instantOf(query.end_time, '/query/end_time');
  if (from !== null && to !== null && from > to)
    throw invalidField('/query/start_time', 'must not be after end_time');
  return { from, to };
}

function instantOf(text: string | undefined, pointer: string): Date | null {
  if (text === undefined) return null;
  const instant = parseInstant(text);
  if (instant === null) throw invalidField(pointer, 'must be an ISO 8601 time like 2026-01-31T12:00:00Z');
  return instant;
}
