import { createHash, timingSafeEqual } from 'node:crypto';

/** Decides whether an `Authorization` header carries the token. */
export type Authenticate = (header: string | undefined) => boolean;

/**
 * Accepts `Bearer <token>` (RFC 6750) and nothing else.
 *
 * Digests are compared, not the texts: they have one length, so neither the length nor the matching
 * prefix of a guess shows in the time it takes.
 */
export function bearer(token: string): Authenticate {
  const expected = digest(token);
  return header => {
    const presented = /^Bearer +(\S+)$/i.exec(header ?? '')?.[1] ?? '';
    return timingSafeEqual(digest(presented), expected);
  };
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
