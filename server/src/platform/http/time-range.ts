import { Type } from 'typebox';
import { parseInstant } from '../instant.ts';
import { invalidField } from './errors.ts';

const Time = (what: string) =>
  Type.Optional(
    Type.String({ maxLength: 40, description: `${what}, inclusive: ISO 8601; without a zone it is UTC.` }),
  );

/** The parameters of a route over a range of time. */
export const timeRangeQuery = { start_time: Time('Where the range starts'), end_time: Time('Where it ends') };

export type TimeRange = { from: Date | null; to: Date | null };

/** The range a request names, both ends inclusive; null is open. A wrong time or order is `invalid`. */
export function timeRangeOf(
  { start_time, end_time }: { start_time?: string; end_time?: string },
  part: 'query' | 'body' = 'query',
): TimeRange {
  const at = part === 'query' ? '/query' : '';
  const from = instantOf(start_time, `${at}/start_time`);
  const to = instantOf(end_time, `${at}/end_time`);
  if (from !== null && to !== null && from > to)
    throw invalidField(`${at}/start_time`, 'must not be after end_time');
  return { from, to };
}

/** The same with both ends: without an end up to now, and without a start from so long before the end. */
export function closedRangeOf(
  request: { start_time?: string; end_time?: string },
  { part, now, lengthMs }: { part: 'query' | 'body'; now: Date; lengthMs: number },
): { from: Date; to: Date } {
  const { from, to } = timeRangeOf(request, part);
  const end = to ?? (from !== null && from > now ? from : now);
  return { from: from ?? new Date(end.getTime() - lengthMs), to: end };
}

function instantOf(text: string | undefined, pointer: string): Date | null {
  if (text === undefined) return null;
  const instant = parseInstant(text);
  if (instant === null) throw invalidField(pointer, 'must be an ISO 8601 time like 2026-01-31T12:00:00Z');
  return instant;
}
