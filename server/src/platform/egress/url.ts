import { isIP } from 'node:net';
import { type EgressPolicy, mayAllowPlain, refusalOf } from './policy.ts';

const parsed: unique symbol = Symbol('parsed');

/**
 * An address that was parsed and found fit to be called. Only this file makes one: parse a server's address
 * once, keep the result, and use it for every poll.
 */
export type TargetUrl = {
  /** Normalised: lower case, punycode, default port left out, no trailing slash added to a path. */
  readonly href: string;
  readonly origin: string;
  readonly plain: boolean;
  /** Lower case, without the brackets of an IPv6 address. */
  readonly hostname: string;
  readonly port: number;
  /** Path and query, as the request line carries them. */
  readonly path: string;
  /** The hostname where it is an address itself, so that no name has to be resolved. */
  readonly address: string | null;
  readonly [parsed]: true;
};

type TargetUrlReason =
  | 'too_long'
  | 'malformed'
  | 'scheme'
  | 'userinfo'
  | 'fragment'
  | 'host'
  | 'port'
  | 'address_denied'
  | 'plain_denied';

/** `detail` continues the field's name: "api_url" + " " + "must …". It repeats nothing of the input. */
type TargetUrlRefusal = { ok: false; reason: TargetUrlReason; detail: string };
export type TargetUrlResult = { ok: true; url: TargetUrl } | TargetUrlRefusal;

export const maxUrlLength = 512;

// Services that do not speak HTTP and that a request could talk into doing something: echo, discard, chargen,
// ftp, ssh, telnet, smtp, dns, pop, imap, ldap, smb, syslog, mysql, postgresql, redis, memcached, mongodb.
const foreignPorts = new Set([
  7, 9, 19, 20, 21, 22, 23, 25, 53, 110, 119, 135, 139, 143, 389, 445, 465, 514, 587, 636, 993, 995, 3306,
  5432, 6379, 11_211, 27_017,
]);

const hostLabel = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;

/**
 * Parses and judges the address of a managed server or a webhook. Names are not resolved here: every call
 * checks what they lead to, and a registration can ask `Egress.check`.
 */
export function parseTargetUrl(text: string, policy: EgressPolicy): TargetUrlResult {
  if (text.length > maxUrlLength)
    return refuse('too_long', `must be at most ${maxUrlLength} characters long`);
  // The WHATWG parser drops tabs and line breaks, trims spaces and reads a backslash as a slash: an address
  // that means one thing to a reader and another to the parser is refused instead.
  if (/[\s\\\p{Cc}]/u.test(text))
    return refuse('malformed', 'must not contain spaces, backslashes or control characters');
  const authority = /^https?:\/\/([^/?#]+)/i.exec(text)?.[1];
  if (authority === undefined) return refuse('scheme', 'must start with https:// and a host');
  if (authority.includes('@')) return refuse('userinfo', 'must not contain a user name or password');
  if (text.includes('#')) return refuse('fragment', 'must not contain a fragment (#)');
  const url = URL.parse(text);
  if (url === null) return refuse('malformed', 'must be an address like https://server.example.com:8443');
  return judge(url, policy, foreignPorts);
}

/** Parses and judges `host:port`, of what is connected to and never spoken to: any port will do. */
export function parseHostPort(text: string, policy: EgressPolicy): TargetUrlResult {
  const url =
    text.length <= maxUrlLength && /^[^\s/?#@\\]+:\d{1,5}$/.test(text) ? URL.parse(`http://${text}`) : null;
  if (url === null) return refuse('malformed', 'must be a host and a port, like 192.0.2.1:53');
  return judge(url, policy, new Set());
}

/** The same target with a path appended to its own: `https://h/ops?x=1` and `/health` give `/ops/health?x=1`. */
export function withPath(url: TargetUrl, path: `/${string}`): TargetUrl {
  const question = url.path.indexOf('?');
  const base = question < 0 ? url.path : url.path.slice(0, question);
  const query = question < 0 ? '' : url.path.slice(question);
  const joined = `${base.replace(/\/$/, '')}${path}${query}`;
  return { ...url, path: joined, href: `${url.origin}${joined}` };
}

function judge(url: URL, policy: EgressPolicy, refusedPorts: ReadonlySet<number>): TargetUrlResult {
  const plain = url.protocol === 'http:';
  const port = url.port === '' ? (plain ? 80 : 443) : Number(url.port);
  if (port === 0 || refusedPorts.has(port)) return refuse('port', `must not use port ${port}`);
  const hostname = url.hostname.replace(/^\[|\]$/g, '');
  const address = isIP(hostname) === 0 ? null : hostname;
  if (address === null && !isHostname(hostname)) {
    return refuse('host', 'must name a host by letters, digits, hyphens and dots, without a dot at the end');
  }
  if (address !== null) {
    const refusal = refusalOf(policy, { address, port, plain });
    if (refusal !== null) return refuse(plain ? 'plain_denied' : 'address_denied', refusal);
  } else if (plain && !mayAllowPlain(policy)) {
    return refuse('plain_denied', 'must start with https://');
  }
  const path = `${url.pathname}${url.search}`;
  // A bare origin is stored as people write it, without the slash that the parser adds.
  const href = path === '/' ? url.origin : `${url.origin}${path}`;
  return {
    ok: true,
    url: { href, origin: url.origin, plain, hostname, port, path, address, [parsed]: true },
  };
}

function isHostname(hostname: string): boolean {
  if (hostname.length > 253) return false;
  return hostname.split('.').every(label => hostLabel.test(label));
}

const refuse = (reason: TargetUrlReason, detail: string): TargetUrlRefusal => ({ ok: false, reason, detail });
