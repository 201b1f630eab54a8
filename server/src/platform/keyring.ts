import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto';
import { inspect } from 'node:util';

/** A text that no log line, error, JSON document or template can show: only `reveal()` hands it out. */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return '[secret]';
  }

  toJSON(): string {
    return '[secret]';
  }

  [inspect.custom](): string {
    return '[secret]';
  }
}

const cipher = 'aes-256-gcm';
const keyBytes = 32;
// NIST SP 800-38D §8.2.2: random 96-bit nonces are good for 2^32 messages under one key.
const nonceBytes = 12;
// Without this option Node accepts a tag cut down to 4 bytes, which 2^32 guesses forge.
const authTagLength = 16;

/** What `seal` made: `ciphertext` is the encrypted bytes followed by the 16-byte tag. */
export type Sealed = { nonce: Buffer; ciphertext: Buffer };

/** AES-256-GCM under a fresh random nonce. `context` is authenticated, not stored: `open` needs the same. */
export function seal(key: KeyObject, plaintext: Buffer, context: readonly string[]): Sealed {
  const nonce = randomBytes(nonceBytes);
  const encrypt = createCipheriv(cipher, key, nonce, { authTagLength });
  encrypt.setAAD(encodeContext(context));
  const ciphertext = Buffer.concat([encrypt.update(plaintext), encrypt.final(), encrypt.getAuthTag()]);
  return { nonce, ciphertext };
}

/** The plaintext, or null when key, context, nonce or ciphertext is not exactly that of `seal`. */
export function open(key: KeyObject, sealed: Sealed, context: readonly string[]): Buffer | null {
  const end = sealed.ciphertext.length - authTagLength;
  if (end < 0 || sealed.nonce.length !== nonceBytes) return null;
  const decrypt = createDecipheriv(cipher, key, sealed.nonce, { authTagLength });
  decrypt.setAAD(encodeContext(context));
  decrypt.setAuthTag(sealed.ciphertext.subarray(end));
  const plaintext = decrypt.update(sealed.ciphertext.subarray(0, end));
  try {
    decrypt.final();
  } catch {
    return null;
  }
  return plaintext;
}

/** Each field with its length in bytes (32 bits, big-endian) in front: no two lists of fields encode alike. */
function encodeContext(fields: readonly string[]): Buffer {
  let bytes = 0;
  for (const field of fields) bytes += 4 + Buffer.byteLength(field);
  const encoded = Buffer.allocUnsafe(bytes);
  let end = 0;
  for (const field of fields) {
    const length = encoded.write(field, end + 4);
    encoded.writeUInt32BE(length, end);
    end += 4 + length;
  }
  return encoded;
}

/**
 * Recognises a value without keeping it: HMAC-SHA256 in hex. Its key is derived from the data key (HKDF,
 * RFC 5869), so that the same value looks different in every organization, and a copy of
 * the database alone is no way to test guesses.
 */
export function fingerprint(dataKey: KeyObject, value: Secret): string {
  const subkey = hkdfSync('sha256', dataKey, '', 'opsfleet fingerprint v1', keyBytes);
  return createHmac('sha256', Buffer.from(subkey)).update(value.reveal(), 'utf8').digest('hex');
}

export type MasterKey = { id: string; key: KeyObject };

/** At least one: the first wraps, all of them unwrap. */
export type MasterKeys = readonly [MasterKey, ...MasterKey[]];

/** A master key of 32 bytes under its id, which says nothing about the key. */
export function masterKey(bytes: Buffer): MasterKey {
  if (bytes.length !== keyBytes) {
    throw new RangeError(`a master key is ${keyBytes} bytes, not ${bytes.length}`);
  }
  const digest = createHash('sha256').update('opsfleet master key id').update(bytes).digest('hex');
  return { id: digest.slice(0, 16), key: createSecretKey(bytes) };
}

/** A data key as it is stored: encrypted by the master key it names, bound to its organization and id. */
export type WrappedDataKey = {
  organizationId: string;
  dataKeyId: string;
  masterKeyId: string;
  /** Nonce, encrypted key, tag. */
  wrappedKey: Buffer;
};

export type UnwrappedDataKey =
  | { ok: true; key: KeyObject }
  | { ok: false; reason: 'missing_key' | 'undecryptable' };

export type RewrappedDataKey =
  | { ok: true; wrapped: WrappedDataKey }
  | { ok: false; reason: 'missing_key' | 'undecryptable' };

/** The master keys of this process, and the data keys they opened. */
export type Keyring = {
  /** The id of the master key that wraps. */
  readonly masterKeyId: string;
  has(masterKeyId: string): boolean;
  /** A new random data key, wrapped. */
  createDataKey(organizationId: string, dataKeyId: string): WrappedDataKey;
  unwrap(wrapped: WrappedDataKey): UnwrappedDataKey;
  /** The same data key under the master key that wraps now. */
  rewrap(wrapped: WrappedDataKey): RewrappedDataKey;
};

/**
 * Builds the keyring. Unwrapped data keys stay in memory, the `maxCachedDataKeys` used last: one entry is an
 * organization, and a worker asks for the same few on every poll.
 */
export function createKeyring(masterKeys: MasterKeys, maxCachedDataKeys = 10_000): Keyring {
  const byId = new Map(masterKeys.map(({ id, key }) => [id, key]));
  const wrapping = masterKeys[0];
  const cache = new Map<string, { wrapped: WrappedDataKey; key: KeyObject }>();

  const wrap = (key: KeyObject, organizationId: string, dataKeyId: string): WrappedDataKey => {
    const { nonce, ciphertext } = seal(wrapping.key, key.export(), wrapContext(organizationId, dataKeyId));
    return {
      organizationId,
      dataKeyId,
      masterKeyId: wrapping.id,
      wrappedKey: Buffer.concat([nonce, ciphertext]),
    };
  };

  const cached = (wrapped: WrappedDataKey): KeyObject | null => {
    const entry = cache.get(wrapped.dataKeyId);
    // A row that was tampered with must fail here as it would in a process that never saw the real one.
    if (entry === undefined || !sameWrapped(entry.wrapped, wrapped)) return null;
    cache.delete(wrapped.dataKeyId);
    cache.set(wrapped.dataKeyId, entry);
    return entry.key;
  };

  const unwrap = (wrapped: WrappedDataKey): UnwrappedDataKey => {
    const known = cached(wrapped);
    if (known !== null) return { ok: true, key: known };
    const master = byId.get(wrapped.masterKeyId);
    if (master === undefined) return { ok: false, reason: 'missing_key' };
    const sealed = {
      nonce: wrapped.wrappedKey.subarray(0, nonceBytes),
      ciphertext: wrapped.wrappedKey.subarray(nonceBytes),
    };
    const bytes = open(master, sealed, wrapContext(wrapped.organizationId, wrapped.dataKeyId));
    if (bytes === null) return { ok: false, reason: 'undecryptable' };
    const key = createSecretKey(bytes);
    const { organizationId, dataKeyId, masterKeyId, wrappedKey } = wrapped;
    cache.delete(dataKeyId);
    // Picked out, because `wrapped` may be a whole row, which would stay in memory with it.
    cache.set(dataKeyId, { wrapped: { organizationId, dataKeyId, masterKeyId, wrappedKey }, key });
    if (cache.size > maxCachedDataKeys) cache.delete(cache.keys().next().value!);
    return { ok: true, key };
  };

  return {
    masterKeyId: wrapping.id,
    has: masterKeyId => byId.has(masterKeyId),
    createDataKey: (organizationId, dataKeyId) =>
      wrap(createSecretKey(randomBytes(keyBytes)), organizationId, dataKeyId),
    unwrap,
    rewrap(wrapped) {
      const opened = unwrap(wrapped);
      if (!opened.ok) return opened;
      return { ok: true, wrapped: wrap(opened.key, wrapped.organizationId, wrapped.dataKeyId) };
    },
  };
}

function wrapContext(organizationId: string, dataKeyId: string): string[] {
  return ['opsfleet.data-key.v1', organizationId, dataKeyId];
}

function sameWrapped(a: WrappedDataKey, b: WrappedDataKey): boolean {
  return (
    a.organizationId === b.organizationId &&
    a.masterKeyId === b.masterKeyId &&
    a.wrappedKey.equals(b.wrappedKey)
  );
}
