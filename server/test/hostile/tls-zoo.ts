import type { Socket } from 'node:net';
import { createSecureContext, TLSSocket } from 'node:tls';
import { selfSigned } from '../../../agent/src/certificate.ts';
import type { EgressReason } from '../../src/platform/egress/fault.ts';
import { type Beast, listen } from './listener.ts';

type TlsEntry = { name: string; expectEgress: EgressReason; start(): Promise<Beast> };

const dayMs = 86_400_000;

export type CertificateFault = 'none' | 'expired' | 'not yet valid' | 'wrong name';

/** A fresh self-signed certificate for 127.0.0.1 and localhost, with a fault if wanted. */
export function certificate(fault: CertificateFault): { cert: string; key: string } {
  const now = Date.now();
  const from = { none: -1, expired: -10, 'not yet valid': 5, 'wrong name': -1 }[fault];
  const to = { none: 10, expired: -5, 'not yet valid': 10, 'wrong name': 10 }[fault];
  return selfSigned({
    commonName: 'zoo',
    dnsNames: [fault === 'wrong name' ? 'somebody.example' : 'localhost'],
    ipAddresses: fault === 'wrong name' ? ['192.0.2.1'] : ['127.0.0.1'],
    notBefore: new Date(now + from * dayMs),
    notAfter: new Date(now + to * dayMs),
  });
}

/** A beast that gets as far as HTTP, and counts the sessions that clients resumed. */
export type TlsBeast = Beast & { resumed(): number; protocols(): readonly (string | null)[] };

export type TlsLimits = { maxVersion?: 'TLSv1.1' | 'TLSv1.2' };

/** An https server on a raw listener, that answers every request with `{}`. */
export async function listenTls(
  pair: { cert: string; key: string },
  options: TlsLimits = {},
): Promise<TlsBeast> {
  // OpenSSL 3 only speaks TLS 1.1 at security level 0.
  const old =
    options.maxVersion === 'TLSv1.1' ? { ciphers: 'DEFAULT@SECLEVEL=0', minVersion: 'TLSv1' as const } : {};
  const secureContext = createSecureContext({ ...pair, ...options, ...old });
  let resumed = 0;
  const protocols: (string | null)[] = [];
  const onConnection = (socket: Socket) => {
    const secured = new TLSSocket(socket, { isServer: true, secureContext });
    secured.on('error', () => undefined);
    secured.on('secure', () => {
      if (secured.isSessionReused()) resumed++;
      protocols.push(secured.getProtocol());
    });
    secured.on('data', () => secured.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}'));
  };
  const beast = await listen({ scheme: 'https', onConnection });
  return { ...beast, resumed: () => resumed, protocols: () => protocols };
}

const garbage = Buffer.from('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n');

/** Beasts that never get as far as HTTP. Nobody trusts their certificates but who is given them. */
export const tlsZoo: readonly TlsEntry[] = [
  {
    name: 'TLS: certificate signed by itself',
    expectEgress: 'tls_failed',
    start: () => listenTls(certificate('none')),
  },
  {
    name: 'TLS: expired certificate',
    expectEgress: 'tls_failed',
    start: () => listenTls(certificate('expired')),
  },
  {
    name: 'TLS: certificate of another name',
    expectEgress: 'tls_failed',
    start: () => listenTls(certificate('wrong name')),
  },
  {
    name: 'TLS: version 1.1',
    expectEgress: 'tls_failed',
    start: () => listenTls(certificate('none'), { maxVersion: 'TLSv1.1' }),
  },
  { name: 'TLS: never shakes hands', expectEgress: 'timeout', start: () => listen({ scheme: 'https' }) },
  {
    name: 'TLS: closes on hello',
    expectEgress: 'tls_failed',
    start: () => listen({ scheme: 'https', onConnection: socket => socket.once('data', () => socket.end()) }),
  },
  {
    name: 'TLS: resets on hello',
    expectEgress: 'tls_failed',
    start: () =>
      listen({
        scheme: 'https',
        onConnection: socket => socket.once('data', () => socket.resetAndDestroy()),
      }),
  },
  {
    name: 'TLS: speaks plain HTTP',
    expectEgress: 'tls_failed',
    start: () =>
      listen({ scheme: 'https', onConnection: socket => socket.once('data', () => socket.write(garbage)) }),
  },
];
