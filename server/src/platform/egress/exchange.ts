import type { Dispatcher } from 'undici';
import type { Clock } from '../clock.ts';
import { type Connection, maxHeaderBytes, type Occupant } from './connection.ts';
import type { ConnectStage } from './connector.ts';
import { type EgressReason, faultOf } from './fault.ts';
import { BodyReader, type ReplyHeaders } from './read-body.ts';
import { afterIo } from './timer.ts';

export type EgressReply = {
  ok: true;
  status: number;
  headers: ReplyHeaders;
  body: Buffer;
  durationMs: number;
  /** Of the connection that answered. For logs and tests; it may be internal to the fleet's network. */
  remoteAddress: string;
};

export type EgressFailure = {
  ok: false;
  reason: EgressReason;
  /** Safe to show to whoever owns the target: no token, no body, no address that its name resolved to. */
  detail: string;
  durationMs: number;
};

export type ExchangeOptions = {
  clock: Clock;
  path: string;
  headers: string[];
  maxBodyBytes: number;
  totalTimeoutMs: number;
  signal: AbortSignal | undefined;
  acquire(): Connection;
  free(connection: Connection): void;
  discard(connection: Connection): void;
  onRetry(): void;
  resolve(result: EgressReply | EgressFailure): void;
};

const maxInterimResponses = 8;
// Later than this, the event loop was held up, and what the timer says is about us and not about the server.
const stalledMs = 1_000;

/** What a deadline means, by the step that it found the connection at. */
const overdue: Readonly<Record<ConnectStage, readonly [EgressReason, string]>> = {
  dns: ['dns_failed', 'the name was not resolved'],
  tcp: ['timeout', 'no connection'],
  handshake_queue: ['local_fault', 'no turn for a TLS handshake'],
  tls: ['timeout', 'no TLS handshake'],
  open: ['timeout', 'no complete answer'],
};

/**
 * One GET from start to result, as the handler of undici's dispatch: no streams, and no promise but the
 * caller's. Whatever ends it first wins; everything after that finds `#connection` null and is ignored.
 */
export class Exchange implements Occupant {
  readonly #options: ExchangeOptions;
  readonly #startedMs: number;
  readonly #body: BodyReader;
  #stopDeadline: () => void = ignore;
  #connection: Connection | null = null;
  readonly #wireLimit: number;
  #wireStart = 0;
  #status = 0;
  #headers: ReplyHeaders = {};
  #interim = 0;
  #answered = false;
  #retried = false;

  constructor(options: ExchangeOptions) {
    this.#options = options;
    this.#startedMs = options.clock.monotonicMs();
    this.#body = new BodyReader(options.maxBodyBytes);
    // Chunk extensions and chunk sizes are not body, and the parser skips them without a word: room for honest
    // ones, and an end to the rest.
    this.#wireLimit = 2 * options.maxBodyBytes + 2 * maxHeaderBytes + 64 * 1024;
  }

  /** Sends the request. The result comes through `resolve`, exactly once. */
  start(): void {
    const { totalTimeoutMs, signal } = this.#options;
    this.#stopDeadline = afterIo(totalTimeoutMs, () => this.#onDeadline());
    signal?.addEventListener('abort', this.#onAbort, { once: true });
    this.#send();
  }

  #send(): void {
    const connection = this.#options.acquire();
    this.#connection = connection;
    connection.send(this.#options.path, this.#options.headers, this);
  }

  onRequestStart(): void {
    // Only now: the socket may be another than the one the connection had when it was acquired.
    this.#wireStart = this.#connection?.bytesRead ?? 0;
  }

  onResponseStarted(): void {
    this.#answered = true;
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: ReplyHeaders): void {
    if (this.#connection === null) return;
    if (status < 200) {
      if (status < 100) this.#fail('bad_response', 'the status is below 100');
      if (++this.#interim > maxInterimResponses) this.#fail('bad_response', 'too many interim answers');
      return;
    }
    if (status >= 300 && status < 400) {
      this.#fail('redirect', `answered ${status}: redirects are not followed`);
      return;
    }
    this.#status = status;
    this.#headers = headers;
    const refusal = this.#body.start(headers);
    if (refusal !== null) this.#fail(refusal.reason, refusal.detail);
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#connection === null) return;
    const refusal = this.#body.push(chunk);
    if (refusal !== null) this.#fail(refusal.reason, refusal.detail);
  }

  onResponseEnd(): void {
    const connection = this.#connection;
    if (connection === null) return;
    this.#connection = null;
    this.#stop();
    const { remoteAddress } = connection;
    this.#options.free(connection);
    this.#options.resolve({
      ok: true,
      status: this.#status,
      headers: this.#headers,
      body: this.#body.end(),
      durationMs: this.#elapsedMs(),
      remoteAddress,
    });
  }

  onResponseError(_controller: unknown, error: Error): void {
    const connection = this.#connection;
    if (connection === null) return;
    const fault = faultOf(error, this.#status === 0 ? 'head' : 'body');
    if (fault.reason === 'reset' && connection.served > 0 && !this.#answered && !this.#retried) {
      // The server closed a kept connection just as it was used again: says nothing about the server.
      this.#retried = true;
      this.#options.discard(connection);
      this.#options.onRetry();
      this.#send();
      return;
    }
    this.#fail(fault.reason, fault.message);
  }

  onWireBytes(bytes: number): void {
    if (bytes - this.#wireStart > this.#wireLimit) {
      this.#fail('too_large', `the answer is larger than ${this.#wireLimit} bytes on the wire`);
    }
  }

  #fail(reason: EgressReason, detail: string): void {
    const connection = this.#connection;
    if (connection === null) return;
    this.#connection = null;
    this.#stop();
    this.#options.discard(connection);
    this.#options.resolve({ ok: false, reason, detail, durationMs: this.#elapsedMs() });
  }

  #onDeadline(): void {
    const { totalTimeoutMs } = this.#options;
    const lateMs = this.#elapsedMs() - totalTimeoutMs;
    if (lateMs > stalledMs) {
      this.#fail('local_fault', `this process was held up for ${Math.round(lateMs)} ms`);
      return;
    }
    const [reason, what] = overdue[this.#connection?.stage ?? 'open'];
    this.#fail(reason, `${what} within ${totalTimeoutMs} ms`);
  }

  readonly #onAbort = (): void => this.#fail('aborted', 'the request was cancelled');

  #stop(): void {
    this.#stopDeadline();
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
  }

  #elapsedMs(): number {
    return this.#options.clock.monotonicMs() - this.#startedMs;
  }
}

const ignore = () => undefined;
