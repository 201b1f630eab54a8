import { createHmac } from 'node:crypto';

/** Far more than one process can open files for; the last address is 127.16.66.64. */
export const MAX_SERVERS = 1_000_000;

/** Length in characters of every token: SHA-256 in base64url without padding. */
export const TOKEN_LENGTH = 43;

/** How the outside reaches one simulated server. */
export type Target = { index: number; address: string; url: string; token: string };

/** The server's own loopback address, from 127.1.0.1 upwards. 127.0.0.0/16 stays free for real services. */
export function addressOf(index: number): string {
  const host = index + 1;
  return `127.${1 + (host >> 16)}.${(host >> 8) & 255}.${host & 255}`;
}

/** The only bearer token the server accepts. Derived, so that two processes need to share only the seed. */
export function tokenOf(seed: string, index: number): string {
  return createHmac('sha256', seed).update(`token ${index}`).digest('base64url');
}

/** Address, base URL (no trailing slash) and token of one server. */
export function targetOf(seed: string, port: number, index: number): Target {
  const address = addressOf(index);
  return { index, address, url: `http://${address}:${port}`, token: tokenOf(seed, index) };
}

/** The whole fleet of a simulator. */
export function targetsOf({
  seed,
  port,
  servers,
}: {
  seed: string;
  port: number;
  servers: number;
}): Target[] {
  return Array.from({ length: servers }, (_, index) => targetOf(seed, port, index));
}
