import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

/**
 * What an address is to an outbound call:
 * `public` may be reached, `private` (RFC 1918, RFC 6598, RFC 4193) where the policy says so, and `never`
 * is this machine, its link, a cloud's metadata service or nothing at all: only the operator's allow-list opens it.
 */
export type AddressClass = 'public' | 'private' | 'never';

type Address = ipaddr.IPv4 | ipaddr.IPv6;

/** A block of addresses. IPv4-mapped blocks are kept as the IPv4 block they mean. */
export type Cidr = { readonly text: string; readonly network: Address; readonly prefix: number };

// Services of the cloud a machine runs in that hand out its credentials, outside 169.254/16 and fe80::/10.
const metadataAddresses = new Set([
  '100.100.100.200', // Alibaba Cloud, inside RFC 6598
  '168.63.129.16', // Azure, inside public space
  'fd00:ec2::23', // Amazon ECS and EKS
  'fd00:ec2::253', // Amazon, DNS
  'fd00:ec2::254', // Amazon, metadata
  'fd20:ce::254', // Google Cloud
]);

const globalUnicast = ipaddr.IPv6.parseCIDR('2000::/3');
const nat64 = ipaddr.IPv6.parseCIDR('64:ff9b::/96');

/** Classifies the text of an address; what is not an address in its plain notation is `never`. */
export function classifyAddress(text: string): AddressClass {
  const address = parseAddress(text);
  if (address === null || metadataAddresses.has(canonical(address))) return 'never';
  return address instanceof ipaddr.IPv4 ? classifyIpv4(address) : classifyIpv6(address);
}

/** One text for each address, so that two notations of it compare equal; null where it is no address. */
export function canonicalAddress(text: string): string | null {
  const address = parseAddress(text);
  return address === null ? null : canonical(address);
}

/** Parses `10.0.0.0/8` or `fd00::/8`. Null for anything else, short forms such as `10/8` included. */
export function parseCidr(text: string): Cidr | null {
  const slash = text.lastIndexOf('/');
  const address = slash < 0 ? null : parsePlain(text.slice(0, slash));
  // ipaddr.js alone reads `10/8` as 0.0.0.10/8, which would open something nobody meant.
  if (address === null || !ipaddr.isValidCIDR(text)) return null;
  const prefix = Number(text.slice(slash + 1));
  const mapped = prefix >= 96 ? mappedIpv4(address) : null;
  return mapped === null
    ? { text, network: address, prefix }
    : { text, network: mapped, prefix: prefix - 96 };
}

/** Whether the block holds the address. An IPv4-mapped address belongs to the IPv4 blocks. */
export function cidrContains(cidr: Cidr, text: string): boolean {
  const address = parseAddress(text);
  if (address === null || address.kind() !== cidr.network.kind()) return false;
  return address.match([cidr.network, cidr.prefix]);
}

function parseAddress(text: string): Address | null {
  const address = parsePlain(text);
  return address === null ? null : (mappedIpv4(address) ?? address);
}

function parsePlain(text: string): Address | null {
  // A zone (fe80::1%eth0) only ever names something on this machine's own links.
  if (isIP(text) === 0 || text.includes('%')) return null;
  // ipaddr.js reads the IPv4-compatible ::1.2.3.4 as the IPv4-mapped ::ffff:1.2.3.4, which the kernel does not.
  return ipaddr.parse(isIP(text) === 6 ? text.replace(dottedTail, hexTail) : text);
}

const dottedTail = /(\d+)\.(\d+)\.(\d+)\.(\d+)$/;

const hexTail = (_dotted: string, ...octets: string[]): string => {
  const [a = 0, b = 0, c = 0, d = 0] = octets.map(Number);
  return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
};

/** The IPv4 address that `::ffff:0:0/96` carries; null for every other address. */
const mappedIpv4 = (address: Address): ipaddr.IPv4 | null =>
  address instanceof ipaddr.IPv6 && address.isIPv4MappedAddress() ? address.toIPv4Address() : null;

const canonical = (address: Address): string =>
  address instanceof ipaddr.IPv6 ? address.toRFC5952String() : address.toString();

function classifyIpv4(address: ipaddr.IPv4): AddressClass {
  const range = address.range();
  if (range === 'unicast') return 'public';
  return range === 'private' || range === 'carrierGradeNat' ? 'private' : 'never';
}

function classifyIpv6(address: ipaddr.IPv6): AddressClass {
  if (address.range() === 'uniqueLocal') return 'private';
  if (address.match(nat64)) {
    // DNS64 answers with these for every public IPv4 address; RFC 6052 §3.1 forbids other addresses in it.
    const embedded = ipaddr.fromByteArray(address.toByteArray().slice(12));
    return classifyAddress(embedded.toString()) === 'public' ? 'public' : 'never';
  }
  // Outside 2000::/3 nothing is routed; inside it 6to4, Teredo, ORCHID and documentation have ranges of
  // their own and are refused, because the first two carry an IPv4 address that nobody has checked.
  return address.range() === 'unicast' && address.match(globalUnicast) ? 'public' : 'never';
}
