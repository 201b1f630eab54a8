import { availableParallelism } from 'node:os';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import { checkedAddresses, openSocket } from './connector.ts';
import { type Ask, type EgressFailure, type EgressReply, Exchange, type ExchangeParts } from './exchange.ts';
import { EgressFault, faultOf } from './fault.ts';
import { createGate } from './gate.ts';
import type { EgressPolicy } from './policy.ts';
import { createPool } from './pool.ts';
import { createResolver, type Lookup, systemLookup } from './resolver.ts';
import { createTlsMemory, type TlsOptions, trustOf } from './trust.ts';
import type { TargetUrl } from './url.ts';

export type { EgressFailure, EgressReply } from './exchange.ts';

export type EgressRequest = {
  /** Parsed once and used for every poll. */
  url: TargetUrl;
  /** `Host`, `Connection` and `Accept-Encoding` are set here and must not be among them. */
  headers?: Readonly<Record<string, string>>;
  /** Of the body alone; headers have 16 KiB of their own. */
  maxBodyBytes: number;
  /** From the call to the last byte of the body: names, waiting, connecting and retrying included. */
  totalTimeoutMs: number;
  /** For the TCP connection; 3 s unless told. */
  connectTimeoutMs?: number;
  /** For a single request. A signal shared by thousands is slow, and `close` cancels everything anyway. */
  signal?: AbortSignal;
  /** Whether to keep the connection for the next request; true unless told. */
  keepAlive?: boolean;
  /** For a server whose certificate no known authority vouches for. */
  tls?: TlsOptions;
};

export type EgressStats = {
  openSockets: number;
  /** Kept connections that serve nobody now. */
  idleConnections: number;
  /** Since the start. */
  connectionsOpened: number;
  /** Since the start: requests sent again because a kept connection had just been closed. */
  staleRetries: number;
  /** Since the start: connections closed that could have been kept, had there been descriptors. */
  closedForDescriptors: number;
  /** Requests that wait for a descriptor. */
  descriptorsWaiting: number;
  inFlight: number;
  handshakes: number;
  handshakesWaiting: number;
  namesKnown: number;
  lookupsWaiting: number;
};

/** The one way out: every call of the control plane to another machine goes through here. */
export type Egress = {
  readonly policy: EgressPolicy;
  /** GET. Never rejects and follows no redirect; sends nothing to an address that the policy refuses. */
  get(request: EgressRequest): Promise<EgressReply | EgressFailure>;
  /** Resolves the name and judges every address of it, without connecting. Null where it may be called. */
  check(url: TargetUrl): Promise<EgressFailure | null>;
  /** Opens a TCP connection and closes it; sends nothing. Null where that worked. */
  connect(url: TargetUrl, timeoutMs: number): Promise<EgressFailure | null>;
  stats(): EgressStats;
  /** Drops the kept connections of an origin, e.g. when its server is deleted. */
  forget(origin: string): void;
  /** Ends every request as `aborted`; resolves when no socket is open. Later requests are `aborted` at once. */
  close(): Promise<void>;
};

export type EgressOptions = {
  policy: EgressPolicy;
  clock: Clock;
  /** Resolves names; the machine's resolver unless told. */
  lookup?: Lookup;
  /** How long a connection may wait for its next request. Longer than the poll interval, or none is ever reused. */
  keepAliveMs: number;
  /**
   * Connections beyond which no new one is kept: about 80 % of the descriptor limit. An eighth more sockets may
   * be open at a time; requests beyond that wait.
   */
  maxConnections?: number;
  /** Told when connections have to be closed for want of descriptors, once an hour at most. */
  log?: Pick<Log, 'warn'>;
};

const defaultConnectTimeoutMs = 3_000;
// More at once only make each other late: at 128 on 2 cores, 1,500 cold connections asked for in one tick all got
// their answer, the last after 1.6 s.
const handshakesPerCore = 64;
const warningPauseMs = 3_600_000;

export function createEgress({ policy, clock, keepAliveMs, log, ...options }: EgressOptions): Egress {
  const resolver = createResolver(options.lookup ?? systemLookup, clock);
  const handshakes = createGate(handshakesPerCore * availableParallelism());
  const tls = createTlsMemory();
  const maxConnections = options.maxConnections ?? Number.POSITIVE_INFINITY;
  const onShortage = shortageWarning(maxConnections, clock, log);
  const connections = { policy, resolver, tls, handshakes, clock, keepAliveMs, maxConnections, onShortage };
  const pool = createPool(connections);
  let inFlight = 0;
  let staleRetries = 0;
  let closed = false;
  const ending = new AbortController();

  const parts: ExchangeParts = {
    clock,
    pool,
    onRetry() {
      staleRetries++;
    },
  };

  return {
    policy,
    get(request) {
      if (closed || request.signal?.aborted) return Promise.resolve(aborted);
      inFlight++;
      return new Promise(resolve => {
        new Exchange(parts, askOf(request), result => {
          inFlight--;
          resolve(result);
        }).start();
      });
    },
    async check(url) {
      const startedMs = clock.monotonicMs();
      try {
        await checkedAddresses({ policy, resolver }, url);
        return null;
      } catch (error) {
        const { reason, message } = faultOf(error, 'dns');
        return { ok: false, reason, detail: message, durationMs: clock.monotonicMs() - startedMs };
      }
    },
    async connect(url, connectTimeoutMs) {
      const startedMs = clock.monotonicMs();
      const plan = { url, trust: null, connectTimeoutMs, signal: ending.signal, ...nobody };
      try {
        const socket = await openSocket(pool.parts, plan);
        socket.destroy();
        return null;
      } catch (error) {
        const { reason, message } = faultOf(error, 'tcp');
        return { ok: false, reason, detail: message, durationMs: clock.monotonicMs() - startedMs };
      }
    },
    stats: () => ({
      openSockets: pool.openSockets,
      idleConnections: pool.idle,
      connectionsOpened: pool.opened,
      staleRetries,
      closedForDescriptors: pool.closedForDescriptors,
      descriptorsWaiting: pool.waiting,
      inFlight,
      handshakes: handshakes.running,
      handshakesWaiting: handshakes.waiting,
      namesKnown: resolver.entries,
      lookupsWaiting: resolver.waiting,
    }),
    forget: pool.forget,
    close() {
      closed = true;
      ending.abort(new EgressFault('aborted', 'the request was cancelled'));
      return pool.close();
    },
  };
}

const aborted: EgressFailure = {
  ok: false,
  reason: 'aborted',
  detail: 'the request was cancelled',
  durationMs: 0,
};

const noHeaders = {};

/** Hears nothing of a connection. */
const nobody = {
  events: { onBytes: () => undefined, onLost: () => undefined },
  onStage: () => undefined,
};

function askOf(request: EgressRequest): Ask {
  const { url } = request;
  const trust = url.plain ? null : trustOf(request.tls);
  return {
    plan: {
      key: trust === null ? url.origin : `${url.origin} ${trust.id}`,
      url,
      trust,
      connectTimeoutMs: request.connectTimeoutMs ?? defaultConnectTimeoutMs,
    },
    keep: request.keepAlive ?? true,
    headers: request.headers ?? noHeaders,
    maxBodyBytes: request.maxBodyBytes,
    totalTimeoutMs: request.totalTimeoutMs,
    signal: request.signal,
  };
}

/** A function to call whenever descriptors run short, which says so when it begins and then rarely. */
function shortageWarning(maxConnections: number, clock: Clock, log: EgressOptions['log']): () => void {
  let silentUntilMs = -Infinity;
  return () => {
    const nowMs = clock.monotonicMs();
    if (nowMs < silentUntilMs) return;
    silentUntilMs = nowMs + warningPauseMs;
    log?.warn(
      { maxConnections },
      'more servers than descriptors: connections are closed after their answer; raise the limit of open files (ulimit -n) or start more workers',
    );
  };
}
