import { constants } from 'node:crypto';
import type { Socket } from 'node:net';
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls';
import { selfSigned } from '../../../agent/src/certificate.ts';
import { addressOf } from './identity.ts';

/** As many as an agent names at most. A client checks the address, so no certificate can stand for a whole fleet. */
const ADDRESSES_EACH = 64;

const DAY_MS = 86_400_000;

/** Handshakes completed, and how: a resumed one has skipped the certificate and costs half. */
export type Handshakes = { full: number; resumed: number };

/** The servers' side of TLS: certificates signed by themselves, one for every 64 servers. */
export class Tls {
  /** What a client has to trust, PEM. */
  readonly authorities: string;
  readonly handshakes: Handshakes = { full: 0, resumed: 0 };
  readonly #contexts: SecureContext[] = [];

  /** Certificates for `servers` servers from index `first` on. Without `resumption`, every handshake is a full one. */
  constructor({ first, servers, resumption }: { first: number; servers: number; resumption: boolean }) {
    const certificates = [];
    const now = Date.now();
    for (let place = 0; place < servers; place += ADDRESSES_EACH) {
      const size = Math.min(ADDRESSES_EACH, servers - place);
      const pair = selfSigned({
        commonName: `opsfleet simulator ${first + place}`,
        dnsNames: [],
        ipAddresses: Array.from({ length: size }, (_, offset) => addressOf(first + place + offset)),
        notBefore: new Date(now - DAY_MS),
        notAfter: new Date(now + 30 * DAY_MS),
      });
      certificates.push(pair.cert);
      // Without tickets a server must remember its sessions itself, and this one does not.
      const secureOptions = resumption ? 0 : constants.SSL_OP_NO_TICKET;
      this.#contexts.push(createSecureContext({ ...pair, secureOptions }));
    }
    this.authorities = certificates.join('');
  }

  /** The TLS connection over an accepted one to the server at this place. */
  secure(socket: Socket, place: number): TLSSocket {
    const secureContext = this.#contexts[Math.floor(place / ADDRESSES_EACH)];
    if (secureContext === undefined) throw new RangeError(`There is no certificate for server ${place}`);
    const secured = new TLSSocket(socket, { isServer: true, secureContext, ALPNProtocols: ['http/1.1'] });
    secured.once('secure', () => {
      if (secured.isSessionReused()) this.handshakes.resumed++;
      else this.handshakes.full++;
    });
    return secured;
  }
}
