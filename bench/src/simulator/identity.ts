import { createHmac } from 'node:crypto';

/** Far more than one process can open files for; the last address is 127.16.66.64. */
export const MAX_SERVERS = 1_000_000;

/** Length in characters of every token: SHA-256 in base64url without padding. */
export const TOKEN_LENGTH = 43;

/** How the outside reaches one simulated server. `index` is its place in the whole fleet. */
export type Target = { index: number; address: string; url: string; token: string };

/** What decides the targets of one simulator: the servers from `first` on, all at one port. */
export type FleetPart = {
  seed: string;
  port: number;
  scheme: 'http' | 'https';
  first: number;
  servers: number;
};

/** The server's own loopback address, from 127.1.0.1 upwards. 127.0.0.0/16 stays free for real services. */
export function addressOf(index: number): string {
  const host = index + 1;
  return `127.${1 + (host >> 16)}.${(host >> 8) & 255}.${host & 255}`;
}

/** Whose address it is; undefined for one that no server can have. */
export function indexOf(address: string): number | undefined {
  const match = /^127\.(\d+)\.(\d+)\.(\d+)$/.exec(address);
  if (match === null) return undefined;
  const host = ((Number(match[1]) - 1) << 16) | (Number(match[2]) << 8) | Number(match[3]);
  return host >= 1 && host <= MAX_SERVERS ? host - 1 : undefined;
}

/** The only bearer token the server accepts. Derived, so that two processes need to share only the seed. */
export function tokenOf(seed: string, index: number): string {
  return createHmac('sha256', seed).update(`token ${index}`).digest('base64url');
}

/** Address, base URL (no trailing slash) and token of one server. */
export function targetOf(
  { seed, port, scheme }: Pick<FleetPart, 'seed' | 'port' | 'scheme'>,
  index: number,
): Target {
  const address = addressOf(index);
  return { index, address, url: `${scheme}://${address}:${port}`, token: tokenOf(seed, index) };
}

/** All servers of a simulator. */
export function targetsOf(part: FleetPart): Target[] {
  return Array.from({ length: part.servers }, (_, place) => targetOf(part, part.first + place));
}
