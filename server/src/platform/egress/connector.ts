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
  /** Told of every socket when it is made, so that it can be counted until it is closed. */
  onSocket(socket: Socket): void;
};

/** The step a connection is at, so that a deadline can name what it was waiting for. */
export type ConnectStage = 'dns' | 'tcp' | 'handshake_queue' | 'tls' | 'open';

export type ConnectPlan = {
  url: TargetUrl;
  trust: Trust | null;
  connectTimeoutMs: number;
  signal: AbortSignal;
  onStage(stage: ConnectStage): void;
};

const tlsTimeoutMs = 3_000;
// A handshake costs processor time while its messages arrive; one that stalls costs none, so after this long
// it makes room. Otherwise servers that accept and then say nothing would hold every place.
const handshakePlaceMs = 500;
// Enough for any real service; each further address would get its turn long after the deadline.
const maxAddresses = 8;

/**
 * Opens a connection to a target, checked at every step: a literal or all resolved addresses against the
 * policy, then the address the socket ended up with, before the first byte is sent. Rejects with an
 * EgressFault, or with the reason of `signal`.
 */
export async function openSocket(parts: ConnectorParts, plan: ConnectPlan): Promise<Socket> {
  plan.onStage('dns');
  const addresses = await checkedAddresses(parts, plan.url);
  plan.signal.throwIfAborted();
  plan.onStage('tcp');
  const socket = await openTcp(parts, plan, addresses);
  if (plan.trust === null) {
    plan.onStage('open');
    return socket;
  }
  try {
    plan.onStage('handshake_queue');
    const leave = await parts.handshakes.enter({ signal: plan.signal });
    plan.onStage('tls');
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

function openTcp(parts: ConnectorParts, plan: ConnectPlan, addresses: readonly string[]): Promise<Socket> {
  const { url, signal, connectTimeoutMs } = plan;
  const choices = addresses
    .slice(0, maxAddresses)
    .map(address => ({ address, family: address.includes(':') ? 6 : 4 }));
  return new Promise((resolve, reject) => {
    const socket = connectTcp({
      host: url.hostname,
      port: url.port,
      noDelay: true,
      // Hands over the checked addresses, so no second resolution can differ. Not called for literals.
      lookup: (_hostname, options, callback) => {
        if (options.all) callback(null, choices);
        else callback(null, choices[0]!.address, choices[0]!.family);
      },
    });
    parts.onSocket(socket);
    const stop = afterIo(connectTimeoutMs, () =>
      fail(new EgressFault('timeout', `no connection within ${connectTimeoutMs} ms`)),
    );
    const fail = (error: unknown) => {
      finish();
      socket.destroy();
      reject(faultOf(signal.aborted ? signal.reason : error, 'tcp'));
    };
    const onAbort = () => fail(signal.reason);
    const finish = () => {
      stop();
      signal.removeEventListener('abort', onAbort);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    // Stays for the socket's life: between us and the next owner an error must find somebody.
    socket.on('error', fail);
    socket.once('connect', () => {
      const reached = canonicalAddress(socket.remoteAddress ?? '');
      if (reached === null || !addresses.some(address => canonicalAddress(address) === reached)) {
        fail(new EgressFault('policy_denied', 'the connection led to an address that was not checked'));
        return;
      }
      finish();
      resolve(socket);
    });
  });
}

function openTls(memory: TlsMemory, plan: ConnectPlan, trust: Trust, socket: Socket): Promise<TLSSocket> {
  const { url, signal } = plan;
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
    const stop = afterIo(tlsTimeoutMs, () =>
      fail(new EgressFault('timeout', `no TLS handshake within ${tlsTimeoutMs} ms`)),
    );
    const fail = (error: unknown) => {
      finish();
      secured.destroy();
      reject(faultOf(signal.aborted ? signal.reason : error, 'tls'));
    };
    const onAbort = () => fail(signal.reason);
    const finish = () => {
      stop();
      signal.removeEventListener('abort', onAbort);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    secured.on('error', fail);
    secured.on('session', ticket => memory.remember(url.origin, trust, ticket));
    secured.once('secureConnect', () => {
      finish();
      resolve(secured);
    });
  });
}
