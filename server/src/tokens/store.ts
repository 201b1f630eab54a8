import type { OrganizationId, TokenId } from '../ids.ts';
import type { Role } from '../permissions.ts';
import { type SystemDb, type SystemTx, sql, type TenantDb, type TenantTx } from '../platform/db.ts';
import { unnest } from '../platform/unnest.ts';
import { sameHash } from './token.ts';

/** A token as its organization sees it; neither the token nor its hash is part of it. */
export type TokenView = {
  id: TokenId;
  name: string;
  role: Role;
  created_at: Date;
  expires_at: Date | null;
  revoked_at: Date | null;
  last_used_at: Date | null;
};

export type NewToken = {
  id: TokenId;
  name: string;
  role: Role;
  hash: Buffer;
  at: Date;
  expiresAt: Date | null;
};

const view = sql`id, name, role, created_at, expires_at, revoked_at, last_used_at`;

export async function insertToken(db: TenantTx, token: NewToken): Promise<TokenView> {
  return db.one<TokenView>(sql`
    insert into api_tokens (organization_id, id, name, role, secret_hash, created_at, expires_at)
    values (${db.organizationId}, ${token.id}, ${token.name}, ${token.role}, ${token.hash}, ${token.at}, ${token.expiresAt})
    returning ${view}`);
}

export async function listTokens(db: TenantDb): Promise<TokenView[]> {
  return db.many<TokenView>(sql`
    select ${view} from api_tokens where organization_id = ${db.organizationId} order by created_at desc, id desc`);
}

/** Revokes a token; false when the organization has no such token. Revoking twice keeps the first time. */
export async function revokeToken(db: TenantDb, id: TokenId, at: Date): Promise<boolean> {
  const revoked = await db.execute(sql`
    update api_tokens set revoked_at = coalesce(revoked_at, ${at})
    where organization_id = ${db.organizationId} and id = ${id}`);
  return revoked === 1;
}

export type KnownToken = {
  id: TokenId;
  name: string;
  role: Role;
  organizationId: OrganizationId;
  expiresAt: Date | null;
};

/**
 * The token with that hash, whichever organization it is of; null when unknown or revoked, or when its organization has been
 * deleted. Expiry is the caller's.
 */
export async function findToken(db: SystemTx, hash: Buffer): Promise<KnownToken | null> {
  const rows = await db.many<{
    id: TokenId;
    name: string;
    role: Role;
    organization_id: OrganizationId;
    secret_hash: Buffer;
    expires_at: Date | null;
  }>(sql`
    select t.id, t.name, t.role, t.organization_id, t.secret_hash, t.expires_at
    from api_tokens t join organizations o on o.id = t.organization_id
    where t.secret_hash = ${hash} and t.revoked_at is null and o.deleted_at is null`);
  const row = rows.find(({ secret_hash }) => sameHash(secret_hash, hash));
  if (row === undefined) return null;
  return {
    id: row.id,
    name: row.name,
    role: row.role,
    organizationId: row.organization_id,
    expiresAt: row.expires_at,
  };
}

/** Whether the organization ever had this token, revoked ones included. */
export async function tokenExists(db: TenantDb, hash: Buffer): Promise<boolean> {
  const rows = await db.many(sql`
    select 1 from api_tokens where organization_id = ${db.organizationId} and secret_hash = ${hash} limit 1`);
  return rows.length > 0;
}

/** Notes when tokens were last used, many at once. */
export async function touchTokens(
  db: SystemDb,
  used: readonly { organizationId: OrganizationId; id: TokenId; at: Date }[],
): Promise<void> {
  if (used.length === 0) return;
  await db.execute(sql`
    update api_tokens t set last_used_at = u.at
    from ${unnest([
      ['uuid', used.map(u => u.organizationId)],
      ['uuid', used.map(u => u.id)],
      ['timestamptz', used.map(u => u.at)],
    ])} as u (organization_id, id, at)
    where t.organization_id = u.organization_id and t.id = u.id
      and (t.last_used_at is null or t.last_used_at < u.at)`);
}
