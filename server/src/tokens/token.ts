import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { crc32 } from 'node:zlib';

/** API tokens are this prefix, 256 random bits in base64url, and their CRC-32 in hex: scanners find leaked ones. */
const prefix = 'flt_';

/** A new API token. It is shown once; only its hash is stored. */
export function mintToken(): string {
  const secret = randomBytes(32).toString('base64url');
  return `${prefix}${secret}${checksum(secret)}`;
}

const checksum = (secret: string): string => crc32(secret).toString(16).padStart(8, '0');

/**
 * SHA-256 of a credential we verify. A plain hash is enough because the value has at least 128 random bits
 * (ours have 256; a given OPSFLEET_ADMIN_TOKEN has 32 characters or more).
 */
export const hashCredential = (credential: string): Buffer =>
  createHash('sha256').update(credential).digest();

/** Compares two hashes without telling, by its time, where they differ. */
export const sameHash = (a: Buffer, b: Buffer): boolean => a.length === b.length && timingSafeEqual(a, b);

/** 256 random bits for what travels in a cookie or in a link. */
export const mintCredential = (): string => randomBytes(32).toString('base64url');
