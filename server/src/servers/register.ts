import type { Context } from '../context.ts';
import { append } from '../events/outbox.ts';
import { newId, type ServerId } from '../ids.ts';
import type { TenantDb } from '../platform/db.ts';
import { parseTargetUrl, type TargetUrl } from '../platform/egress/url.ts';
import { invalidField } from '../platform/http/errors.ts';
import { checkIfMatch, type IfMatch } from '../platform/http/if-match.ts';
import { Secret } from '../platform/keyring.ts';
import { fingerprintServerToken, storeServerToken } from '../secrets/store.ts';
import { normalTags, type ServerRegistration, type ServerUpdate } from './server.ts';
import { insertServer, lockServer, type ServerChanges, updateServer } from './store.ts';

/**
 * Stores a new server with its token sealed, and tells the workers. Nothing is asked of the server yet. With
 * `slot` it is pinned to that slot.
 */
export async function registerServer(
  context: Context,
  db: TenantDb,
  registration: ServerRegistration,
  { slot }: { slot?: number } = {},
): Promise<ServerId> {
  const at = context.clock.now();
  const id = newId<ServerId>(at.getTime());
  const url = targetOf(context, registration.api_url);
  const token = new Secret(registration.api_token);
  await db.transaction(async tx => {
    await insertServer(tx, {
      id,
      name: registration.name.trim(),
      description: registration.description ?? null,
      hostname: registration.hostname,
      apiUrl: url.href,
      tokenFingerprint: await fingerprintServerToken(tx, context.keyring, { token, at }),
      adapter: registration.adapter ?? 'ops-center',
      region: registration.region?.trim() ?? null,
      environment: registration.environment?.trim() ?? null,
      tags: normalTags(registration.tags ?? []),
      metadata: registration.metadata ?? {},
      healthIntervalSeconds: registration.health_interval_seconds ?? null,
      metricsIntervalSeconds: registration.metrics_interval_seconds ?? null,
      ...(slot === undefined ? {} : { slot }),
      at,
    });
    await storeServerToken(tx, context.keyring, { serverId: id, origin: url.origin, token, at });
    await append(tx, at, [
      { type: 'server.registered', subject: id, data: { name: registration.name.trim() } },
    ]);
  });
  context.feed.announce();
  return id;
}

/** Applies a change to a server, and pins it to `slot`; false when there is none. An `If-Match` is honoured. */
export async function changeServer(
  context: Context,
  db: TenantDb,
  {
    id,
    update,
    slot,
    headers = {},
  }: { id: ServerId; update: ServerUpdate; slot?: number; headers?: IfMatch },
): Promise<boolean> {
  const at = context.clock.now();
  const found = await db.transaction(async tx => {
    const current = await lockServer(tx, id);
    if (current === null) return false;
    checkIfMatch(headers, current.revision);
    const { api_token: newToken, api_url: apiUrl, ...rest } = update;
    const url = targetOf(context, apiUrl ?? current.api_url);
    const moved = url.origin !== new URL(current.api_url).origin;
    if (moved && newToken === undefined) {
      // Otherwise whoever may edit an address could have the token sent to a server of their own.
      throw invalidField('/api_token', 'is required again, because api_url names another origin');
    }
    const changes: ServerChanges = { ...rest };
    if (apiUrl !== undefined) changes.api_url = url.href;
    if (slot !== undefined) changes.slot = slot;
    if (update.name !== undefined) changes.name = update.name.trim();
    if (update.region !== undefined) changes.region = update.region?.trim() ?? null;
    if (update.environment !== undefined) changes.environment = update.environment?.trim() ?? null;
    if (update.tags !== undefined) changes.tags = normalTags(update.tags);
    // Each of these starts the server's health anew; said again, it changes nothing.
    for (const field of ['api_url', 'adapter', 'status'] as const) {
      if (changes[field] === current[field]) delete changes[field];
    }
    if (newToken !== undefined) {
      const token = new Secret(newToken);
      const stored = await storeServerToken(tx, context.keyring, {
        serverId: id,
        origin: url.origin,
        token,
        at,
      });
      changes.api_token_hash = stored.fingerprint;
    }
    await updateServer(tx, id, changes, at);
    await append(tx, at, [
      {
        type: 'server.updated',
        subject: id,
        data: { fields: Object.keys(slot === undefined ? update : { ...update, slot }) },
      },
    ]);
    return true;
  });
  if (found) context.feed.announce();
  return found;
}

/** The address, if this installation may poll it. Names are resolved at each poll, not here. */
function targetOf(context: Context, apiUrl: string): TargetUrl {
  const parsed = parseTargetUrl(apiUrl, context.egress.policy);
  if (!parsed.ok) throw invalidField('/api_url', parsed.detail);
  return parsed.url;
}
