import type { EgressReason } from './fault.ts';

export type BodyRefusal = { reason: EgressReason; detail: string };
export type ReplyHeaders = Record<string, string | string[] | undefined>;

/** Collects a body of at most `maxBytes`, refusing as soon as a header or a chunk shows that it will not do. */
export class BodyReader {
  readonly #maxBytes: number;
  #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Judges the headers before any of the body is read. */
  start(headers: ReplyHeaders): BodyRefusal | null {
    const encoding = headers['content-encoding'];
    // Inflating is where 200 KB become 200 MB; nobody was asked to compress.
    if (encoding !== undefined && !/^identity$/i.test(String(encoding).trim())) {
      return { reason: 'bad_encoding', detail: 'the body is compressed, although identity was asked for' };
    }
    return Number(headers['content-length'] ?? 0) > this.#maxBytes ? this.#tooLarge() : null;
  }

  push(chunk: Buffer): BodyRefusal | null {
    this.#bytes += chunk.length;
    if (this.#bytes > this.#maxBytes) return this.#tooLarge();
    this.#chunks.push(chunk);
    return null;
  }

  end(): Buffer {
    return this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks, this.#bytes);
  }

  #tooLarge(): BodyRefusal {
    this.#chunks = [];
    return { reason: 'too_large', detail: `the body is larger than ${this.#maxBytes} bytes` };
  }
}
