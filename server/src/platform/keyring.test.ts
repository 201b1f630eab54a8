import { createCipheriv, createSecretKey, type KeyObject, randomBytes } from 'node:crypto';
import { format, inspect } from 'node:util';
import * as fc from 'fast-check';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import {
  createKeyring,
  fingerprint,
  type Keyring,
  type MasterKey,
  masterKey,
  open,
  Secret,
  seal,
  type WrappedDataKey,
} from './keyring.ts';

const key = createSecretKey(randomBytes(32));
const context = ['opsfleet.test.v1', 'organization', 'server'];

const newMasterKey = (): MasterKey => masterKey(randomBytes(32));

function unwrapped(keyring: Keyring, wrapped: WrappedDataKey): KeyObject {
  const opened = keyring.unwrap(wrapped);
  if (!opened.ok) throw new Error(opened.reason);
  return opened.key;
}

test('what was sealed opens again, whatever the bytes and the context', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.array(fc.string()), (bytes, fields) => {
      const plaintext = Buffer.from(bytes);
      expect(open(key, seal(key, plaintext, fields), fields)).toEqual(plaintext);
    }),
  );
});

test('sealing the same text twice shares neither nonce nor ciphertext', () => {
  const [a, b] = [seal(key, Buffer.from('token'), context), seal(key, Buffer.from('token'), context)];
  expect(a.nonce).not.toEqual(b.nonce);
  expect(a.ciphertext).not.toEqual(b.ciphertext);
});

test('any flipped bit, in the nonce or the ciphertext, is refused', () => {
  const sealed = seal(key, Buffer.from('a polling token'), context);
  for (const part of ['nonce', 'ciphertext'] as const) {
    for (let bit = 0; bit < sealed[part].length * 8; bit++) {
      const changed = Buffer.from(sealed[part]);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      expect(open(key, { ...sealed, [part]: changed }, context)).toBeNull();
    }
  }
});

test('a ciphertext of any other length is refused', () => {
  const sealed = seal(key, Buffer.from('a polling token'), context);
  for (let length = 0; length < sealed.ciphertext.length; length++) {
    expect(open(key, { ...sealed, ciphertext: sealed.ciphertext.subarray(0, length) }, context)).toBeNull();
  }
  const longer = Buffer.concat([sealed.ciphertext, Buffer.alloc(1)]);
  expect(open(key, { ...sealed, ciphertext: longer }, context)).toBeNull();
  expect(open(key, { ...sealed, nonce: sealed.nonce.subarray(0, 8) }, context)).toBeNull();
});

test('a valid tag of 4 bytes is refused', () => {
  const nonce = randomBytes(12);
  const short = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: 4 });
  const ciphertext = Buffer.concat([short.update('a polling token'), short.final(), short.getAuthTag()]);
  expect(open(key, { nonce, ciphertext }, [])).toBeNull();
});

test('another key or another context is refused', () => {
  const sealed = seal(key, Buffer.from('a polling token'), context);
  expect(open(createSecretKey(randomBytes(32)), sealed, context)).toBeNull();
  expect(open(key, sealed, [...context, ''])).toBeNull();
  expect(open(key, sealed, context.toReversed())).toBeNull();
});

test('two contexts never authenticate alike, however their fields are cut', () => {
  fc.assert(
    fc.property(fc.array(fc.string(), { minLength: 1 }), fc.array(fc.string(), { minLength: 1 }), (a, b) => {
      fc.pre(JSON.stringify(a) !== JSON.stringify(b));
      expect(open(key, seal(key, Buffer.from('x'), a), b)).toBeNull();
    }),
  );
  expect(open(key, seal(key, Buffer.from('x'), ['ab', 'c']), ['a', 'bc'])).toBeNull();
});

test('a fingerprint recognises a value within one data key only', () => {
  const other = createSecretKey(randomBytes(32));
  const token = new Secret('token');
  expect(fingerprint(key, token)).toMatch(/^[0-9a-f]{64}$/);
  expect(fingerprint(key, token)).toBe(fingerprint(key, new Secret('token')));
  expect(fingerprint(key, token)).not.toBe(fingerprint(key, new Secret('token ')));
  expect(fingerprint(key, token)).not.toBe(fingerprint(other, token));
});

test('a secret shows itself to nobody who does not ask for it', () => {
  const secret = new Secret('canary-value');
  const lines: string[] = [];
  const log = pino({}, { write: line => lines.push(line) });
  log.info({ secret, nested: { deep: [secret] } }, String(secret));
  log.error(new Error(`failed with ${String(secret)}`));
  const shown = [
    String(secret),
    JSON.stringify({ secret }),
    inspect({ secret }, { showHidden: true, depth: 9 }),
    format('%s %o %j', secret, secret, secret),
    JSON.stringify(structuredClone(secret)),
    JSON.stringify(Object.entries(secret)),
    ...lines,
  ];
  for (const text of shown) expect(text).not.toContain('canary');
  expect(secret.reveal()).toBe('canary-value');
});

test('the id of a master key is the same in every process and differs from key to key', () => {
  const bytes = Buffer.alloc(32, 'a key for the test of key ids ..');
  expect(masterKey(bytes).id).toBe(masterKey(Buffer.from(bytes)).id);
  expect(masterKey(bytes).id).toMatch(/^[0-9a-f]{16}$/);
  expect(newMasterKey().id).not.toBe(newMasterKey().id);
  expect(() => masterKey(randomBytes(16))).toThrow('32 bytes');
});

test('a data key unwraps to the same key in another process with the same master key', () => {
  const master = newMasterKey();
  const wrapped = createKeyring([master]).createDataKey('organization', 'key');
  const [a, b] = [createKeyring([master]), createKeyring([master])];
  expect(unwrapped(a, wrapped).equals(unwrapped(b, wrapped))).toBe(true);
});

test('a data key is bound to its organization, its id and its master key', () => {
  const [first, second] = [newMasterKey(), newMasterKey()];
  const wrapped = createKeyring([first]).createDataKey('organization', 'key');
  const undecryptable = { ok: false, reason: 'undecryptable' };
  const both = () => createKeyring([first, second]);
  expect(both().unwrap({ ...wrapped, organizationId: 'other' })).toEqual(undecryptable);
  expect(both().unwrap({ ...wrapped, dataKeyId: 'other' })).toEqual(undecryptable);
  expect(both().unwrap({ ...wrapped, masterKeyId: second.id })).toEqual(undecryptable);
  expect(both().unwrap({ ...wrapped, wrappedKey: Buffer.alloc(0) })).toEqual(undecryptable);
  expect(createKeyring([second]).unwrap(wrapped)).toEqual({ ok: false, reason: 'missing_key' });
});

test('a changed data key is refused although the real one is in memory', () => {
  const keyring = createKeyring([newMasterKey()]);
  const wrapped = keyring.createDataKey('organization', 'key');
  expect(keyring.unwrap(wrapped).ok).toBe(true);
  const changed = Buffer.from(wrapped.wrappedKey);
  changed[20]! ^= 1;
  expect(keyring.unwrap({ ...wrapped, wrappedKey: changed }).ok).toBe(false);
  expect(keyring.unwrap({ ...wrapped, organizationId: 'other' }).ok).toBe(false);
  expect(keyring.unwrap({ ...wrapped, masterKeyId: 'unknown' })).toEqual({
    ok: false,
    reason: 'missing_key',
  });
  expect(keyring.unwrap(wrapped).ok).toBe(true);
});

test('only the data keys used last stay in memory, and one that left is unwrapped again', () => {
  const keyring = createKeyring([newMasterKey()], 2);
  const a = keyring.createDataKey('organization', 'a');
  const b = keyring.createDataKey('organization', 'b');
  const [firstA, firstB] = [unwrapped(keyring, a), unwrapped(keyring, b)];
  expect(unwrapped(keyring, a)).toBe(firstA);
  unwrapped(keyring, keyring.createDataKey('organization', 'c'));
  expect(unwrapped(keyring, a)).toBe(firstA);
  expect(unwrapped(keyring, b)).not.toBe(firstB);
  expect(unwrapped(keyring, b).equals(firstB)).toBe(true);
});

test('rewrapping moves a data key to the first master key and keeps it the same', () => {
  const [old, fresh] = [newMasterKey(), newMasterKey()];
  const wrapped = createKeyring([old]).createDataKey('organization', 'key');
  const rewrapped = createKeyring([fresh, old]).rewrap(wrapped);
  if (!rewrapped.ok) throw new Error(rewrapped.reason);
  expect(rewrapped.wrapped.masterKeyId).toBe(fresh.id);
  const before = unwrapped(createKeyring([old]), wrapped);
  expect(unwrapped(createKeyring([fresh]), rewrapped.wrapped).equals(before)).toBe(true);
  expect(createKeyring([fresh]).rewrap(wrapped)).toEqual({ ok: false, reason: 'missing_key' });
});
