import { StartupError } from '../errors.ts';
import { type Cidr, canonicalAddress, cidrContains, classifyAddress, parseCidr } from './address.ts';

/** Where this installation may call. Built once at start; nothing in the database widens it. */
export type EgressPolicy = {
  /** Blocks the operator opened: any address class, over plain http too. */
  readonly allow: readonly Cidr[];
  /** Single listeners of our own (the agent beside us), open like `allow` but on one port. */
  readonly exceptions: readonly { readonly address: string; readonly port: number }[];
  /** Whether RFC 1918, RFC 6598 and RFC 4193 addresses may be reached over https. */
  readonly private: 'allow' | 'deny';
};

export type EgressPolicyOptions = {
  /** `poll`: fleets live in private networks, so those are open. `webhook`: its address is anybody's, so they are not. */
  purpose: 'poll' | 'webhook';
  /** CIDRs as the operator wrote them (OPSFLEET_EGRESS_ALLOW). */
  allow?: readonly string[];
  exceptions?: readonly { address: string; port: number }[];
};

/** Builds the policy. Throws StartupError for a block or an exception that is not written in full. */
export function createEgressPolicy(options: EgressPolicyOptions): EgressPolicy {
  const allow = (options.allow ?? []).map(text => {
    const cidr = parseCidr(text);
    if (cidr === null)
      throw new StartupError(`OPSFLEET_EGRESS_ALLOW: ${JSON.stringify(text)} is not a CIDR like 10.0.0.0/8`);
    return cidr;
  });
  const exceptions = (options.exceptions ?? []).map(({ address, port }) => {
    const canonical = canonicalAddress(address);
    if (canonical === null) throw new StartupError(`${JSON.stringify(address)} is not an IP address`);
    return { address: canonical, port };
  });
  return { allow, exceptions, private: options.purpose === 'poll' ? 'allow' : 'deny' };
}

/** One way to a target: an address, a port, and whether the bytes would go unencrypted. */
export type Route = { address: string; port: number; plain: boolean };

/** Why the policy refuses this route, as a phrase that names no address; null where it may be taken. */
export function refusalOf(policy: EgressPolicy, { address, port, plain }: Route): string | null {
  if (policy.allow.some(cidr => cidrContains(cidr, address))) return null;
  if (policy.exceptions.length > 0) {
    const canonical = canonicalAddress(address);
    if (policy.exceptions.some(exception => exception.port === port && exception.address === canonical))
      return null;
  }
  if (plain) return 'must use https: plain http is only for addresses in OPSFLEET_EGRESS_ALLOW';
  const addressClass = classifyAddress(address);
  if (addressClass === 'never') {
    return 'must not lead to a loopback, link-local, metadata or reserved address (see OPSFLEET_EGRESS_ALLOW)';
  }
  if (addressClass === 'private' && policy.private === 'deny') return 'must not lead to a private address';
  return null;
}

/** Whether plain http could be allowed for some address: what can be said before a name is resolved. */
export const mayAllowPlain = (policy: EgressPolicy): boolean =>
  policy.allow.length > 0 || policy.exceptions.length > 0;
