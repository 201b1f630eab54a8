/**
 * The part of HTTP/1.1 (RFC 9112) that a polling client speaks: GET without a body. It works on bytes and
 * writes into an object the caller reuses, because the simulator shares its cores with what it measures.
 */

/** The two endpoints a managed server has; their order is the order of every table indexed by kind. */
export const KINDS = ['health', 'metrics'] as const;
export type Kind = (typeof KINDS)[number];

/** What was asked for; `other` is any other target. */
export type Head = {
  /** Where the next request begins in the buffer. */
  end: number;
  kind: Kind | 'other';
  /** Where the bearer token lies in the buffer; both 0 when there is none. */
  tokenStart: number;
  tokenEnd: number;
  keepAlive: boolean;
};

/** `partial`: more bytes are needed. The others are refusals after which the connection cannot go on. */
export type Parsed = 'complete' | 'partial' | 'malformed' | 'too_large' | 'method_not_allowed';

export const HEAD_LIMIT_BYTES = 8192;

const CR = 13;
const LF = 10;
const SPACE = 32;
const TAB = 9;
const HEAD_END = Buffer.from('\r\n\r\n');
const GET = Buffer.from('GET /');
const REQUEST_LINES: readonly [Kind, Buffer][] = [
  ['health', Buffer.from('GET /health HTTP/1.1\r\n')],
  ['metrics', Buffer.from('GET /api/v1/metrics/current HTTP/1.1\r\n')],
];
const VERSION = Buffer.from(' HTTP/1.1\r');
const AUTHORIZATION = Buffer.from('authorization:');
const CONNECTION = Buffer.from('connection:');
const CONTENT_LENGTH = Buffer.from('content-length:');
const TRANSFER_ENCODING = Buffer.from('transfer-encoding:');
const BEARER = Buffer.from('bearer ');
const CLOSE = Buffer.from('close');

/** Parses one request head that starts at `offset`. `into` is meaningful only after `complete`. */
export function parseHead(buffer: Buffer, offset: number, into: Head): Parsed {
  const blankLine = buffer.indexOf(HEAD_END, offset);
  if (blankLine === -1) return buffer.length - offset > HEAD_LIMIT_BYTES ? 'too_large' : 'partial';
  if (blankLine - offset > HEAD_LIMIT_BYTES) return 'too_large';

  into.end = blankLine + HEAD_END.length;
  into.kind = 'other';
  into.tokenStart = 0;
  into.tokenEnd = 0;
  into.keepAlive = true;

  for (const [kind, line] of REQUEST_LINES) {
    if (equalsAt(buffer, offset, line)) into.kind = kind;
  }
  const firstLineEnd = buffer.indexOf(LF, offset);
  if (into.kind === 'other') {
    if (!equalsAt(buffer, firstLineEnd - VERSION.length, VERSION)) return 'malformed';
    if (!equalsAt(buffer, offset, GET)) return 'method_not_allowed';
  }
  return parseFields(buffer, firstLineEnd + 1, into);
}

function parseFields(buffer: Buffer, offset: number, into: Head): Parsed {
  const end = into.end - 2;
  for (let start = offset; start < end; ) {
    const lineEnd = lineFeedAfter(buffer, start);
    // Only three initial letters matter; a whole comparison per header would cost more than the rest.
    const initial = buffer[start]! | 0x20;
    if (initial === 0x61 && matchesAt(buffer, start, AUTHORIZATION)) {
      const value = skipSpace(buffer, start + AUTHORIZATION.length);
      if (matchesAt(buffer, value, BEARER)) {
        into.tokenStart = value + BEARER.length;
        into.tokenEnd = buffer[lineEnd - 1] === CR ? lineEnd - 1 : lineEnd;
      }
    } else if (initial === 0x63) {
      if (matchesAt(buffer, start, CONNECTION)) {
        into.keepAlive = !matchesAt(buffer, skipSpace(buffer, start + CONNECTION.length), CLOSE);
      } else if (matchesAt(buffer, start, CONTENT_LENGTH)) {
        return 'malformed';
      }
    } else if (initial === 0x74 && matchesAt(buffer, start, TRANSFER_ENCODING)) {
      return 'malformed';
    }
    start = lineEnd + 1;
  }
  return 'complete';
}

function lineFeedAfter(buffer: Buffer, offset: number): number {
  let at = offset;
  while (buffer[at] !== LF) at++;
  return at;
}

function skipSpace(buffer: Buffer, offset: number): number {
  let at = offset;
  while (buffer[at] === SPACE || buffer[at] === TAB) at++;
  return at;
}

/** Whether exactly these bytes lie there. A read outside the buffer compares as different. */
function equalsAt(buffer: Buffer, offset: number, expected: Buffer): boolean {
  for (let i = 0; i < expected.length; i++) {
    if (buffer[offset + i] !== expected[i]) return false;
  }
  return true;
}

/** As `equalsAt`, for an expectation in lower case against bytes in any case. */
function matchesAt(buffer: Buffer, offset: number, expected: Buffer): boolean {
  for (let i = 0; i < expected.length; i++) {
    const byte = buffer[offset + i]!;
    const lower = byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte;
    if (lower !== expected[i]) return false;
  }
  return true;
}
