/**
 * The values of a column as PostgreSQL reads an array in binary format (`array_recv` and the `…_recv` of the type, in
 * its src/backend/utils/adt). A batch of 1,000 states costs us half of what it did as the texts of arrays, where each
 * of its 7,000 instants took half a microsecond, and PostgreSQL an eighth less.
 */

type Encoding = {
  /** As in pg_type.dat. */
  oid: number;
  /** What a value takes at most, in bytes. */
  room(value: unknown): number;
  /** Writes a value where there is room for it, and returns where it ends. */
  write(value: unknown, at: number): number;
};

const encodings = {
  boolean: { oid: 16, room: () => 1, write: writeBoolean },
  bigint: { oid: 20, room: () => 8, write: writeBigint },
  smallint: { oid: 21, room: () => 2, write: writeSmallint },
  integer: { oid: 23, room: () => 4, write: writeInteger },
  text: { oid: 25, room: textRoom, write: writeText },
  json: { oid: 114, room: textRoom, write: writeText },
  real: { oid: 700, room: () => 4, write: writeReal },
  'double precision': { oid: 701, room: () => 8, write: writeDouble },
  timestamptz: { oid: 1184, room: () => 8, write: writeInstant },
  uuid: { oid: 2950, room: () => 16, write: writeUuid },
  jsonb: { oid: 3802, room: value => 1 + textRoom(value), write: writeJsonb },
} satisfies Record<string, Encoding>;

export type BinaryType = keyof typeof encodings;

// Arrays are written here first: only at the end is it known how long they are.
let bytes = Buffer.allocUnsafe(64 * 1024);
let view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

/**
 * A parameter of the type `type[]`: numbers and bigints, booleans, instants, texts (which `json` and `jsonb` are here)
 * and null. Throws a RangeError for a value that the type cannot hold.
 */
export function binaryArray(type: BinaryType, values: readonly unknown[]): Buffer {
  const { oid, room, write }: Encoding = encodings[type];
  let at = values.length === 0 ? 12 : 20;
  let hasNulls = 0;
  for (let index = 0; index < values.length; index += 1) {
    const value = values[index];
    if (value === null) {
      reserve(at + 4);
      view.setInt32(at, -1);
      at += 4;
      hasNulls = 1;
    } else {
      reserve(at + 4 + room(value));
      const end = write(value, at + 4);
      view.setInt32(at, end - at - 4);
      at = end;
    }
  }
  view.setInt32(0, values.length === 0 ? 0 : 1); // dimensions
  view.setInt32(4, hasNulls);
  view.setInt32(8, oid);
  if (values.length > 0) {
    view.setInt32(12, values.length);
    view.setInt32(16, 1); // the index of the first
  }
  return Buffer.from(bytes.subarray(0, at));
}

function reserve(end: number): void {
  if (end <= bytes.length) return;
  const larger = Buffer.allocUnsafe(2 * end);
  bytes.copy(larger);
  bytes = larger;
  view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function refuse(type: string, value: unknown): never {
  throw new RangeError(`not a ${type}: ${String(value)}`);
}

function writeBoolean(value: unknown, at: number): number {
  if (typeof value !== 'boolean') refuse('boolean', value);
  bytes[at] = value ? 1 : 0;
  return at + 1;
}

function writeSmallint(value: unknown, at: number): number {
  if (typeof value !== 'number' || (value << 16) >> 16 !== value) refuse('smallint', value);
  view.setInt16(at, value);
  return at + 2;
}

function writeInteger(value: unknown, at: number): number {
  if (typeof value !== 'number' || (value | 0) !== value) refuse('integer', value);
  view.setInt32(at, value);
  return at + 4;
}

function writeBigint(value: unknown, at: number): number {
  if (Number.isSafeInteger(value)) writeSafeInteger(value as number, at);
  else if (typeof value === 'bigint' && BigInt.asIntN(64, value) === value) view.setBigInt64(at, value);
  else refuse('bigint', value);
  return at + 8;
}

function writeReal(value: unknown, at: number): number {
  if (typeof value !== 'number' || Number.isFinite(Math.fround(value)) !== Number.isFinite(value))
    refuse('real', value);
  view.setFloat32(at, value);
  return at + 4;
}

function writeDouble(value: unknown, at: number): number {
  if (typeof value !== 'number') refuse('double precision', value);
  view.setFloat64(at, value);
  return at + 8;
}

/** In microseconds since 2000. */
const epochMs = Date.UTC(2000);
// PostgreSQL begins in 4714 BC; its end is after that of a Date.
const firstMs = Date.UTC(-4712);

function writeInstant(value: unknown, at: number): number {
  const ms = value instanceof Date ? value.getTime() : Number.NaN;
  if (!(ms >= firstMs)) refuse('timestamptz', value);
  const us = 1000 * (ms - epochMs);
  if (Number.isSafeInteger(us)) writeSafeInteger(us, at);
  else view.setBigInt64(at, 1000n * BigInt(ms - epochMs));
  return at + 8;
}

function writeSafeInteger(value: number, at: number): void {
  view.setInt32(at, Math.floor(value / 2 ** 32));
  view.setUint32(at + 4, value >>> 0);
}

/** By the code of a character below 128: the digit that it is, or 255. */
const digits = new Uint8Array(128).fill(255);
for (let digit = 0; digit < 16; digit += 1) {
  const character = digit.toString(16);
  digits[character.charCodeAt(0)] = digit;
  digits[character.toUpperCase().charCodeAt(0)] = digit;
}
const hyphens = [8, 13, 18, 23];
/** Where the two digits of each byte begin. */
const pairs = Uint8Array.of(0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34);

function writeUuid(value: unknown, at: number): number {
  if (typeof value !== 'string' || value.length !== 36) refuse('uuid', value);
  let codes = 0;
  let seen = 0;
  for (let byte = 0; byte < 16; byte += 1) {
    const pair = pairs[byte]!;
    const first = value.charCodeAt(pair);
    const second = value.charCodeAt(pair + 1);
    const high = digits[first & 127]!;
    const low = digits[second & 127]!;
    codes |= first | second;
    seen |= high | low;
    bytes[at + byte] = (high << 4) | low;
  }
  if (codes > 127 || seen > 15 || hyphens.some(index => value[index] !== '-')) refuse('uuid', value);
  return at + 16;
}

/** A character is three bytes at most, and half of a pair of four. */
function textRoom(value: unknown): number {
  return typeof value === 'string' ? 3 * value.length : refuse('text', value);
}

function writeText(value: unknown, at: number): number {
  const text = value as string;
  // A call into the runtime costs more than a short word.
  if (text.length > 24) return at + bytes.write(text, at);
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code > 127) return at + bytes.write(text, at);
    bytes[at + index] = code;
  }
  return at + text.length;
}

function writeJsonb(value: unknown, at: number): number {
  bytes[at] = 1; // version of the format
  return writeText(value, at + 1);
}
