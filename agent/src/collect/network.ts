import { readdir, readFile, readlink } from 'node:fs/promises';
import { basename } from 'node:path';

/** Bytes an interface has received and sent since it came up. */
export type InterfaceCounters = { name: string; rxBytes: number; txBytes: number };

/** What /sys says of the interfaces of this machine. */
export type Topology = {
  /** Interfaces without hardware. */
  virtual: ReadonlySet<string>;
  /** Interface → the interface it is a part of: a bond, a bridge, a paravirtual card. */
  masters: ReadonlyMap<string, string>;
};

// Only a container has none but virtual interfaces; there these carry what other interfaces carry too.
const innerNames =
  /^(lo|veth|docker|br-|bridge|virbr|tun|tap|wg|ifb|dummy|bond|team|vxlan|sit|ip6tnl|gre|cni|cali|flannel)/;

/** Bytes received and sent over the network, all cards together. Cumulative until the machine restarts. */
export async function readNetworkBytes(): Promise<{ rxBytes: number; txBytes: number }> {
  const interfaces = parseInterfaces(await readFile('/proc/net/dev', 'utf8'));
  const counted = countedInterfaces(interfaces, await readTopology(interfaces));
  const sum = (of: (counters: InterfaceCounters) => number): number =>
    Math.min(
      counted.reduce((total, counters) => total + of(counters), 0),
      Number.MAX_SAFE_INTEGER,
    );
  return { rxBytes: sum(counters => counters.rxBytes), txBytes: sum(counters => counters.txBytes) };
}

/** Parses /proc/net/dev (proc_net(5)); old kernels leave no space after the colon. */
export function parseInterfaces(text: string): InterfaceCounters[] {
  const lines = text.matchAll(/^ *(\S{1,64}): *(\d{1,20})(?: +\d{1,20}){7} +(\d{1,20})\b/gm);
  return [...lines].map(([, name = '', rxBytes, txBytes]) => ({
    name,
    rxBytes: Number(rxBytes),
    txBytes: Number(txBytes),
  }));
}

/**
 * The interfaces whose bytes left or reached the machine, each byte once: the cards themselves, not the
 * bonds, bridges, VLANs and tunnels built on them; nor a card that is the fast path of another one, whose
 * counters include it (virtual functions in clouds). Without any card, what a container has instead.
 */
export function countedInterfaces(
  interfaces: readonly InterfaceCounters[],
  { virtual, masters }: Topology,
): InterfaceCounters[] {
  const isCard = (name: string): boolean => !virtual.has(name) && name !== 'lo';
  const cards = interfaces.filter(({ name }) => isCard(name));
  if (cards.length === 0)
    return interfaces.filter(({ name }) => !innerNames.test(name) && !name.includes('.'));
  return cards.filter(({ name }) => {
    const master = masters.get(name);
    return master === undefined || !isCard(master);
  });
}

async function readTopology(interfaces: readonly InterfaceCounters[]): Promise<Topology> {
  // Where /sys is hidden nothing is known to be a card: then the names decide.
  const virtual = new Set(
    await readdir('/sys/devices/virtual/net').catch(() => interfaces.map(({ name }) => name)),
  );
  const masters = new Map<string, string>();
  for (const { name } of interfaces) {
    if (virtual.has(name)) continue;
    const master = await readlink(`/sys/class/net/${name}/master`).catch(() => undefined);
    if (master !== undefined) masters.set(name, basename(master));
  }
  return { virtual, masters };
}
