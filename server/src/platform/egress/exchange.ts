import type { Clock } from '../clock.ts';
import type { Connection, ConnectionPlan, Occupant } from './connection.ts';
import type { ConnectStage } from './connector.ts';
import { EgressFault, type EgressReason } from './fault.ts';
import type { Pool } from './pool.ts';
import { requestHead } from './request-head.ts';
import { headersOf, type ReplyHeaders } from './response-head.ts';
import { type ParsedResponse, ResponseParser } from './response-parser.ts';
import { afterIo } from './timer.ts';

export type EgressReply = {
  ok: true;
  status: number;
  readonly headers: ReplyHeaders;
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

/** What every exchange of one egress shares. */
export type ExchangeParts = { clock: Clock; pool: Pool; onRetry(): void };

export type Ask = {
  plan: ConnectionPlan;
  /** Whether to keep the connection for the next request. */
  keep: boolean;
  headers: Readonly<Record<string, string>>;
  maxBodyBytes: number;
  totalTimeoutMs: number;
  signal: AbortSignal | undefined;
};

/** Later than this after a deadline, this process was held up, and that nobody answered is about us and not the server. */
export const stalledMs = 1_000;

/** What a deadline means, by the step that it found the connection at. */
const overdue: Readonly<Record<ConnectStage, readonly [EgressReason, string]>> = {
  dns: ['dns_failed', 'the name was not resolved'],
  descriptor_queue: ['local_fault', 'no free descriptor'],
  tcp: ['timeout', 'no connection'],
  handshake_queue: ['local_fault', 'no turn for a TLS handshake'],
  tls: ['timeout', 'no TLS handshake'],
  open: ['timeout', 'no complete answer'],
};

/**
 * One GET from start to result, without a stream and without a promise but the caller's. Whatever ends it first
 * wins; everything after that finds `#connection` null and is ignored.
 */
export class Exchange implements Occupant {
  readonly #parts: ExchangeParts;
  readonly #ask: Ask;
  readonly #resolve: (result: EgressReply | EgressFailure) => void;
  readonly #startedMs: number;
  readonly #parser: ResponseParser;
  #stopDeadline: () => void = ignore;
  #connection: Connection | null = null;
  #retried = false;

  /** `resolve` gets the result, exactly once. */
  constructor(parts: ExchangeParts, ask: Ask, resolve: (result: EgressReply | EgressFailure) => void) {
    this.#parts = parts;
    this.#ask = ask;
    this.#resolve = resolve;
    this.#startedMs = parts.clock.monotonicMs();
    this.#parser = new ResponseParser(ask.maxBodyBytes);
  }

  start(): void {
    const { totalTimeoutMs, signal } = this.#ask;
    this.#stopDeadline = afterIo(totalTimeoutMs, () => this.#onDeadline());
    signal?.addEventListener('abort', this.#onAbort, { once: true });
    this.#send();
  }

  #send(): void {
    const { plan, keep, headers } = this.#ask;
    const connection = this.#parts.pool.acquire(plan, keep);
    this.#connection = connection;
    try {
      connection.send(this.#parts.pool.parts, requestHead(plan.url, headers, connection.keep), this);
    } catch (error) {
      if (!(error instanceof EgressFault)) throw error;
      this.#fail(error.reason, error.message);
    }
  }

  onBytes(bytes: Buffer, length: number): void {
    const result = this.#parser.push(bytes, length);
    if (result !== null) this.#end(result);
  }

  onLost(fault: EgressFault | null): void {
    const connection = this.#connection;
    if (connection === null) return;
    const wasCutOff = fault === null || fault.reason === 'reset';
    if (wasCutOff && connection.served > 0 && !this.#parser.started && !this.#retried) {
      // The server closed a kept connection just as it was used again: says nothing about the server.
      this.#retried = true;
      this.#parts.pool.discard(connection);
      this.#parts.onRetry();
      this.#send();
    } else if (fault === null) {
      this.#end(this.#parser.end());
    } else {
      this.#fail(fault.reason, fault.message);
    }
  }

  #end(response: ParsedResponse): void {
    if (!response.ok) {
      this.#fail(response.reason, response.detail);
      return;
    }
    const connection = this.#release();
    if (connection === null) return;
    this.#parts.pool.free(connection, response);
    this.#resolve(new Reply(response, this.#elapsedMs(), connection.remoteAddress));
  }

  #fail(reason: EgressReason, detail: string): void {
    const connection = this.#release();
    if (connection === null) return;
    this.#parts.pool.discard(connection);
    this.#resolve({ ok: false, reason, detail, durationMs: this.#elapsedMs() });
  }

  #onDeadline(): void {
    const { totalTimeoutMs } = this.#ask;
    const lateMs = this.#elapsedMs() - totalTimeoutMs;
    if (lateMs > stalledMs) {
      this.#fail('local_fault', `this process was held up for ${Math.round(lateMs)} ms`);
      return;
    }
    const [reason, what] = overdue[this.#connection?.stage ?? 'open'];
    this.#fail(reason, `${what} within ${totalTimeoutMs} ms`);
  }

  readonly #onAbort = (): void => this.#fail('aborted', 'the request was cancelled');

  /** The connection, for whoever ends the exchange first. */
  #release(): Connection | null {
    const connection = this.#connection;
    if (connection === null) return null;
    this.#connection = null;
    this.#stopDeadline();
    this.#ask.signal?.removeEventListener('abort', this.#onAbort);
    return connection;
  }

  #elapsedMs(): number {
    return this.#parts.clock.monotonicMs() - this.#startedMs;
  }
}

class Reply implements EgressReply {
  readonly ok = true;
  readonly status: number;
  readonly body: Buffer;
  readonly durationMs: number;
  readonly remoteAddress: string;
  readonly #head: string;

  constructor(
    { status, body, head }: Extract<ParsedResponse, { ok: true }>,
    durationMs: number,
    remoteAddress: string,
  ) {
    this.status = status;
    this.body = body;
    this.durationMs = durationMs;
    this.remoteAddress = remoteAddress;
    this.#head = head;
  }

  /** Read only by those who ask: a poll has no use for them. */
  get headers(): ReplyHeaders {
    return headersOf(this.#head);
  }
}

const ignore = () => undefined;
