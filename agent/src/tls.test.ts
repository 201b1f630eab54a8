import { once } from 'node:events';
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { connect, createServer } from 'node:tls';
import { expect, onTestFinished, test } from 'vitest';
import { fakeClock } from '../test/clock.ts';
import { tempDir } from '../test/temp-dir.ts';
import { selfSigned } from './certificate.ts';
import { fingerprintOf, type Identity, loadIdentity } from './tls.ts';

const dayMs = 24 * 60 * 60 * 1000;
const clock = { now: () => new Date(), monotonicMs: () => 0 };

function filesOf({ cert, key }: Identity): { mode: 'files'; certPath: string; keyPath: string } {
  const directory = tempDir();
  const paths = { certPath: join(directory, 'cert.pem'), keyPath: join(directory, 'key.pem') };
  writeFileSync(paths.certPath, cert);
  writeFileSync(paths.keyPath, key, { mode: 0o600 });
  return { mode: 'files', ...paths };
}

function someIdentity(): Identity {
  return selfSigned({
    commonName: 'given',
    dnsNames: ['localhost'],
    ipAddresses: ['127.0.0.1'],
    notBefore: new Date(Date.now() - dayMs),
    notAfter: new Date(Date.now() + dayMs),
  });
}

/** The fingerprint a client sees that trusts nothing but `trusted` and checks the address it dials. */
async function shakeHands(identity: Identity, trusted: Identity): Promise<string> {
  const server = createServer(identity).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const client = connect({
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    ca: trusted.cert,
  });
  onTestFinished(() => void client.destroy());
  await once(client, 'secureConnect');
  return client.getPeerCertificate().fingerprint256;
}

test('off: no identity', () => {
  expect(loadIdentity({ mode: 'off' }, '/nowhere', clock)).toBeUndefined();
});

test('auto: made once, kept for its owner alone, and trusted by who pins it', async () => {
  const dataDir = join(tempDir(), 'new');
  const made = loadIdentity({ mode: 'auto' }, dataDir, clock)!;
  expect(loadIdentity({ mode: 'auto' }, dataDir, clock)).toEqual(made);
  expect(statSync(join(dataDir, 'identity.pem')).mode & 0o777).toBe(0o600);
  expect(statSync(dataDir).mode & 0o777).toBe(0o700);

  expect(await shakeHands(made, made)).toBe(fingerprintOf(made));
  await expect(shakeHands(someIdentity(), made)).rejects.toThrow();
});

test('auto: made anew 30 days before it expires', () => {
  const dataDir = tempDir();
  const later = fakeClock();
  const made = loadIdentity({ mode: 'auto' }, dataDir, later);
  later.advance(3_619 * dayMs);
  expect(loadIdentity({ mode: 'auto' }, dataDir, later)).toEqual(made);
  later.advance(dayMs);
  expect(loadIdentity({ mode: 'auto' }, dataDir, later)).not.toEqual(made);
});

test('auto: a damaged file and an unusable directory are named', () => {
  const dataDir = tempDir();
  writeFileSync(join(dataDir, 'identity.pem'), 'damaged');
  expect(() => loadIdentity({ mode: 'auto' }, dataDir, clock)).toThrow(`cannot be kept in ${dataDir}`);
  expect(() => loadIdentity({ mode: 'auto' }, '/dev/null/agent', clock)).toThrow('OPSFLEET_AGENT_DATA_DIR');
});

test('files: the given certificate and key', async () => {
  const given = someIdentity();
  const loaded = loadIdentity(filesOf(given), '/nowhere', clock)!;
  expect(await shakeHands(loaded, given)).toBe(fingerprintOf(given));
});

test('files: a key of another certificate, an open key and no certificate are refused', () => {
  const given = filesOf(someIdentity());
  const other = filesOf(someIdentity());
  expect(() => loadIdentity({ ...given, keyPath: other.keyPath }, '', clock)).toThrow('is not the key of');
  expect(() => loadIdentity({ ...given, certPath: given.keyPath }, '', clock)).toThrow(
    'must be a PEM certificate',
  );
  chmodSync(given.keyPath, 0o644);
  expect(() => loadIdentity(given, '', clock)).toThrow('OPSFLEET_AGENT_TLS_KEY');
  expect(readFileSync(given.keyPath, 'utf8')).toContain('PRIVATE KEY');
});
