import { isUtf8 } from 'node:buffer';

type JsonReason = 'not_utf8' | 'not_json' | 'too_deep' | 'not_finite';
export type JsonResult = { ok: true; value: unknown } | { ok: false; reason: JsonReason; detail: string };

export const maxJsonDepth = 32;

const quote = 0x22;
const backslash = 0x5c;

/**
 * Parses JSON that somebody else wrote. Refuses invalid UTF-8, nesting deeper than `maxJsonDepth` and numbers
 * that no double can hold. Duplicate keys keep the last value and `__proto__` is a plain key, as JSON.parse has it.
 */
export function parseJson(body: Buffer): JsonResult {
  if (!isUtf8(body)) return { ok: false, reason: 'not_utf8', detail: 'is not UTF-8' };
  // First, because JSON.parse takes five million nested arrays and three seconds of the event loop for them.
  if (isDeeperThan(body, maxJsonDepth)) {
    return { ok: false, reason: 'too_deep', detail: `is nested deeper than ${maxJsonDepth} levels` };
  }
  let value: unknown;
  try {
    value = JSON.parse(body.toString());
  } catch {
    return { ok: false, reason: 'not_json', detail: 'is not JSON' };
  }
  if (!isFinite(value))
    return { ok: false, reason: 'not_finite', detail: 'contains a number beyond the range of a double' };
  return { ok: true, value };
}

/** Whether PostgreSQL takes the text: it refuses U+0000 and unpaired surrogates, and fails the whole batch. */
export const isStorableText = (text: string): boolean => text.isWellFormed() && !text.includes('\0');

/** Counts open brackets outside of strings, without building anything. */
function isDeeperThan(body: Buffer, limit: number): boolean {
  let depth = 0;
  for (let index = 0; index < body.length; index++) {
    const byte = body[index]!;
    if (byte === quote) {
      index = endOfString(body, index);
    } else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > limit) return true;
    } else if (byte === 0x5d || byte === 0x7d) {
      depth--;
    }
  }
  return false;
}

function endOfString(body: Buffer, start: number): number {
  let index = start + 1;
  while (index < body.length && body[index] !== quote) index += body[index] === backslash ? 2 : 1;
  return index;
}

/** JSON.parse turns 1e400 into Infinity. Recursion is bounded by `maxJsonDepth`. */
function isFinite(value: unknown): boolean {
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value !== 'object' || value === null) return true;
  if (Array.isArray(value)) return value.every(isFinite);
  // Of what JSON.parse makes, all keys are own ones; a list of them would be made only to be thrown away.
  for (const key in value) {
    if (!isFinite((value as Record<string, unknown>)[key])) return false;
  }
  return true;
}
