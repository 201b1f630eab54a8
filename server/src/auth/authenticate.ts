import type { OrganizationId, TokenId } from '../ids.ts';
import type { Clock } from '../platform/clock.ts';
import type { SystemDb } from '../platform/db.ts';
import { AppError } from '../platform/errors.ts';
import type { Principal } from '../platform/http/route.ts';
import type { Authenticate } from '../platform/http/server.ts';
import type { Log } from '../platform/log.ts';
import { findToken, touchTokens } from '../tokens/store.ts';
import { hashCredential } from '../tokens/token.ts';
import { findSession } from './store.ts';

export type Authenticator = {
  authenticate: Authenticate;
  /** Drops what is remembered, so that a revocation or a deletion holds here at once (elsewhere within 10 s). */
  forget(): void;
  /** Writes down when tokens were last used. */
  flush(): Promise<void>;
};

/** How long a principal is remembered: the price of not asking the database at every request. */
const rememberMs = 10_000;
const maxRemembered = 10_000;

const plainCookie = 'opsfleet_session';
/** A browser takes a `__Host-` cookie only over TLS, for one host, for every path: nobody else can plant it. */
const secureCookie = `__Host-${plainCookie}`;
export const cookieName = (secure: boolean): string => (secure ? secureCookie : plainCookie);

type Remembered = { principal: Principal; expiresAtMs: number; untilMs: number };

/** Recognises API tokens (`Authorization: Bearer`) and browser sessions (cookie), in that order. */
export function createAuthenticator(options: {
  db: SystemDb;
  clock: Clock;
  log: Log;
  secure: boolean;
}): Authenticator {
  const { db, clock } = options;
  let remembered = new Map<string, Remembered>();
  let used = new Map<TokenId, { organizationId: OrganizationId; id: TokenId; at: Date }>();

  async function recognise(kind: Principal['kind'], credential: string): Promise<Principal | null> {
    const hash = hashCredential(credential);
    const key = `${kind}:${hash.toString('base64')}`;
    const now = clock.now();
    // What is looked up while somebody forgets goes into the forgotten map, not into the new one.
    const memory = remembered;
    const known = memory.get(key);
    if (known !== undefined && clock.monotonicMs() < known.untilMs && now.getTime() < known.expiresAtMs) {
      return known.principal;
    }
    memory.delete(key);
    const found =
      kind === 'token' ? await findTokenPrincipal(db, hash, now) : await findSessionPrincipal(db, hash, now);
    if (found === null) return null;
    if (memory.size >= maxRemembered) memory.clear();
    memory.set(key, { ...found, untilMs: clock.monotonicMs() + rememberMs });
    return found.principal;
  }

  return {
    async authenticate({ authorization, cookies, method, headers }) {
      if (authorization !== undefined) {
        const match = /^bearer +([\x21-\x7e]{1,512})$/i.exec(authorization);
        if (match === null) return null;
        const principal = await recognise('token', match[1]!);
        if (principal !== null) {
          const id = principal.id as TokenId;
          used.set(id, { organizationId: principal.organizationId, id, at: clock.now() });
        }
        return principal;
      }
      const cookie = cookies[cookieName(options.secure)];
      if (cookie === undefined || cookie.length > 512) return null;
      const principal = await recognise('session', cookie);
      if (principal !== null) refuseForgery(method, headers);
      return principal;
    },
    forget() {
      remembered = new Map();
    },
    async flush() {
      const batch = used;
      used = new Map();
      try {
        await touchTokens(db, [...batch.values()]);
      } catch (error) {
        // Only a convenience is late; keep what is newer.
        for (const [id, entry] of batch) if (!used.has(id)) used.set(id, entry);
        throw error;
      }
    },
  };
}

type Found = { principal: Principal; expiresAtMs: number };

async function findTokenPrincipal(db: SystemDb, hash: Buffer, now: Date): Promise<Found | null> {
  const token = await findToken(db, hash);
  if (token === null || (token.expiresAt !== null && token.expiresAt <= now)) return null;
  return {
    principal: {
      kind: 'token',
      id: token.id,
      name: token.name,
      organizationId: token.organizationId,
      role: token.role,
    },
    expiresAtMs: token.expiresAt?.getTime() ?? Number.POSITIVE_INFINITY,
  };
}

async function findSessionPrincipal(db: SystemDb, hash: Buffer, now: Date): Promise<Found | null> {
  const session = await findSession(db, hash, now);
  if (session === null) return null;
  const { id, organizationId, role, expiresAt } = session;
  return {
    principal: { kind: 'session', id, name: 'browser session', organizationId, role },
    expiresAtMs: expiresAt.getTime(),
  };
}

/**
 * A cookie is sent by the browser whoever wrote the page, so a request that changes something must come from
 * our own pages. Every current browser sends Sec-Fetch-Site; for older ones the Origin must be this host.
 */
function refuseForgery(
  method: string,
  headers: Readonly<Record<string, string | string[] | undefined>>,
): void {
  if (method === 'GET' || method === 'HEAD') return;
  const site = headers['sec-fetch-site'];
  if (site !== undefined) {
    if (site === 'same-origin' || site === 'none') return;
  } else {
    const origin = URL.parse(String(headers['origin'] ?? ''));
    if (origin !== null && origin.host === headers['host']) return;
  }
  throw new AppError('forbidden', 'A browser session may only be used from the dashboard itself.');
}
