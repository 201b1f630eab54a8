import { errors } from 'undici';

/**
 * Why a call failed. `local_fault` is ours (no descriptors, no memory, a stalled process), never the server's;
 * `policy_denied` means that nothing was sent at all.
 */
export type EgressReason =
  | 'policy_denied'
  | 'dns_failed'
  | 'refused'
  | 'timeout'
  | 'tls_failed'
  | 'reset'
  | 'bad_response'
  | 'too_large'
  | 'bad_encoding'
  | 'redirect'
  | 'aborted'
  | 'unreachable'
  | 'local_fault';

/**
 * A failure on its way through undici, which only passes errors on. `detail` is shown to people: it holds no
 * message of Node or undici, because those name the address that a host name resolved to.
 */
export class EgressFault extends Error {
  readonly reason: EgressReason;

  constructor(reason: EgressReason, detail: string) {
    super(detail);
    this.name = 'EgressFault';
    this.reason = reason;
  }
}

type Phase = 'dns' | 'tcp' | 'tls' | 'head' | 'body';

type Known = readonly [EgressReason, string];

const cutOff: Known = ['reset', 'connection closed before the answer was complete'];

const byCode: Readonly<Record<string, Known>> = {
  ECONNREFUSED: ['refused', 'connection refused'],
  ECONNRESET: cutOff,
  ECONNABORTED: cutOff,
  EPIPE: cutOff,
  UND_ERR_SOCKET: cutOff,
  // llhttp stops at the announced length, so the only mismatch left in a body is that it ended early.
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: cutOff,
  ETIMEDOUT: ['timeout', 'no connection'],
  EHOSTUNREACH: ['unreachable', 'no route to the host'],
  ENETUNREACH: ['unreachable', 'no route to the network'],
  EHOSTDOWN: ['unreachable', 'the host is down'],
  UND_ERR_HEADERS_OVERFLOW: ['too_large', 'headers larger than the limit'],
};

// What the operating system says when this process or this machine is at its end.
const localCodes = new Set([
  'EMFILE',
  'ENFILE',
  'ENOBUFS',
  'ENOMEM',
  'EADDRNOTAVAIL',
  'ENETDOWN',
  'EACCES',
  'EPERM',
  'EAI_MEMORY',
]);

/** Names the failure behind an error of Node, OpenSSL or undici. */
export function faultOf(error: unknown, phase: Phase): EgressFault {
  if (error instanceof EgressFault) return error;
  // Several addresses were tried and all failed: the first tells most, unless some failure was our own.
  const errorsInside = error instanceof AggregateError ? error.errors : [error];
  const codes = errorsInside.map(codeOf);
  const local = codes.find(code => localCodes.has(code));
  if (local !== undefined) return new EgressFault('local_fault', `this machine could not connect (${local})`);
  const code = codes[0] ?? '';
  if (phase === 'dns') return new EgressFault('dns_failed', `the name could not be resolved (${code})`);
  if (phase === 'tls' || isTlsCode(code)) return tlsFault(code);
  if (isProtocolViolation(error, phase)) {
    return new EgressFault('bad_response', 'the answer is not valid HTTP/1.1');
  }
  const known = byCode[code];
  if (known !== undefined) return new EgressFault(known[0], known[1]);
  return new EgressFault('local_fault', `unexpected failure (${code || 'no code'})`);
}

function tlsFault(code: string): EgressFault {
  const closed = code === 'ECONNRESET' || code === 'EPIPE';
  const detail = closed ? 'connection closed during the TLS handshake' : `TLS failed (${code || 'no code'})`;
  return new EgressFault('tls_failed', detail);
}

const isTlsCode = (code: string): boolean =>
  code === 'EPROTO' || code.startsWith('ERR_SSL_') || code.startsWith('ERR_TLS_');

function isProtocolViolation(error: unknown, phase: Phase): boolean {
  if (error instanceof errors.HTTPParserError) return true;
  // Before the headers are complete, undici reports a mismatch for whatever is wrong with an answer that has a length.
  if (error instanceof errors.ResponseContentLengthMismatchError) return phase === 'head';
  // One class for a closed connection and for what undici refuses to take (100 Continue, an upgrade).
  return error instanceof errors.SocketError && error.message.startsWith('bad ');
}

function codeOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : '';
  return typeof code === 'string' ? code : '';
}
