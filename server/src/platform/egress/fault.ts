/** What a failed call says of its target: nothing, that something is there and spoke, or that nothing did. */
const saying = {
  policy_denied: 'not_asked',
  local_fault: 'not_asked',
  aborted: 'not_asked',
  redirect: 'answered',
  too_large: 'answered',
  bad_encoding: 'answered',
  bad_response: 'answered',
  dns_failed: 'silent',
  refused: 'silent',
  timeout: 'silent',
  tls_failed: 'silent',
  reset: 'silent',
  unreachable: 'silent',
} as const;

/**
 * Why a call failed. `local_fault` is ours (no descriptors, no memory, a stalled process), never the server's;
 * `policy_denied` means that nothing was sent at all.
 */
export type EgressReason = keyof typeof saying;

/** The reasons that say nothing of the target: we did not ask it, or did not wait. */
export type UnaskedReason = {
  [Reason in EgressReason]: (typeof saying)[Reason] extends 'not_asked' ? Reason : never;
}[EgressReason];

export const isUnasked = (reason: EgressReason): reason is UnaskedReason => saying[reason] === 'not_asked';

/** Whether something came back from the target, although it was no use. */
export const isAnswered = (reason: EgressReason): boolean => saying[reason] === 'answered';

/**
 * A failure on its way to a result. `message` is shown to people: it holds no message of Node, because those
 * name the address that a host name resolved to.
 */
export class EgressFault extends Error {
  readonly reason: EgressReason;

  constructor(reason: EgressReason, detail: string) {
    super(detail);
    this.name = 'EgressFault';
    this.reason = reason;
  }
}

/** What was being done: resolving a name, connecting, shaking hands, or exchanging request and answer. */
type Phase = 'dns' | 'tcp' | 'tls' | 'exchange';

type Known = readonly [EgressReason, string];

const cutOff: Known = ['reset', 'connection closed before the answer was complete'];

const byCode: Readonly<Record<string, Known>> = {
  ECONNREFUSED: ['refused', 'connection refused'],
  ECONNRESET: cutOff,
  ECONNABORTED: cutOff,
  EPIPE: cutOff,
  ETIMEDOUT: ['timeout', 'no connection'],
  EHOSTUNREACH: ['unreachable', 'no route to the host'],
  ENETUNREACH: ['unreachable', 'no route to the network'],
  EHOSTDOWN: ['unreachable', 'the host is down'],
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

/** Names the failure behind an error of Node or OpenSSL. */
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

function codeOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : '';
  return typeof code === 'string' ? code : '';
}
