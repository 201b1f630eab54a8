import type { KeyObject } from 'node:crypto';
import { type DataKeyId, newId, type OrganizationId, type ServerId } from '../ids.ts';
import { type SystemDb, sql, type TenantTx } from '../platform/db.ts';
import { StartupError } from '../platform/errors.ts';
import { fingerprint, type Keyring, type Secret, type WrappedDataKey } from '../platform/keyring.ts';
import { unnest } from '../platform/unnest.ts';
import { type SealedServerToken, type SecretPlace, sealServerToken } from './secrets.ts';

/**
 * The fingerprint that `storeServerToken` will return for this token: a server's row needs it before the
 * server's secret can refer to the row.
 */
export async function fingerprintServerToken(
  tx: TenantTx,
  keyring: Keyring,
  { token, at }: { token: Secret; at: Date },
): Promise<string> {
  const { key } = await activeDataKey(tx, keyring, at);
  return fingerprint(key, token);
}

/**
 * Encrypts and stores a server's polling token, in place of the one it had. `origin` (scheme://host:port)
 * is the only place the token may be sent to from now on. The server's row must be there.
 */
export async function storeServerToken(
  tx: TenantTx,
  keyring: Keyring,
  { serverId, origin, token, at }: { serverId: ServerId; origin: string; token: Secret; at: Date },
): Promise<{ fingerprint: string }> {
  const { organizationId } = tx;
  const dataKey = await activeDataKey(tx, keyring, at);
  const version = await nextVersion(tx, serverId);
  const place: SecretPlace = {
    organizationId,
    serverId,
    purpose: 'polling_token',
    origin,
    dataKeyId: dataKey.id,
    version,
  };
  const { nonce, ciphertext } = sealServerToken(dataKey.key, place, token);
  await tx.execute(sql`
    insert into server_secrets
      (organization_id, server_id, purpose, data_key_id, origin, version, nonce, ciphertext, created_at)
    values (${organizationId}, ${serverId}, ${place.purpose}, ${place.dataKeyId}, ${origin}, ${version},
            ${nonce}, ${ciphertext}, ${at})
    on conflict (organization_id, server_id, purpose) do update
    set data_key_id = excluded.data_key_id, origin = excluded.origin, version = excluded.version,
        nonce = excluded.nonce, ciphertext = excluded.ciphertext, created_at = excluded.created_at`);
  return { fingerprint: fingerprint(dataKey.key, token) };
}

/**
 * The version is part of what is authenticated, so it must be known before the token is encrypted. The lock
 * on the server makes two writers take turns, also for the first token, when there is no row to lock yet.
 */
async function nextVersion(tx: TenantTx, serverId: ServerId): Promise<number> {
  await tx.one(sql`
    select from managed_servers
    where organization_id = ${tx.organizationId} and id = ${serverId} for no key update`);
  const current = await tx.maybeOne(sql<{ version: number }>`
    select version from server_secrets
    where organization_id = ${tx.organizationId} and server_id = ${serverId} and purpose = 'polling_token'`);
  return (current?.version ?? 0) + 1;
}

/**
 * The key that encrypts for the organization, created on first use. Of several transactions that create it
 * at once, the unique index on active keys lets one win; the others wait for it and read its key.
 */
async function activeDataKey(
  tx: TenantTx,
  keyring: Keyring,
  at: Date,
): Promise<{ id: DataKeyId; key: KeyObject }> {
  const { organizationId } = tx;
  const select = sql<WrappedDataKey & { dataKeyId: DataKeyId }>`
    select organization_id as "organizationId", id as "dataKeyId", master_key_id as "masterKeyId",
           wrapped_key as "wrappedKey"
    from data_keys where organization_id = ${organizationId} and state = 'active'`;
  let stored = await tx.maybeOne(select);
  if (stored === null) {
    const created = keyring.createDataKey(organizationId, newId<DataKeyId>(at.getTime()));
    await tx.execute(sql`
      insert into data_keys (organization_id, id, master_key_id, wrapped_key, created_at)
      values (${organizationId}, ${created.dataKeyId}, ${created.masterKeyId}, ${created.wrappedKey}, ${at})
      on conflict (organization_id) where state = 'active' do nothing`);
    stored = await tx.one(select);
  }
  const opened = keyring.unwrap(stored);
  if (!opened.ok) throw new Error(`data key ${stored.dataKeyId} cannot be opened: ${opened.reason}`);
  return { id: stored.dataKeyId, key: opened.key };
}

/**
 * The sealed polling tokens of many servers in one query. A server without a token is absent from the
 * answer; open each with `openServerToken` when it is needed, and keep no opened one.
 */
export async function loadServerTokens(
  db: SystemDb,
  servers: readonly { organizationId: OrganizationId; serverId: ServerId }[],
): Promise<SealedServerToken[]> {
  // The lateral join looks each one up. Left to itself the planner hashes the secrets of the whole installation
  // for every 3,000 that are asked for: 205 ms instead of 16 in a fleet of 100,000. It is one row by its key anyway: the
  // grouping keeps it from becoming a join, as OFFSET 0 would, which Citus does not take.
  return db.many(sql<SealedServerToken>`
    select s.organization_id as "organizationId", s.server_id as "serverId", s.purpose, s.origin,
           s.data_key_id as "dataKeyId", s.version, s.nonce, s.ciphertext,
           k.master_key_id as "masterKeyId", k.wrapped_key as "wrappedKey"
    from ${unnest([
      ['uuid', servers.map(server => server.organizationId)],
      ['uuid', servers.map(server => server.serverId)],
    ])} as wanted (organization_id, server_id)
    cross join lateral (
      select * from server_secrets
      where organization_id = wanted.organization_id and server_id = wanted.server_id and purpose = 'polling_token'
      group by organization_id, server_id, purpose) as s
    join data_keys k on k.organization_id = s.organization_id and k.id = s.data_key_id`);
}

/** The master keys that are needed to read what is stored, by id. */
export async function neededMasterKeys(db: SystemDb): Promise<string[]> {
  const rows = await db.many(
    sql<{ id: string }>`select distinct master_key_id as id from data_keys order by 1`,
  );
  return rows.map(row => row.id);
}

/** How many organizations' data keys are stored, and how many of them the keyring does not open. */
export async function tryDataKeys(db: SystemDb, keyring: Keyring): Promise<{ keys: number; closed: number }> {
  const stored = await db.many(sql<WrappedDataKey>`
    select organization_id as "organizationId", id as "dataKeyId", master_key_id as "masterKeyId",
           wrapped_key as "wrappedKey"
    from data_keys`);
  return { keys: stored.length, closed: stored.filter(each => !keyring.unwrap(each).ok).length };
}

/** Start-up check: throws a StartupError when a data key was wrapped by a master key that is not loaded. */
export async function verifyKeys(db: SystemDb, keyring: Keyring): Promise<void> {
  const missing = (await neededMasterKeys(db)).filter(id => !keyring.has(id));
  if (missing.length === 0) return;
  throw new StartupError(
    `The secrets in this database are encrypted by master key ${missing.join(', ')}, which is not loaded. ` +
      'Put back the master-key file that belongs to this database, or name the key in OPSFLEET_MASTER_KEY ' +
      'or OPSFLEET_MASTER_KEY_FILE; while you change keys give both, separated by a comma, the new one first.',
  );
}

const rewrapBatchSize = 500;
const nilUuid = '00000000-0000-0000-0000-000000000000';

/**
 * Moves every data key to the master key that wraps now, after which the old one is not needed any more.
 * Each batch is one statement of its own: an interrupted run goes on where it stopped, and a key that
 * somebody else changed meanwhile is left to them. `failed` counts the keys that could not be opened.
 */
export async function rewrapDataKeys(
  db: SystemDb,
  keyring: Keyring,
): Promise<{ moved: number; failed: number }> {
  const result = { moved: 0, failed: 0 };
  let last = { organizationId: nilUuid, dataKeyId: nilUuid };
  for (;;) {
    const batch = await db.many(sql<WrappedDataKey>`
      select organization_id as "organizationId", id as "dataKeyId", master_key_id as "masterKeyId",
             wrapped_key as "wrappedKey"
      from data_keys
      where master_key_id <> ${keyring.masterKeyId}
        and (organization_id, id) > (${last.organizationId}::uuid, ${last.dataKeyId}::uuid)
      order by organization_id, id
      limit ${rewrapBatchSize}`);
    if (batch.length === 0) return result;
    last = batch.at(-1)!;
    const moves = batch.flatMap(old => {
      const rewrapped = keyring.rewrap(old);
      return rewrapped.ok ? [{ old, wrappedKey: rewrapped.wrapped.wrappedKey }] : [];
    });
    result.failed += batch.length - moves.length;
    result.moved += await replaceWrappedKeys(db, keyring.masterKeyId, moves);
  }
}

async function replaceWrappedKeys(
  db: SystemDb,
  masterKeyId: string,
  moves: readonly { old: WrappedDataKey; wrappedKey: Buffer }[],
): Promise<number> {
  return db.execute(sql`
    update data_keys k
    set master_key_id = ${masterKeyId}, wrapped_key = move.wrapped_key
    from unnest(${moves.map(move => move.old.organizationId)}::uuid[],
                ${moves.map(move => move.old.dataKeyId)}::uuid[],
                ${moves.map(move => move.old.wrappedKey)}::bytea[],
                ${moves.map(move => move.wrappedKey)}::bytea[])
      as move (organization_id, id, old_wrapped_key, wrapped_key)
    where k.organization_id = move.organization_id and k.id = move.id
      and k.wrapped_key = move.old_wrapped_key`);
}
