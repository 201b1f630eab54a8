import { join } from 'node:path';
import { insertSignInLink } from './auth/store.ts';
import type { Context } from './context.ts';
import { newId, type OrganizationId, type SignInLinkId, type TokenId } from './ids.ts';
import { ensureOrganization, firstOrganization } from './organizations/store.ts';
import { createPrivateFile, readPrivateFile } from './platform/private-file.ts';
import { insertToken, tokenExists } from './tokens/store.ts';
import { hashCredential, mintCredential, mintToken } from './tokens/token.ts';

/** Makes the first organization and its admin token where they are missing. */
export async function bootstrap(
  context: Context,
): Promise<{ organizationId: OrganizationId; token: AdminToken }> {
  const at = context.clock.now();
  const organization = await ensureOrganization(context.db.system, {
    id: newId<OrganizationId>(at.getTime()),
    name: firstOrganization,
    at,
  });
  return { organizationId: organization.id, token: await ensureAdminToken(context, organization.id) };
}

/** `given`: the operator set it and knows it. Otherwise it is ours to show. */
export type AdminToken = { given: true } | { given: false; token: string };

/**
 * The token is stored as a hash like any other, so it can be revoked; a revoked one stays revoked. To be
 * able to print it at every start it is also kept in the data directory, beside the master key, which is
 * worth more.
 */
async function ensureAdminToken(context: Context, organizationId: OrganizationId): Promise<AdminToken> {
  const { settings, db, clock } = context;
  const tenant = db.tenant(organizationId);
  const token = settings.adminToken ?? (await tokenOfDataDir(join(settings.dataDir, 'admin-token')));
  const hash = hashCredential(token);
  if (!(await tokenExists(tenant, hash))) {
    const at = clock.now();
    const id = newId<TokenId>(at.getTime());
    const name = settings.adminToken === null ? 'first start' : 'OPSFLEET_ADMIN_TOKEN';
    await insertToken(tenant, { id, name, role: 'admin', hash, at, expiresAt: null });
  }
  return settings.adminToken === null ? { given: false, token } : { given: true };
}

async function tokenOfDataDir(path: string): Promise<string> {
  await createPrivateFile(path, `${mintToken()}\n`);
  return (await readPrivateFile(path))!.trim();
}

const linkLifetimeMs = 15 * 60_000;

/** A new sign-in link for an admin of the organization: the code that goes behind `/sign-in#link=`. */
export async function createSignInLink(context: Context, organizationId: OrganizationId): Promise<string> {
  const at = context.clock.now();
  const code = mintCredential();
  await insertSignInLink(context.db.system, {
    id: newId<SignInLinkId>(at.getTime()),
    organizationId,
    role: 'admin',
    hash: hashCredential(code),
    at,
    expiresAt: new Date(at.getTime() + linkLifetimeMs),
  });
  return code;
}
