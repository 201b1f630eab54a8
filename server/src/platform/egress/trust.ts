import { hash } from 'node:crypto';
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import { EgressFault } from './fault.ts';

/** PEM certificates to believe instead of the system's. Keep the object: what is derived from it is kept with it. */
export type TlsOptions = { readonly ca?: string };

/** Whom a TLS connection believes. `id` is short and the same for the same certificates. */
export type Trust = { readonly id: string; readonly ca: string | undefined };

const systemTrust: Trust = { id: 'system', ca: undefined };
const known = new WeakMap<TlsOptions, Trust>();

/** The trust that a request asks for: a hash (0.7 µs) for new options, a look-up for the same object again. */
export function trustOf(tls: TlsOptions | undefined): Trust {
  if (tls?.ca === undefined) return systemTrust;
  const found = known.get(tls);
  if (found !== undefined) return found;
  const trust = { id: hash('sha256', tls.ca, 'base64'), ca: tls.ca };
  known.set(tls, trust);
  return trust;
}

/** What handshakes leave for later ones, bounded. */
export type TlsMemory = {
  /** Throws an EgressFault when the trust's certificates cannot be read. */
  context(trust: Trust): SecureContext;
  session(origin: string, trust: Trust): Buffer | undefined;
  /** Copies the session. One that is larger than any honest one is not remembered. */
  remember(origin: string, trust: Trust, session: Buffer): void;
};

const maxContexts = 1_000;
// About 1 KB each. Resumed, a connection costs 0.7 ms of processor time instead of 1.2; only reconnecting needs it.
const maxSessions = 10_000;
// It holds the ticket and the server's certificate, which are as large as the server likes.
const maxSessionBytes = 8 * 1024;

export function createTlsMemory(): TlsMemory {
  const contexts = new Map<string, SecureContext>();
  const sessions = new Map<string, Buffer>();

  return {
    context(trust) {
      const context = contexts.get(trust.id) ?? makeContext(trust);
      setNewest(contexts, trust.id, context, maxContexts);
      return context;
    },
    session: (origin, trust) => sessions.get(sessionKey(origin, trust)),
    remember(origin, trust, session) {
      if (session.length > maxSessionBytes) return;
      // Node cuts it out of a slab of 64 KiB, all of which would stay in memory with it.
      const own = Buffer.allocUnsafeSlow(session.length);
      session.copy(own);
      setNewest(sessions, sessionKey(origin, trust), own, maxSessions);
    },
  };
}

// A resumed session skips the certificate check, so one made under a trust must not serve another.
const sessionKey = (origin: string, trust: Trust): string => `${origin} ${trust.id}`;

function makeContext({ ca }: Trust): SecureContext {
  const authorities = ca ?? [...new Set([...getCACertificates('default'), ...getCACertificates('system')])];
  try {
    return createSecureContext({ ca: authorities, minVersion: 'TLSv1.2' });
  } catch {
    throw new EgressFault('tls_failed', 'the certificate authority given for this server cannot be read');
  }
}

/** Sets a key as the newest, and gives up the oldest beyond `limit`. */
function setNewest<V>(map: Map<string, V>, key: string, value: V, limit: number): void {
  map.delete(key);
  const [oldest] = map.keys();
  if (map.size >= limit && oldest !== undefined) map.delete(oldest);
  map.set(key, value);
}
