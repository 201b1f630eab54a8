const nothing = Buffer.alloc(0);

/** Bytes put together in one buffer that at most doubles: small pieces cost no more than large ones. */
export class GrowingBuffer {
  readonly #maxBytes: number;
  #bytes = nothing;
  #length = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** What is in it, and room after `length`. Only until the next `append`. */
  get bytes(): Buffer {
    return this.#bytes;
  }

  get length(): number {
    return this.#length;
  }

  /** Copies `source[start…end)`. `left` is how much will still come, where that is known; the caller keeps the limit. */
  append(source: Buffer, start: number, end: number, left: number | null): void {
    const needed = this.#length + end - start;
    if (needed > this.#bytes.length) {
      // An announced length alone gets no memory: it may be all that ever comes.
      const most = left === null ? this.#maxBytes : needed + left;
      const grown = Buffer.allocUnsafe(Math.min(most, Math.max(needed, 2 * this.#bytes.length)));
      this.#bytes.copy(grown, 0, 0, this.#length);
      this.#bytes = grown;
    }
    source.copy(this.#bytes, this.#length, start, end);
    this.#length = needed;
  }

  /** What was put together; the buffer is the caller's from now on. */
  take(): Buffer {
    const bytes = this.#length === this.#bytes.length ? this.#bytes : this.#bytes.subarray(0, this.#length);
    this.#bytes = nothing;
    this.#length = 0;
    return bytes;
  }
}
