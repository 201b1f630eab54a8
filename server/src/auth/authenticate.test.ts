import { afterAll, beforeAll, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/database.ts';
import { createFakeClock } from '../../test/fakes/clock.ts';
import { addOrganization } from '../../test/fleet.ts';
import { newId, type OrganizationId, type TokenId } from '../ids.ts';
import type { SystemDb } from '../platform/db.ts';
import { createLog } from '../platform/log.ts';
import { insertToken, listTokens, revokeToken } from '../tokens/store.ts';
import { hashCredential, mintToken } from '../tokens/token.ts';
import { createAuthenticator } from './authenticate.ts';

const clock = createFakeClock();
const log = createLog({ level: 'silent' });
let database: TestDatabase;
let organizationId: OrganizationId;

beforeAll(async () => {
  database = await createTestDatabase();
  organizationId = await addOrganization(database.db);
});
afterAll(() => database.close());

/** A new token of the organization. */
async function addToken(): Promise<{ id: TokenId; token: string }> {
  const [token, at] = [mintToken(), clock.now()];
  const id = newId<TokenId>(at.getTime());
  const db = database.db.tenant(organizationId);
  await insertToken(db, {
    id,
    name: 'token',
    role: 'viewer',
    hash: hashCredential(token),
    at,
    expiresAt: null,
  });
  return { id, token };
}

/** The database, counting what it is asked and telling when it has answered. */
function observed(onAnswer: () => Promise<void> = async () => undefined): SystemDb & { asked: number } {
  const { system } = database.db;
  const db = {
    ...system,
    asked: 0,
    async many<Row>(query: Parameters<typeof system.many<Row>>[0]): Promise<Row[]> {
      db.asked += 1;
      const rows = await system.many(query);
      await onAnswer();
      return rows;
    },
  };
  return db;
}

const requestWith = (token: string) => ({
  authorization: `Bearer ${token}`,
  cookies: {},
  method: 'GET',
  headers: {},
});

it('asks the database about a token once in ten seconds', async () => {
  const { token } = await addToken();
  const db = observed();
  const { authenticate } = createAuthenticator({ db, clock, log, secure: false });
  for (let request = 0; request < 3; request += 1) {
    expect(await authenticate(requestWith(token))).toMatchObject({
      kind: 'token',
      organizationId,
      role: 'viewer',
    });
  }
  expect(db.asked).toBe(1);
  await clock.advance(10_000);
  await authenticate(requestWith(token));
  expect(db.asked).toBe(2);
});

it('learns of a revocation by another process within ten seconds', async () => {
  const { id, token } = await addToken();
  const { authenticate } = createAuthenticator({ db: database.db.system, clock, log, secure: false });
  await authenticate(requestWith(token));
  await revokeToken(database.db.tenant(organizationId), id, clock.now());
  await clock.advance(10_000);
  expect(await authenticate(requestWith(token))).toBeNull();
});

it('does not remember what it looked up before a revocation of its own process', async () => {
  const { id, token } = await addToken();
  const authenticator = createAuthenticator({
    db: observed(async () => {
      await revokeToken(database.db.tenant(organizationId), id, clock.now());
      authenticator.forget();
    }),
    clock,
    log,
    secure: false,
  });
  await authenticator.authenticate(requestWith(token));
  expect(await authenticator.authenticate(requestWith(token))).toBeNull();
});

it('takes the scheme in any case and nothing that cannot be a token', async () => {
  const { token } = await addToken();
  const db = observed();
  const { authenticate } = createAuthenticator({ db, clock, log, secure: false });
  expect(await authenticate({ ...requestWith(token), authorization: `bearer  ${token}` })).not.toBeNull();
  db.asked = 0;
  for (const authorization of [
    '',
    'Bearer',
    `Bearer ${token} x`,
    `Basic ${token}`,
    `Bearer ${'x'.repeat(513)}`,
  ]) {
    expect(await authenticate({ ...requestWith(token), authorization }), authorization).toBeNull();
  }
  expect(db.asked).toBe(0);
});

it('writes down the last use of each token, again after a failure', async () => {
  const { id, token } = await addToken();
  let isAway = true;
  const { system } = database.db;
  const authenticator = createAuthenticator({
    db: {
      ...system,
      async execute(query) {
        if (isAway) throw new Error('the database is away');
        return system.execute(query);
      },
    },
    clock,
    log,
    secure: false,
  });
  await authenticator.authenticate(requestWith(token));
  const usedAt = clock.now();
  await expect(authenticator.flush()).rejects.toThrow('away');
  isAway = false;
  await authenticator.flush();
  const views = await listTokens(database.db.tenant(organizationId));
  expect(views.find(view => view.id === id)!.last_used_at).toEqual(usedAt);
});
