import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { canonicalAddress } from './address.ts';
import { EgressFault, faultOf } from './fault.ts';
import type { Gate } from './gate.ts';
import { type EgressPolicy, refusalOf } from './policy.ts';
import type { Resolver } from './resolver.ts';
import { afterIo } from './timer.ts';
import type { TlsMemory, Trust } from './trust.ts';
import type { TargetUrl } from './url.ts';

/** What every connection of one egress shares. */
export type ConnectorParts = {
  policy: EgressPolicy;
  resolver: Resolver;
  tls: TlsMemory;
  /** Bounds the TLS handshakes that run at once. */
  handshakes: Gate;
  /** Waits for a descriptor, if it has to. What it gives is called when the socket is closed. */
  takeDescriptor(signal: AbortSignal): Promise<() => void>;
};

/** The step a connection is at, so that a deadline can name what it was waiting for. */
export type ConnectStage = 'dns' | 'descriptor_queue' | 'tcp' | 'handshake_queue' | 'tls' | 'open';

/** What becomes of an open socket. */
export type SocketEvents = {
  /** The first `length` bytes of `bytes`, which are overwritten after the call. */
  onBytes(bytes: Buffer, length: number): void;
  /** May be called more than once. Null: the other side has ended the connection in good order. */
  onLost(error: Error | null): void;
};

export type ConnectPlan = {
  url: TargetUrl;
  trust: Trust | null;
  connectTimeoutMs: number;
  signal: AbortSignal;
  events: SocketEvents;
  onStage(stage: ConnectStage): void;
};

const tlsTimeoutMs = 3_000;
// A handshake costs processor time while its messages arrive; one that stalls costs none, so after this long
// it makes room. Otherwise servers that accept and then say nothing would hold every place.
const handshakePlaceMs = 500;
// Enough for any real service; each further address would get its turn long after the deadline.
const maxAddresses = 8;
// All plain sockets read into this one: libuv fills it and we have read it before the next socket has its turn.
// By itself Node allocates 64 KiB for every read and keeps what was read in a stream.
const readBuffer = Buffer.allocUnsafeSlow(64 * 1024);

/**
 * Opens a connection to a target, checked at every step: a literal or all resolved addresses against the
 * policy, then the address the socket ended up with, before the first byte is sent. Rejects with an
 * EgressFault, or with the reason of `signal`.
 */
export async function openSocket(parts: ConnectorParts, plan: ConnectPlan): Promise<Socket> {
  plan.onStage('dns');
  const addresses = await checkedAddresses(parts, plan.url);
  plan.signal.throwIfAborted();
  plan.onStage('descriptor_queue');
  const giveBack = await parts.takeDescriptor(plan.signal);
  plan.onStage('tcp');
  const socket = await openTcp(plan, addresses, giveBack);
  if (plan.trust === null) {
    plan.onStage('open');
    return socket;
  }
  try {
    plan.onStage('handshake_queue');
    const leave = await parts.handshakes.enter({ signal: plan.signal });
    plan.onStage('tls');
    if (socket.destroyed) throw new EgressFault('tls_failed', 'connection closed before the TLS handshake');
    const early = setTimeout(leave, handshakePlaceMs);
    try {
      const secured = await openTls(parts.tls, plan, plan.trust, socket);
      plan.onStage('open');
      return secured;
    } finally {
      clearTimeout(early);
      leave();
    }
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

/** The addresses a target leads to. One refused address refuses them all: nobody means such an answer well. */
export async function checkedAddresses(
  { policy, resolver }: Pick<ConnectorParts, 'policy' | 'resolver'>,
  url: TargetUrl,
): Promise<readonly string[]> {
  const addresses = url.address === null ? await resolve(resolver, url.hostname) : [url.address];
  for (const address of addresses) {
    const refusal = refusalOf(policy, { address, port: url.port, plain: url.plain });
    if (refusal !== null) throw new EgressFault('policy_denied', refusal);
  }
  return addresses;
}

async function resolve(resolver: Resolver, hostname: string): Promise<readonly string[]> {
  try {
    return await resolver.resolve(hostname);
  } catch (error) {
    throw faultOf(error, 'dns');
  }
}

function startTcp({ url, trust, events }: ConnectPlan, addresses: readonly string[]): Socket {
  const choices = addresses
    .slice(0, maxAddresses)
    .map(address => ({ address, family: address.includes(':') ? 6 : 4 }));
  const onread = {
    buffer: readBuffer,
    callback(length: number) {
      events.onBytes(readBuffer, length);
      return true;
    },
  };
  return connectTcp({
    host: url.hostname,
    port: url.port,
    noDelay: true,
    // Below TLS, the bytes are OpenSSL's.
    ...(trust === null ? { onread } : {}),
    // Hands over the checked addresses, so no second resolution can differ. Not called for literals.
    lookup: (_hostname, options, callback) => {
      if (options.all) callback(null, choices);
      else callback(null, choices[0]!.address, choices[0]!.family);
    },
  });
}

function openTcp(plan: ConnectPlan, addresses: readonly string[], giveBack: () => void): Promise<Socket> {
  const { connectTimeoutMs } = plan;
  const socket = startTcp(plan, addresses);
  socket.once('close', giveBack);
  return new Promise((resolve, reject) => {
    const opening = beginOpening(socket, plan, {
      phase: 'tcp',
      timeoutMs: connectTimeoutMs,
      late: `no connection within ${connectTimeoutMs} ms`,
      reject,
    });
    socket.once('connect', () => {
      const reached = canonicalAddress(socket.remoteAddress ?? '');
      if (reached === null || !addresses.some(address => canonicalAddress(address) === reached)) {
        opening.fail(
          new EgressFault('policy_denied', 'the connection led to an address that was not checked'),
        );
        return;
      }
      opening.finish();
      if (plan.trust === null) handOver(socket, plan.events);
      else socket.on('error', ignore);
      resolve(socket);
    });
  });
}

function openTls(memory: TlsMemory, plan: ConnectPlan, trust: Trust, socket: Socket): Promise<TLSSocket> {
  const { url, events } = plan;
  const secureContext = memory.context(trust);
  return new Promise((resolve, reject) => {
    const session = memory.session(url.origin, trust);
    const secured = connectTls({
      socket,
      host: url.hostname,
      // SNI carries names only (RFC 6066 §3); the certificate is checked against `host` where it is an address.
      ...(url.address === null ? { servername: url.hostname } : {}),
      ...(session === undefined ? {} : { session }),
      secureContext,
      ALPNProtocols: ['http/1.1'],
    });
    const opening = beginOpening(secured, plan, {
      phase: 'tls',
      timeoutMs: tlsTimeoutMs,
      late: `no TLS handshake within ${tlsTimeoutMs} ms`,
      reject,
    });
    secured.on('session', ticket => memory.remember(url.origin, trust, ticket));
    secured.once('secureConnect', () => {
      opening.finish();
      secured.on('data', bytes => events.onBytes(bytes, bytes.length));
      handOver(secured, events);
      resolve(secured);
    });
  });
}

type Opening = { phase: 'tcp' | 'tls'; timeoutMs: number; late: string; reject(error: unknown): void };

/**
 * Watches a socket while it is being opened, with a deadline. Whatever happens before `finish` destroys it and
 * rejects.
 */
function beginOpening(
  socket: Socket,
  { signal }: ConnectPlan,
  { phase, timeoutMs, late, reject }: Opening,
): { finish(): void; fail(error: unknown): void } {
  const stop = afterIo(timeoutMs, () => fail(new EgressFault('timeout', late)));
  const release = () => {
    stop();
    signal.removeEventListener('abort', onAbort);
  };
  const fail = (error: unknown) => {
    release();
    socket.destroy();
    reject(faultOf(signal.aborted ? signal.reason : error, phase));
  };
  const onAbort = () => fail(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  socket.on('error', fail);
  if (signal.aborted) onAbort();
  return {
    finish() {
      release();
      socket.removeListener('error', fail);
    },
    fail,
  };
}

/** From here on the socket holds nothing of its opening: an idle connection is kept for as long as its server. */
function handOver(socket: Socket, events: SocketEvents): void {
  const onEnd = () => events.onLost(null);
  socket.on('error', error => events.onLost(error));
  socket.on('end', onEnd);
  socket.on('close', onEnd);
}

const ignore = () => undefined;
