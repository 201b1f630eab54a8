/** What the head of an answer says about everything that follows it. */
export type ResponseHead = {
  /** 1 of HTTP/1.1, 0 of HTTP/1.0; -1 until the status line was read. */
  minorVersion: number;
  status: number;
  /** -1 where there is none. */
  contentLength: number;
  chunked: boolean;
  /** Whether any Content-Encoding is another than `identity`. */
  encoded: boolean;
  /** `close` and `keep-alive` among the connection options. */
  close: boolean;
  keepAlive: boolean;
  /** Milliseconds that the server keeps an idle connection for, where it says so. */
  idleMs: number | null;
};

export const emptyHead = (): ResponseHead => ({
  minorVersion: -1,
  status: 0,
  contentLength: -1,
  chunked: false,
  encoded: false,
  close: false,
  keepAlive: false,
  idleMs: null,
});

/** `lineEnd` of a line whose end has not come yet. */
export const incomplete = -1;
/** `lineEnd` of a line with a byte that no line may have: a control character, a bare CR or LF. */
export const invalid = -2;

const tab = 0x09;
const lf = 0x0a;
const cr = 0x0d;
const space = 0x20;
const colon = 0x3a;

/** Where the CR of the line that begins at `start` is, looking no further than `end`. */
export function lineEnd(bytes: Buffer, start: number, end: number): number {
  for (let index = start; index < end; index++) {
    const byte = bytes[index]!;
    if ((byte >= space && byte !== 0x7f) || byte === tab) continue;
    if (byte !== cr) return invalid;
    if (index + 1 === end) return incomplete;
    return bytes[index + 1] === lf ? index : invalid;
  }
  return incomplete;
}

const statusLine = Buffer.from('HTTP/1.');
const digitZero = 0x30;
const isDigit = (byte: number): boolean => byte >= digitZero && byte <= 0x39;

/**
 * Whether the bytes, as far as they go, are the beginning of a status line (RFC 9112 §4). What speaks another
 * protocol is told by its first bytes, and not by the deadline.
 */
export function mayBeStatusLine(bytes: Buffer, start: number, end: number): boolean {
  for (let place = 0; place < 13 && start + place < end; place++) {
    const byte = bytes[start + place]!;
    if (place < 7) {
      if (byte !== statusLine[place]) return false;
    } else if (place === 7) {
      if (byte !== digitZero && byte !== digitZero + 1) return false;
    } else if (place === 8) {
      if (byte !== space) return false;
    } else if (place < 12) {
      if (!isDigit(byte)) return false;
    } else if (byte !== space && byte !== cr) {
      return false;
    }
  }
  return true;
}

/** Reads a status line; false where it is none. The reason phrase is nobody's business. */
export function readStatusLine(head: ResponseHead, bytes: Buffer, start: number, end: number): boolean {
  if (end - start < 12 || !mayBeStatusLine(bytes, start, end)) return false;
  head.minorVersion = bytes[start + 7]! - digitZero;
  head.status = 0;
  for (let index = start + 9; index < start + 12; index++) {
    head.status = head.status * 10 + bytes[index]! - digitZero;
  }
  return head.status >= 100;
}

// RFC 9110 §5.6.2: what a field name may be made of.
const isTokenByte = Uint8Array.from({ length: 256 }, (_, byte) =>
  /^[!#$%&'*+.^_`|~0-9A-Za-z-]$/.test(String.fromCharCode(byte)) ? 1 : 0,
);

/**
 * Reads a field line, already free of control characters; false where it is none, or contradicts one before.
 * Folded lines and space before the colon are refused (RFC 9112 §5): readers disagree about them.
 */
export function readField(head: ResponseHead, bytes: Buffer, start: number, end: number): boolean {
  let nameEnd = start;
  while (nameEnd < end && isTokenByte[bytes[nameEnd]!] === 1) nameEnd++;
  if (nameEnd === start || nameEnd === end || bytes[nameEnd] !== colon) return false;
  const read = readerOf(bytes, start, nameEnd);
  if (read === null) return true;
  let from = nameEnd + 1;
  let to = end;
  while (from < to && isBlank(bytes[from]!)) from++;
  while (to > from && isBlank(bytes[to - 1]!)) to--;
  return read(head, bytes, from, to);
}

const isBlank = (byte: number): boolean => byte === space || byte === tab;

type Read = (head: ResponseHead, bytes: Buffer, from: number, to: number) => boolean;

/** The fields that say something about framing or the connection; all others are passed over. */
function readerOf(bytes: Buffer, start: number, end: number): Read | null {
  switch (end - start) {
    case 10:
      if (isName('connection', bytes, start)) return readConnection;
      return isName('keep-alive', bytes, start) ? readKeepAlive : null;
    case 14:
      return isName('content-length', bytes, start) ? readContentLength : null;
    case 16:
      return isName('content-encoding', bytes, start) ? readContentEncoding : null;
    case 17:
      return isName('transfer-encoding', bytes, start) ? readTransferEncoding : null;
    default:
      return null;
  }
}

function isName(name: string, bytes: Buffer, start: number): boolean {
  // Among token bytes, setting this bit changes the case of letters and makes no other byte a letter or a hyphen.
  for (let index = 0; index < name.length; index++) {
    if ((bytes[start + index]! | 0x20) !== name.charCodeAt(index)) return false;
  }
  return true;
}

// More digits than a 64-bit length has are no length at all; fewer that no double holds are still too large.
const maxLengthDigits = 19;

function readContentLength(head: ResponseHead, bytes: Buffer, from: number, to: number): boolean {
  if (from === to || to - from > maxLengthDigits) return false;
  let length = 0;
  for (let index = from; index < to; index++) {
    const byte = bytes[index]!;
    if (!isDigit(byte)) return false;
    length = length * 10 + byte - digitZero;
  }
  if (head.contentLength !== -1 && head.contentLength !== length) return false;
  head.contentLength = length;
  return true;
}

function readTransferEncoding(head: ResponseHead, bytes: Buffer, from: number, to: number): boolean {
  // The one coding that a client has to know (RFC 9112 §7), once, and not in an answer of HTTP/1.0 (§6.1).
  if (head.chunked || head.minorVersion === 0) return false;
  head.chunked = valueOf(bytes, from, to) === 'chunked';
  return head.chunked;
}

function readContentEncoding(head: ResponseHead, bytes: Buffer, from: number, to: number): boolean {
  if (valueOf(bytes, from, to) !== 'identity') head.encoded = true;
  return true;
}

function readConnection(head: ResponseHead, bytes: Buffer, from: number, to: number): boolean {
  const value = valueOf(bytes, from, to);
  if (value === 'keep-alive') {
    head.keepAlive = true;
    return true;
  }
  for (const option of value.split(',')) {
    const name = option.trim();
    if (name === 'close') head.close = true;
    else if (name === 'keep-alive') head.keepAlive = true;
  }
  return true;
}

function readKeepAlive(head: ResponseHead, bytes: Buffer, from: number, to: number): boolean {
  const seconds = /(?:^|[,\s])timeout=(\d{1,9})(?:$|[,\s])/.exec(valueOf(bytes, from, to))?.[1];
  if (seconds !== undefined) head.idleMs = Number(seconds) * 1000;
  return true;
}

const valueOf = (bytes: Buffer, from: number, to: number): string =>
  bytes.toString('latin1', from, to).toLowerCase();

export type ReplyHeaders = Record<string, string | string[] | undefined>;

/** The fields of a head that was read without complaint, by their names in lower case. */
export function headersOf(head: string): ReplyHeaders {
  const headers = new Map<string, string | string[]>();
  for (const line of head.split('\r\n').slice(1)) {
    const nameEnd = line.indexOf(':');
    if (nameEnd === -1) continue;
    const name = line.slice(0, nameEnd).toLowerCase();
    const value = line.slice(nameEnd + 1).replace(/^[ \t]+|[ \t]+$/g, '');
    const before = headers.get(name);
    headers.set(name, before === undefined ? value : [before, value].flat());
  }
  return Object.fromEntries(headers);
}
