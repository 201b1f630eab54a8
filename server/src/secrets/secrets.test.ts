import { createSecretKey, randomBytes } from 'node:crypto';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { type DataKeyId, newId, type OrganizationId, type ServerId } from '../ids.ts';
import { createKeyring, masterKey, Secret } from '../platform/keyring.ts';
import { openServerToken, type SealedServerToken, type SecretPurpose, sealServerToken } from './secrets.ts';

const master = masterKey(randomBytes(32));
const keyring = createKeyring([master]);
const origin = 'https://web-1.example:8443';
const undecryptable = { ok: false, reason: 'undecryptable' };

function newDataKey() {
  const [organizationId, dataKeyId] = [newId<OrganizationId>(0), newId<DataKeyId>(0)];
  return { ...keyring.createDataKey(organizationId, dataKeyId), organizationId, dataKeyId };
}

function sealed(text: string, wrapped = newDataKey()): SealedServerToken {
  const purpose: SecretPurpose = 'polling_token';
  const place = { ...wrapped, serverId: newId<ServerId>(0), purpose, origin, version: 1 };
  const dataKey = keyring.unwrap(wrapped);
  if (!dataKey.ok) throw new Error(dataKey.reason);
  return { ...place, ...sealServerToken(dataKey.key, place, new Secret(text)) };
}

test('a token opens for its own origin', () => {
  const opened = openServerToken(keyring, sealed('tökén'), origin);
  if (!opened.ok) throw new Error(opened.reason);
  expect(opened.token.reveal()).toBe('tökén');
});

test('a token does not open for another origin, even where the row was edited to agree', () => {
  const row = sealed('token');
  for (const rogue of ['https://rogue.example:8443', 'http://web-1.example:8443', 'https://web-1.example']) {
    expect(openServerToken(keyring, row, rogue)).toEqual({ ok: false, reason: 'origin_changed' });
    expect(openServerToken(keyring, { ...row, origin: rogue }, rogue)).toEqual(undecryptable);
  }
});

test('a ciphertext moved to another server, organization, purpose or version does not open', () => {
  const row = sealed('token');
  const other = sealed('other token');
  const moves: { [field in keyof SealedServerToken]?: unknown }[] = [
    { serverId: other.serverId },
    { organizationId: other.organizationId },
    { purpose: 'webhook_secret' },
    { version: 2 },
    { nonce: other.nonce },
    { nonce: other.nonce, ciphertext: other.ciphertext },
    { dataKeyId: other.dataKeyId, wrappedKey: other.wrappedKey },
    { organizationId: other.organizationId, dataKeyId: other.dataKeyId, wrappedKey: other.wrappedKey },
  ];
  for (const move of moves) {
    expect(openServerToken(keyring, Object.assign({ ...row }, move), origin)).toEqual(undecryptable);
  }
});

test('under the same data key too, a ciphertext stays with its server', () => {
  const dataKey = newDataKey();
  const [a, b] = [sealed('a', dataKey), sealed('b', dataKey)];
  expect(openServerToken(keyring, a, origin).ok).toBe(true);
  const moved = { ...a, nonce: b.nonce, ciphertext: b.ciphertext };
  expect(openServerToken(keyring, moved, origin)).toEqual(undecryptable);
});

test('any changed byte anywhere in what is stored is refused', () => {
  const row = sealed('a polling token');
  fc.assert(
    fc.property(
      fc.constantFrom('nonce' as const, 'ciphertext' as const, 'wrappedKey' as const),
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      (part, at, difference) => {
        const changed = Buffer.from(row[part]);
        changed[at % changed.length]! ^= difference;
        expect(openServerToken(keyring, { ...row, [part]: changed }, origin)).toEqual(undecryptable);
      },
    ),
  );
});

test('random bytes are refused and never throw', () => {
  const row = sealed('a polling token');
  const bytes = fc.uint8Array({ maxLength: 80 }).map(array => Buffer.from(array));
  fc.assert(
    fc.property(bytes, bytes, bytes, (nonce, ciphertext, wrappedKey) => {
      expect(openServerToken(keyring, { ...row, nonce, ciphertext }, origin)).toEqual(undecryptable);
      expect(openServerToken(keyring, { ...row, wrappedKey }, origin)).toEqual(undecryptable);
    }),
  );
});

test('without the master key the reason says so; with a wrong one under its id nothing opens', () => {
  const row = sealed('token');
  const stranger = createKeyring([masterKey(randomBytes(32))]);
  expect(openServerToken(stranger, row, origin)).toEqual({ ok: false, reason: 'missing_key' });
  const impostor = createKeyring([{ id: master.id, key: createSecretKey(randomBytes(32)) }]);
  expect(openServerToken(impostor, row, origin)).toEqual(undecryptable);
});
