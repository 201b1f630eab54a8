import { type Static, Type } from 'typebox';
import { newId, type SessionId, type TokenId } from '../ids.ts';
import { may, permissions, roles } from '../permissions.ts';
import { AppError } from '../platform/errors.ts';
import { created, noContent, ok, publicRoute, type Route, route } from '../platform/http/route.ts';
import { findToken } from '../tokens/store.ts';
import { hashCredential, mintCredential } from '../tokens/token.ts';
import { cookieName } from './authenticate.ts';
import { claimSignInLink, deleteSession, insertSession } from './store.ts';

const sessionLifetimeMs = 12 * 3_600_000;

const Session = Type.Object(
  {
    principal: Type.Object({ kind: Type.String(), name: Type.String() }),
    organization_id: Type.String({ format: 'uuid' }),
    role: Type.String({ enum: [...roles] }),
    permissions: Type.Array(Type.String()),
  },
  { title: 'Session', additionalProperties: false },
);
type Session = Static<typeof Session>;

export const authRoutes: Route[] = [
  publicRoute({
    method: 'POST',
    path: '/api/v1/session',
    tag: 'Session',
    summary: 'Sign a browser in with a one-time link or an API token',
    description: 'Answers with a session cookie. A link works once and for 15 minutes.',
    rateLimitPerMinute: 30,
    body: Type.Object(
      {
        link: Type.Optional(Type.String({ minLength: 1, maxLength: 512 })),
        token: Type.Optional(Type.String({ minLength: 1, maxLength: 512 })),
      },
      { title: 'SignIn', additionalProperties: false, minProperties: 1, maxProperties: 1 },
    ),
    replies: { 201: Type.Object({ role: Type.String() }, { additionalProperties: false }) },
    async handler({ db, clock }, { body, secure }) {
      const at = clock.now();
      const credential = mintCredential();
      const role = await db.system.transaction(async tx => {
        const granted =
          body.link !== undefined ? await byLink(tx, body.link, at) : await byToken(tx, body.token!, at);
        if (granted === null) return null;
        await insertSession(tx, {
          ...granted,
          id: newId<SessionId>(at.getTime()),
          hash: hashCredential(credential),
          at,
          expiresAt: new Date(at.getTime() + sessionLifetimeMs),
        });
        return granted.role;
      });
      if (role === null) {
        throw new AppError(
          'unauthenticated',
          body.link === undefined
            ? 'This API token is not valid.'
            : 'This sign-in link was used already or has expired.',
        );
      }
      return created({ role }, { 'set-cookie': cookie(credential, secure, sessionLifetimeMs / 1000) });
    },
  }),
  route({
    method: 'GET',
    path: '/api/v1/session',
    tag: 'Session',
    summary: 'Who am I, and what may I do',
    permission: 'signed-in',
    replies: { 200: Session },
    async handler(_context, _input, { principal }) {
      const session: Session = {
        principal: { kind: principal.kind, name: principal.name },
        organization_id: principal.organizationId,
        role: principal.role,
        permissions: permissions.filter(permission => may(principal.role, permission)),
      };
      return ok(session);
    },
  }),
  route({
    method: 'DELETE',
    path: '/api/v1/session',
    tag: 'Session',
    summary: 'Sign out',
    permission: 'signed-in',
    replies: { 204: null },
    async handler({ db, authenticator }, { secure }, { principal }) {
      if (principal.kind === 'session') {
        await deleteSession(db.system, principal.organizationId, principal.id);
        authenticator.forget();
      }
      return { ...noContent(), headers: { 'set-cookie': cookie('', secure, 0) } };
    },
  }),
];

type Granted = Pick<Parameters<typeof insertSession>[1], 'organizationId' | 'role' | 'tokenId'>;

async function byLink(
  tx: Parameters<typeof claimSignInLink>[0],
  link: string,
  at: Date,
): Promise<Granted | null> {
  const claimed = await claimSignInLink(tx, hashCredential(link), at);
  return claimed === null ? null : { ...claimed, tokenId: null };
}

async function byToken(
  tx: Parameters<typeof findToken>[0],
  token: string,
  at: Date,
): Promise<Granted | null> {
  const known = await findToken(tx, hashCredential(token));
  if (known === null || (known.expiresAt !== null && known.expiresAt <= at)) return null;
  return { organizationId: known.organizationId, role: known.role, tokenId: known.id satisfies TokenId };
}

function cookie(value: string, secure: boolean, maxAgeSeconds: number): string {
  const attributes = ['Path=/', 'HttpOnly', 'SameSite=Strict', `Max-Age=${maxAgeSeconds}`];
  return [`${cookieName(secure)}=${value}`, ...attributes, ...(secure ? ['Secure'] : [])].join('; ');
}
