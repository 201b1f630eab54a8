import type { KeyObject } from 'node:crypto';
import type { DataKeyId, OrganizationId, ServerId } from '../ids.ts';
import { type Keyring, open, type Sealed, Secret, seal } from '../platform/keyring.ts';

/** What a secret of a server is for. A ciphertext made for one purpose does not open for another. */
export type SecretPurpose = 'polling_token';

/** Where a secret belongs. All of it is authenticated: moved anywhere else, the ciphertext does not open. */
export type SecretPlace = {
  organizationId: OrganizationId;
  serverId: ServerId;
  purpose: SecretPurpose;
  /** scheme://host:port, the only place the secret may be sent to. */
  origin: string;
  dataKeyId: DataKeyId;
  /** Grows by one each time the secret is replaced: an older ciphertext does not open as the current one. */
  version: number;
};

/** A stored token with everything needed to open it but the master key. */
export type SealedServerToken = SecretPlace & Sealed & { masterKeyId: string; wrappedKey: Buffer };

export type OpenedServerToken =
  | { ok: true; token: Secret }
  /** `origin_changed`: the server's address moved since; the token has to be entered again. */
  | { ok: false; reason: 'origin_changed' | 'undecryptable' | 'missing_key' };

/** Encrypts a token for one place. */
export function sealServerToken(dataKey: KeyObject, place: SecretPlace, token: Secret): Sealed {
  return seal(dataKey, Buffer.from(token.reveal(), 'utf8'), context(place));
}

/**
 * Opens a token for the one origin it may be sent to. Fails closed: whatever was changed in the row, in its
 * data key or in the server's address, the answer is a reason and no token. Never throws.
 */
export function openServerToken(
  keyring: Keyring,
  sealed: SealedServerToken,
  currentOrigin: string,
): OpenedServerToken {
  if (sealed.origin !== currentOrigin) return { ok: false, reason: 'origin_changed' };
  const dataKey = keyring.unwrap(sealed);
  if (!dataKey.ok) return dataKey;
  const plaintext = open(dataKey.key, sealed, context(sealed));
  if (plaintext === null) return { ok: false, reason: 'undecryptable' };
  return { ok: true, token: new Secret(plaintext.toString('utf8')) };
}

function context(place: SecretPlace): string[] {
  return [
    'opsfleet.secret.v1',
    place.organizationId,
    place.serverId,
    place.purpose,
    place.origin,
    place.dataKeyId,
    String(place.version),
  ];
}
