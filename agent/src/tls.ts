import { createPrivateKey, X509Certificate } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { hostname, networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { selfSigned } from './certificate.ts';
import type { Clock } from './clock.ts';
import { StartupError } from './errors.ts';
import { reasonOf } from './log.ts';
import { readSecretFile } from './secret-file.ts';

/** What the agent proves itself with: certificate chain and private key, PEM. */
export type Identity = { cert: string; key: string };

/** Where the identity comes from. */
export type TlsSettings =
  | { mode: 'off' }
  | { mode: 'auto' }
  | { mode: 'files'; certPath: string; keyPath: string };

const maxPemBytes = 256 * 1024;
const dayMs = 24 * 60 * 60 * 1000;
// Whoever pins the fingerprint should not have to do it again while the machine lives.
const validityDays = 3_650;
const renewalDays = 30;
// A container host has hundreds of addresses; a certificate need not.
const maxAddresses = 64;

/**
 * The identity to serve with, or undefined where TLS is off. In `auto` mode it is made on the first start,
 * kept in `dataDir` with the key readable by its owner alone, and made anew 30 days before it expires.
 */
export function loadIdentity(tls: TlsSettings, dataDir: string, clock: Clock): Identity | undefined {
  if (tls.mode === 'off') return undefined;
  return tls.mode === 'files' ? givenIdentity(tls.certPath, tls.keyPath) : ownIdentity(dataDir, clock);
}

/** SHA-256 of the first certificate, upper-case hexadecimal with colons, as browsers and openssl show it. */
export function fingerprintOf(identity: Identity): string {
  return new X509Certificate(identity.cert).fingerprint256;
}

function givenIdentity(certPath: string, keyPath: string): Identity {
  const key = readSecretFile('OPSFLEET_AGENT_TLS_KEY', keyPath, maxPemBytes);
  let cert: string;
  let matches: boolean;
  try {
    cert = readFileSync(certPath, 'utf8');
    matches = new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
  } catch (error) {
    throw new StartupError(
      `OPSFLEET_AGENT_TLS_CERT and OPSFLEET_AGENT_TLS_KEY: ${certPath} and ${keyPath} must be a PEM certificate and its key: ${reasonOf(error)}`,
      { cause: error },
    );
  }
  if (!matches) throw new StartupError(`OPSFLEET_AGENT_TLS_KEY: ${keyPath} is not the key of ${certPath}`);
  return { cert, key };
}

function ownIdentity(dataDir: string, clock: Clock): Identity {
  // One file holds both, so that no crash can leave a certificate with another one's key.
  const path = join(dataDir, 'identity.pem');
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    const kept = keptIdentity(path, clock);
    if (kept !== undefined) return kept;
    const made = makeIdentity(clock);
    const draft = `${path}.${process.pid}`;
    writeFileSync(draft, `${made.key}${made.cert}`, { mode: 0o600 });
    chmodSync(draft, 0o600);
    renameSync(draft, path);
    return made;
  } catch (error) {
    if (error instanceof StartupError) throw error;
    throw new StartupError(
      `OPSFLEET_AGENT_DATA_DIR: the agent's own certificate cannot be kept in ${dataDir}: ${reasonOf(error)}`,
      { cause: error },
    );
  }
}

function keptIdentity(path: string, clock: Clock): Identity | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  const split = text.indexOf('-----BEGIN CERTIFICATE-----');
  const identity = { key: text.slice(0, split), cert: text.slice(split) };
  const certificate = new X509Certificate(identity.cert);
  if (!certificate.checkPrivateKey(createPrivateKey(identity.key))) throw new Error(`${path} is damaged`);
  const remainingMs = certificate.validToDate.getTime() - clock.now().getTime();
  return remainingMs > renewalDays * dayMs ? identity : undefined;
}

function makeIdentity(clock: Clock): Identity {
  const nowMs = clock.now().getTime();
  const name = hostname();
  const addresses = Object.values(networkInterfaces())
    .flatMap(entries => entries ?? [])
    .map(entry => entry.address.split('%', 1)[0] ?? '');
  return selfSigned({
    // X.509 allows a common name 64 characters; the alternative names are what clients check.
    commonName: name.slice(0, 64),
    dnsNames: [...new Set([name, 'localhost'])].filter(isDnsName),
    ipAddresses: [...new Set(['127.0.0.1', '::1', ...addresses])].slice(0, maxAddresses),
    // A day early, for readers whose clock is behind.
    notBefore: new Date(nowMs - dayMs),
    notAfter: new Date(nowMs + validityDays * dayMs),
  });
}

function isDnsName(name: string): boolean {
  return /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/i.test(name);
}
