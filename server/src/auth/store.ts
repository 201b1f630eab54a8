import type { OrganizationId, SessionId, SignInLinkId, TokenId } from '../ids.ts';
import type { Role } from '../permissions.ts';
import { type SystemDb, type SystemTx, sql } from '../platform/db.ts';

export type NewSession = {
  id: SessionId;
  organizationId: OrganizationId;
  role: Role;
  hash: Buffer;
  tokenId: TokenId | null;
  at: Date;
  expiresAt: Date;
};

export type KnownSession = { id: SessionId; organizationId: OrganizationId; role: Role; expiresAt: Date };

export async function insertSession(db: SystemTx, session: NewSession): Promise<void> {
  await db.execute(sql`
    insert into sessions (organization_id, id, role, secret_hash, token_id, created_at, expires_at)
    values (${session.organizationId}, ${session.id}, ${session.role}, ${session.hash}, ${session.tokenId},
            ${session.at}, ${session.expiresAt})`);
}

/**
 * The live session with that hash; null when unknown, expired, opened by a token revoked or expired since, or of an
 * organization that has been deleted.
 */
export async function findSession(db: SystemDb, hash: Buffer, at: Date): Promise<KnownSession | null> {
  const row = await db.maybeOne<{
    id: SessionId;
    organization_id: OrganizationId;
    role: Role;
    expires_at: Date;
  }>(sql`
    select s.id, s.organization_id, s.role, least(s.expires_at, t.expires_at) as expires_at
    from sessions s
    join organizations o on o.id = s.organization_id
    left join api_tokens t on t.organization_id = s.organization_id and t.id = s.token_id
    where s.secret_hash = ${hash} and s.expires_at > ${at} and o.deleted_at is null
      and (t.id is null or (t.revoked_at is null and (t.expires_at is null or t.expires_at > ${at})))`);
  return row === null
    ? null
    : { id: row.id, organizationId: row.organization_id, role: row.role, expiresAt: row.expires_at };
}

export async function deleteSession(db: SystemDb, organizationId: OrganizationId, id: string): Promise<void> {
  await db.execute(sql`delete from sessions where organization_id = ${organizationId} and id = ${id}`);
}

export type NewSignInLink = {
  id: SignInLinkId;
  organizationId: OrganizationId;
  role: Role;
  hash: Buffer;
  at: Date;
  expiresAt: Date;
};

export async function insertSignInLink(db: SystemDb, link: NewSignInLink): Promise<void> {
  await db.execute(sql`
    insert into sign_in_links (organization_id, id, role, secret_hash, created_at, expires_at)
    values (${link.organizationId}, ${link.id}, ${link.role}, ${link.hash}, ${link.at}, ${link.expiresAt})`);
}

/**
 * Uses a link up: of any number of callers at once exactly one gets it. Null when unknown, used or expired, or when its
 * organization has been deleted.
 */
export async function claimSignInLink(
  tx: SystemTx,
  hash: Buffer,
  at: Date,
): Promise<{ organizationId: OrganizationId; role: Role } | null> {
  const row = await tx.maybeOne<{ organization_id: OrganizationId; role: Role }>(sql`
    update sign_in_links l set used_at = ${at} from organizations o
    where l.secret_hash = ${hash} and l.used_at is null and l.expires_at > ${at}
      and o.id = l.organization_id and o.deleted_at is null
    returning l.organization_id, l.role`);
  return row === null ? null : { organizationId: row.organization_id, role: row.role };
}

/** Removes what can no longer be used. Returns how many rows. */
export async function deleteExpired(db: SystemDb, at: Date): Promise<number> {
  const sessions = await db.execute(sql`delete from sessions where expires_at < ${at}`);
  return (
    sessions + (await db.execute(sql`delete from sign_in_links where expires_at < ${at} or used_at < ${at}`))
  );
}
