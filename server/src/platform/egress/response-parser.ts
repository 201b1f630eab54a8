import type { EgressReason } from './fault.ts';
import { GrowingBuffer } from './growing-buffer.ts';
import {
  emptyHead,
  incomplete,
  invalid,
  lineEnd,
  mayBeStatusLine,
  type ResponseHead,
  readField,
  readStatusLine,
} from './response-head.ts';

/** What an answer turned out to be, complete or refused. */
export type ParsedResponse =
  | {
      ok: true;
      status: number;
      /** Status line and fields as they came, in ISO 8859-1. */
      head: string;
      body: Buffer;
      /** Whether the connection is fit for another request, as far as this answer and its bytes tell. */
      keep: boolean;
      /** Milliseconds that the server will keep it for, where it says so. */
      idleMs: number | null;
    }
  | { ok: false; reason: EgressReason; detail: string };

export const maxHeaderBytes = 16 * 1024;
const maxInterimResponses = 8;
// 16 hexadecimal digits are 64 bits; the largest body allowed is far below what a double holds exactly.
const maxSizeDigits = 16;

const lf = 0x0a;
const cr = 0x0d;
const semicolon = 0x3b;

type Stage = 'head' | 'sized' | 'chunk_size' | 'chunk' | 'chunk_end' | 'trailers' | 'until_close' | 'over';

/**
 * One answer of HTTP/1.1 (RFC 9112) to a GET, out of the bytes as they come. Strict: what two readers could
 * understand in two ways is refused. Redirects, encoded bodies and bodies over `maxBodyBytes` are refused as
 * soon as the head shows them. How the bytes are cut into pieces changes nothing about the result.
 */
export class ResponseParser {
  readonly #maxBodyBytes: number;
  readonly #maxWireBytes: number;
  readonly #body: GrowingBuffer;
  #stage: Stage = 'head';
  #head: ResponseHead = emptyHead();
  #headText = '';
  #interim = 0;
  #received = 0;
  /** The beginning of a head or a line whose rest has not come. */
  #carry: GrowingBuffer | null = null;
  /** How much of the carried head is read. */
  #headRead = 0;
  /** Of the body or the present chunk. */
  #missing = 0;
  /** What chunk extensions and trailers may still use up. */
  #extraBytes = maxHeaderBytes;

  constructor(maxBodyBytes: number) {
    this.#maxBodyBytes = maxBodyBytes;
    // Chunk sizes and extensions are not body: room for honest ones, and an end to the rest.
    this.#maxWireBytes = 2 * maxBodyBytes + 2 * maxHeaderBytes + 64 * 1024;
    this.#body = new GrowingBuffer(maxBodyBytes);
  }

  /** Whether any byte has come. */
  get started(): boolean {
    return this.#received > 0;
  }

  /** Takes the first `length` bytes of `bytes`, which it does not keep. Null while the answer is incomplete. */
  push(bytes: Buffer, length: number): ParsedResponse | null {
    this.#received += length;
    const beyond = Math.max(0, this.#received - this.#maxWireBytes);
    const carry = this.#carry;
    carry?.append(bytes, 0, length, null);
    const result =
      carry === null ? this.#read(bytes, length - beyond) : this.#read(carry.bytes, carry.length - beyond);
    if (result === null && beyond > 0) {
      return refuse('too_large', `the answer is larger than ${this.#maxWireBytes} bytes on the wire`);
    }
    if (result?.ok && beyond > 0) result.keep = false;
    return result;
  }

  /** The server has ended the connection: complete only where that is how the answer ends. */
  end(): ParsedResponse {
    if (this.#stage === 'until_close') return this.#complete(false);
    return refuse('reset', 'connection closed before the answer was complete');
  }

  #read(bytes: Buffer, end: number): ParsedResponse | null {
    let place = 0;
    for (;;) {
      let next: number | ParsedResponse | null;
      switch (this.#stage) {
        case 'head':
          next = this.#readHead(bytes, place, end);
          break;
        case 'chunk_size':
          next = this.#readChunkSize(bytes, place, end);
          break;
        case 'chunk_end':
          next = this.#readChunkEnd(bytes, place, end);
          break;
        case 'trailers':
          next = this.#readTrailer(bytes, place, end);
          break;
        case 'sized':
        case 'chunk':
        case 'until_close':
          next = this.#readBody(bytes, place, end);
          break;
        case 'over':
          return this.#complete(place === end);
      }
      if (typeof next !== 'number') return next;
      place = next;
    }
  }

  /** Keeps what has no end yet for the next piece. */
  #wait(bytes: Buffer, start: number, end: number): null {
    if (this.#carry !== null && start === 0) return null;
    this.#carry = null;
    if (start < end) {
      this.#carry = new GrowingBuffer(Infinity);
      this.#carry.append(bytes, start, end, null);
    }
    return null;
  }

  #readHead(bytes: Buffer, start: number, end: number): number | ParsedResponse | null {
    const limit = Math.min(end, start + maxHeaderBytes);
    const head = this.#head;
    let line = start + this.#headRead;
    for (;;) {
      const close = lineEnd(bytes, line, limit);
      if (close === invalid) return malformed();
      if (close === incomplete) {
        if (head.minorVersion === -1 && !mayBeStatusLine(bytes, start, limit)) return malformed();
        if (limit - start === maxHeaderBytes) return headersTooLarge();
        this.#headRead = line - start;
        return this.#wait(bytes, start, end);
      }
      if (close === line) break;
      const read = head.minorVersion === -1 ? readStatusLine : readField;
      if (!read(head, bytes, line, close)) return malformed();
      line = close + 2;
    }
    // An empty line where the status line should be.
    if (head.minorVersion === -1) return malformed();
    this.#headRead = 0;
    const refusal = head.status < 200 ? this.#passInterim() : this.#judgeHead();
    if (refusal !== null) return refusal;
    if (head.status >= 200) this.#headText = bytes.toString('latin1', start, line);
    return line + 2;
  }

  #passInterim(): ParsedResponse | null {
    if (this.#head.status === 101) return refuse('bad_response', 'the answer changes the protocol');
    if (++this.#interim > maxInterimResponses) return refuse('bad_response', 'too many interim answers');
    this.#head = emptyHead();
    return null;
  }

  #judgeHead(): ParsedResponse | null {
    const { status, contentLength, chunked, encoded } = this.#head;
    if (chunked && contentLength !== -1) return malformed();
    if (status >= 300 && status < 400) {
      return refuse('redirect', `answered ${status}: redirects are not followed`);
    }
    // Inflating is where 200 KB become 200 MB; nobody was asked to compress.
    if (encoded) return refuse('bad_encoding', 'the body is compressed, although identity was asked for');
    if (status === 204) {
      this.#stage = 'over';
    } else if (chunked) {
      this.#stage = 'chunk_size';
    } else if (contentLength === -1) {
      this.#stage = 'until_close';
      this.#missing = this.#maxBodyBytes;
    } else {
      if (contentLength > this.#maxBodyBytes) return this.#bodyTooLarge();
      this.#stage = contentLength === 0 ? 'over' : 'sized';
      this.#missing = contentLength;
    }
    return null;
  }

  #readBody(bytes: Buffer, start: number, end: number): number | ParsedResponse | null {
    const taken = Math.min(this.#missing, end - start);
    if (taken > 0) {
      this.#missing -= taken;
      this.#body.append(bytes, start, start + taken, this.#stage === 'sized' ? this.#missing : null);
    }
    if (this.#stage === 'until_close' && start + taken < end) return this.#bodyTooLarge();
    if (this.#stage === 'until_close' || this.#missing > 0) return this.#wait(bytes, end, end);
    this.#stage = this.#stage === 'sized' ? 'over' : 'chunk_end';
    return start + taken;
  }

  #readChunkSize(bytes: Buffer, start: number, end: number): number | ParsedResponse | null {
    const limit = Math.min(end, start + maxSizeDigits + this.#extraBytes);
    const close = lineEnd(bytes, start, limit);
    if (close === invalid) return malformed();
    if (close === incomplete) {
      if (limit - start === maxSizeDigits + this.#extraBytes) return extrasTooLarge();
      return this.#wait(bytes, start, end);
    }
    let size = 0;
    let place = start;
    for (; place < close; place++) {
      const digit = hexDigit(bytes[place]!);
      if (digit === -1) break;
      size = size * 16 + digit;
    }
    const digits = place - start;
    if (digits === 0 || digits > maxSizeDigits) return malformed();
    while (place < close && (bytes[place] === 0x20 || bytes[place] === 0x09)) place++;
    if (place < close ? bytes[place] !== semicolon : place > start + digits) return malformed();
    this.#extraBytes = Math.max(0, this.#extraBytes - (close - start - digits));
    if (size > this.#maxBodyBytes - this.#body.length) return this.#bodyTooLarge();
    this.#missing = size;
    this.#stage = size === 0 ? 'trailers' : 'chunk';
    return close + 2;
  }

  #readChunkEnd(bytes: Buffer, start: number, end: number): number | ParsedResponse | null {
    if (start < end && bytes[start] !== cr) return malformed();
    if (end - start < 2) return this.#wait(bytes, start, end);
    if (bytes[start + 1] !== lf) return malformed();
    this.#stage = 'chunk_size';
    return start + 2;
  }

  /** Trailers have to be well-formed, and are forgotten. */
  #readTrailer(bytes: Buffer, start: number, end: number): number | ParsedResponse | null {
    const limit = Math.min(end, start + this.#extraBytes + 2);
    const close = lineEnd(bytes, start, limit);
    if (close === invalid) return malformed();
    if (close === incomplete) {
      if (limit - start === this.#extraBytes + 2) return extrasTooLarge();
      return this.#wait(bytes, start, end);
    }
    if (close === start) {
      this.#stage = 'over';
      return close + 2;
    }
    if (!readField(emptyHead(), bytes, start, close)) return malformed();
    this.#extraBytes = Math.max(0, this.#extraBytes - (close + 2 - start));
    return close + 2;
  }

  #complete(reusable: boolean): ParsedResponse {
    const { status, minorVersion, close, keepAlive, idleMs } = this.#head;
    const keep = reusable && !close && (minorVersion === 1 || keepAlive);
    return { ok: true, status, head: this.#headText, body: this.#body.take(), keep, idleMs };
  }

  #bodyTooLarge(): ParsedResponse {
    return refuse('too_large', `the body is larger than ${this.#maxBodyBytes} bytes`);
  }
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

const refuse = (reason: EgressReason, detail: string): ParsedResponse => ({ ok: false, reason, detail });
const malformed = () => refuse('bad_response', 'the answer is not valid HTTP/1.1');
const headersTooLarge = () => refuse('too_large', 'headers larger than the limit');
const extrasTooLarge = () => refuse('too_large', 'chunk extensions or trailers larger than the limit');
