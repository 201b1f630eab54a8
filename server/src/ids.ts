import { randomBytes } from 'node:crypto';

declare const brand: unique symbol;
type Id<Noun extends string> = string & { readonly [brand]: Noun };

/** Identifiers are version 7 uuids (RFC 9562 §5.7): ordered by time, and one type per noun. */
export type OrganizationId = Id<'organization'>;
export type ServerId = Id<'server'>;
export type GroupId = Id<'group'>;
export type TokenId = Id<'token'>;
export type SessionId = Id<'session'>;
export type SignInLinkId = Id<'sign-in link'>;
export type DataKeyId = Id<'data key'>;
export type JobId = Id<'job'>;
export type WorkerId = Id<'worker'>;

/** A new id: 48 bits of `atMs` (Unix milliseconds), then 74 random bits. */
export function newId<T extends Id<string>>(atMs: number): T {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(atMs, 0, 6);
  bytes[6] = 0x70 | (bytes[6]! & 0x0f);
  bytes[8] = 0x80 | (bytes[8]! & 0x3f);
  const hex = bytes.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}` as T;
}

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/**
 * The id that a path or body names, or null when no id could look like that. Callers answer null exactly
 * like an id that does not exist, so that the form of an id is no oracle either.
 */
export function parseId<T extends Id<string>>(text: string): T | null {
  const lower = text.toLowerCase();
  return uuid.test(lower) ? (lower as T) : null;
}

/** In place of an organization, where an event is of the installation itself. No organization is shown it. */
export const installation = '00000000-0000-0000-0000-000000000000' as OrganizationId;
