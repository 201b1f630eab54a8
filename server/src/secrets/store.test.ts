import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/database.ts';
import { newId, type OrganizationId, type ServerId } from '../ids.ts';
import { type SystemDb, sql } from '../platform/db.ts';
import { StartupError } from '../platform/errors.ts';
import { createKeyring, type Keyring, masterKey, Secret } from '../platform/keyring.ts';
import { openServerToken, type SealedServerToken } from './secrets.ts';
import {
  fingerprintServerToken,
  loadServerTokens,
  rewrapDataKeys,
  storeServerToken,
  verifyKeys,
} from './store.ts';

let database: TestDatabase;
beforeEach(async () => {
  database = await createTestDatabase();
});
afterEach(() => database.close());

const master = masterKey(randomBytes(32));
const keyring = createKeyring([master]);
const origin = 'https://web-1.example:8443';
const at = new Date('2026-11-24T12:00:00Z');

type Server = { organizationId: OrganizationId; serverId: ServerId };

async function addServer(organizationId = newId<OrganizationId>(0)): Promise<Server> {
  const serverId = newId<ServerId>(0);
  await database.db.system.execute(sql`
    insert into organizations (id, name, created_at, updated_at) values (${organizationId}, ${organizationId}, now(), now()) on conflict do nothing`);
  await database.db.tenant(organizationId).execute(sql`
    insert into managed_servers (organization_id, id, name, hostname, api_url, api_token_hash, created_at,
                                 updated_at, slot, health_since)
    values (${organizationId}, ${serverId}, ${serverId}, 'web-1', ${`https://${serverId}`}, '', now(), now(), 0, now())`);
  return { organizationId, serverId };
}

function store({ organizationId, serverId }: Server, token: string, using: Keyring = keyring) {
  return database.db
    .tenant(organizationId)
    .transaction(tx => storeServerToken(tx, using, { serverId, origin, token: new Secret(token), at }));
}

async function load(server: Server): Promise<SealedServerToken> {
  const rows = await loadServerTokens(database.db.system, [server]);
  expect(rows).toHaveLength(1);
  return rows[0]!;
}

async function tokenOf(server: Server, using: Keyring = keyring): Promise<string> {
  const opened = openServerToken(using, await load(server), origin);
  return opened.ok ? opened.token.reveal() : opened.reason;
}

test('a stored token comes back, after a restart too', async () => {
  const server = await addServer();
  await store(server, 'first');
  expect(await tokenOf(server)).toBe('first');
  expect(await tokenOf(server, createKeyring([master]))).toBe('first');
});

test('the tokens of many servers and organizations come in one answer; those without one are absent', async () => {
  const [a, b, c] = [await addServer(), await addServer(), await addServer()];
  const d = await addServer(a.organizationId);
  await Promise.all([store(a, 'a'), store(b, 'b'), store(d, 'd')]);
  const rows = await loadServerTokens(database.db.system, [a, b, c, d]);
  const tokens: Record<string, string> = {};
  for (const row of rows) {
    const opened = openServerToken(keyring, row, origin);
    tokens[row.serverId] = opened.ok ? opened.token.reveal() : opened.reason;
  }
  expect(tokens).toEqual({ [a.serverId]: 'a', [b.serverId]: 'b', [d.serverId]: 'd' });
  const mismatched = { organizationId: a.organizationId, serverId: b.serverId };
  expect(await loadServerTokens(database.db.system, [mismatched])).toEqual([]);
  expect(await loadServerTokens(database.db.system, [])).toEqual([]);
});

test('a replaced token counts up its version, and the old ciphertext does not open as the new one', async () => {
  const server = await addServer();
  await store(server, 'first');
  const old = await load(server);
  await store(server, 'second');
  const current = await load(server);
  expect([old.version, current.version]).toEqual([1, 2]);
  expect(await tokenOf(server)).toBe('second');
  await database.db.tenant(server.organizationId).execute(sql`
    update server_secrets set nonce = ${old.nonce}, ciphertext = ${old.ciphertext}
    where organization_id = ${server.organizationId} and server_id = ${server.serverId}`);
  expect(await tokenOf(server)).toBe('undecryptable');
});

test('writers of the same token take turns', async () => {
  const server = await addServer();
  await Promise.all(['a', 'b', 'c', 'd'].map(token => store(server, token)));
  expect(await load(server)).toMatchObject({ version: 4 });
  expect(['a', 'b', 'c', 'd']).toContain(await tokenOf(server));
});

test('the fingerprint is known before the server is, and differs between organizations', async () => {
  const [a, b] = [await addServer(), await addServer()];
  const before = await database.db
    .tenant(a.organizationId)
    .transaction(tx => fingerprintServerToken(tx, keyring, { token: new Secret('token'), at }));
  expect(await store(a, 'token')).toEqual({ fingerprint: before });
  expect((await store(b, 'token')).fingerprint).not.toBe(before);
});

test('a token for a server that is not there is refused', async () => {
  const { organizationId } = await addServer();
  const foreign = await addServer();
  await expect(store({ organizationId, serverId: foreign.serverId }, 'token')).rejects.toThrow();
});

test('processes that need the first data key at once end with one', async () => {
  const { organizationId, serverId } = await addServer();
  const servers = [{ organizationId, serverId }];
  for (let more = 0; more < 5; more++) servers.push(await addServer(organizationId));
  await Promise.all(servers.map(server => store(server, server.serverId, createKeyring([master]))));
  const { keys } = await database.db.system.one(sql<{ keys: number }>`
    select count(*) as keys from data_keys where organization_id = ${organizationId}`);
  expect(keys).toBe(1);
  for (const server of servers) expect(await tokenOf(server)).toBe(server.serverId);
});

test('rows swapped between servers do not open', async () => {
  const organizationId = newId<OrganizationId>(0);
  const [a, b] = [await addServer(organizationId), await addServer(organizationId)];
  await store(a, 'a');
  await store(b, 'b');
  await database.db.system.execute(sql`
    update server_secrets s set nonce = o.nonce, ciphertext = o.ciphertext
    from server_secrets o
    where s.organization_id = ${organizationId} and o.organization_id = ${organizationId}
      and o.server_id <> s.server_id`);
  expect([await tokenOf(a), await tokenOf(b)]).toEqual(['undecryptable', 'undecryptable']);
});

test('neither the token nor any encoding of it, nor a data key, is in the tables', async () => {
  const server = await addServer();
  const canary = `canary-${randomBytes(12).toString('hex')}`;
  await store(server, canary);
  const stored = await load(server);
  const dataKey = keyring.unwrap(stored);
  if (!dataKey.ok) throw new Error(dataKey.reason);
  let dump = '';
  for (const table of ['server_secrets', 'data_keys', 'managed_servers', 'organizations']) {
    const rows = await database.db.system.many(sql<{ row: string }>`
      select t::text || encode(t::text::bytea, 'escape') as row from ${sql.id(table)} t`);
    dump += rows.map(each => each.row).join('\n');
  }
  expect(dump).toContain(stored.ciphertext.toString('hex'));
  for (const secret of [Buffer.from(canary), dataKey.key.export()]) {
    for (const encoding of ['latin1', 'hex', 'base64', 'base64url'] as const) {
      expect(dump).not.toContain(secret.toString(encoding).replace(/=+$/, ''));
    }
  }
});

test('start-up refuses a database whose master key is not loaded, and names it', async () => {
  await store(await addServer(), 'token');
  await expect(verifyKeys(database.db.system, keyring)).resolves.toBeUndefined();
  const failure = verifyKeys(database.db.system, createKeyring([masterKey(randomBytes(32))]));
  await expect(failure).rejects.toThrow(StartupError);
  await expect(failure).rejects.toThrow(`master key ${master.id}, which is not loaded`);
});

test('rotation: new data keys move at once, old ones by rewrapping, and then the old master key may go', async () => {
  const [old, fresh] = [masterKey(randomBytes(32)), masterKey(randomBytes(32))];
  const servers = [await addServer(), await addServer(), await addServer()];
  for (const server of servers) await store(server, server.serverId, createKeyring([old]));
  const rotating = createKeyring([fresh, old]);
  const late = await addServer();
  await store(late, 'late', rotating);
  expect((await load(late)).masterKeyId).toBe(fresh.id);

  const lost = servers[0]!;
  await database.db.system.execute(sql`
    update data_keys set wrapped_key = '\\x00' where organization_id = ${lost.organizationId}`);
  const [first, second] = await Promise.all([
    rewrapDataKeys(database.db.system, rotating),
    rewrapDataKeys(database.db.system, rotating),
  ]);
  expect(first.moved + second.moved).toBe(2);
  expect(first.failed).toBe(1);
  expect(await rewrapDataKeys(database.db.system, rotating)).toEqual({ moved: 0, failed: 1 });

  const rotated = createKeyring([fresh]);
  for (const server of servers.slice(1)) expect(await tokenOf(server, rotated)).toBe(server.serverId);
  await expect(verifyKeys(database.db.system, rotated)).rejects.toThrow(old.id);
});

test('rewrapping leaves a data key alone that somebody else rewrapped meanwhile', async () => {
  const [old, fresh, newest] = [
    masterKey(randomBytes(32)),
    masterKey(randomBytes(32)),
    masterKey(randomBytes(32)),
  ];
  const server = await addServer();
  await store(server, 'token', createKeyring([old]));
  const { system } = database.db;
  const overtaken: SystemDb = {
    ...system,
    async many(query) {
      const rows = await system.many(query);
      await rewrapDataKeys(system, createKeyring([newest, fresh, old]));
      return rows;
    },
  };
  expect(await rewrapDataKeys(overtaken, createKeyring([fresh, newest, old]))).toEqual({
    moved: 0,
    failed: 0,
  });
  expect((await load(server)).masterKeyId).toBe(newest.id);
  expect(await tokenOf(server, createKeyring([newest]))).toBe('token');
});
