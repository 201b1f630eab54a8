import { Type } from 'typebox';
import { newId, parseId, type TokenId } from '../ids.ts';
import { roles } from '../permissions.ts';
import { AppError } from '../platform/errors.ts';
import { invalidField } from '../platform/http/errors.ts';
import { created, noContent, ok, type Route, route } from '../platform/http/route.ts';
import { Instant, nullable, oneOf } from '../platform/http/schemas.ts';
import { insertToken, listTokens, revokeToken } from './store.ts';
import { hashCredential, mintToken } from './token.ts';

const Role = oneOf(roles);
const MaybeInstant = nullable(Instant);

const TokenView = Type.Object(
  {
    id: Type.String({ format: 'uuid' }),
    name: Type.String(),
    role: Role,
    created_at: Instant,
    expires_at: MaybeInstant,
    revoked_at: MaybeInstant,
    last_used_at: MaybeInstant,
  },
  { title: 'ApiToken', additionalProperties: false },
);

const maxLifetimeMs = 366 * 86_400_000;

export const tokenRoutes: Route[] = [
  route({
    method: 'POST',
    path: '/api/v1/tokens',
    tag: 'Tokens',
    summary: 'Make an API token; the answer is the only place it is ever shown',
    permission: 'tokens:manage',
    body: Type.Object(
      {
        name: Type.String({ minLength: 1, maxLength: 100 }),
        role: Role,
        expires_at: Type.Optional(
          Type.String({ format: 'date-time', description: 'At most a year ahead; never, if left out.' }),
        ),
      },
      { title: 'TokenCreate', additionalProperties: false },
    ),
    replies: {
      201: Type.Object({ token: Type.String(), api_token: TokenView }, { additionalProperties: false }),
    },
    async handler({ clock }, { body }, { db }) {
      const at = clock.now();
      const expiresAt = body.expires_at === undefined ? null : new Date(body.expires_at);
      if (expiresAt !== null && (expiresAt <= at || expiresAt.getTime() - at.getTime() > maxLifetimeMs)) {
        throw invalidField('/expires_at', 'must lie in the future and at most a year ahead');
      }
      const token = mintToken();
      const view = await insertToken(db, {
        id: newId(at.getTime()),
        name: body.name,
        role: body.role,
        hash: hashCredential(token),
        at,
        expiresAt,
      });
      return created({ token, api_token: view });
    },
  }),
  route({
    method: 'GET',
    path: '/api/v1/tokens',
    tag: 'Tokens',
    summary: 'List API tokens',
    permission: 'tokens:manage',
    replies: {
      200: Type.Object(
        { api_tokens: Type.Array(TokenView), count: Type.Integer() },
        { additionalProperties: false },
      ),
    },
    async handler(_context, _input, { db }) {
      const tokens = await listTokens(db);
      return ok({ api_tokens: tokens, count: tokens.length });
    },
  }),
  route({
    method: 'DELETE',
    path: '/api/v1/tokens/:id',
    tag: 'Tokens',
    summary: 'Revoke an API token and end the sessions it opened',
    permission: 'tokens:manage',
    params: Type.Object({ id: Type.String() }),
    replies: { 204: null },
    async handler({ clock, authenticator }, { params }, { db }) {
      const id = parseId<TokenId>(params.id);
      if (id === null || !(await revokeToken(db, id, clock.now()))) {
        throw new AppError('not_found', 'API token not found');
      }
      authenticator.forget();
      return noContent();
    },
  }),
];
