import type { OrganizationId, ServerId } from '../ids.ts';
import type { Egress } from '../platform/egress/client.ts';
import { parseTargetUrl, type TargetUrl, withPath } from '../platform/egress/url.ts';
import type { OpenedServerToken, SealedServerToken } from '../secrets/secrets.ts';
import type { Adapter } from './adapters/adapter.ts';
import { adapters, type Target } from './probe.ts';
import type { Scheduled } from './schedule.ts';
import { siteOf } from './sight.ts';
import type { PolledServer } from './store.ts';

export const kinds = ['health', 'metrics'] as const;
export type Kind = (typeof kinds)[number];

/** One kind of poll of one server. */
export type Track = {
  /** The next regular due time: fixed rate, whatever happens in between. */
  regularDueMs: number;
  scheduled: Scheduled<Due> | null;
  /** When it was due, where we were held up then and it is being made up for. */
  missedSinceMs: number | null;
  /** Queued or on the network: a second one must not start. */
  running: boolean;
  /** Somebody asked for a poll that starts after this instant. */
  requestedAt: Date | null;
};

export type Due = { entry: Entry; kind: Kind };

/**
 * A server's token as it is stored, until the first request opens it; then what came of that. Opening it for every
 * request was an eighth of what a check costs, and the key that opens it is in the same memory.
 */
export type Token = { version: number } & ({ sealed: SealedServerToken } | { opened: OpenedServerToken });

export const storedToken = (sealed: SealedServerToken | null): Token | null =>
  sealed === null ? null : { version: sealed.version, sealed };

/** A server this worker polls. `server.state` is ahead of the database by what is not flushed yet. */
export type Entry = {
  server: PolledServer;
  epoch: number;
  /** Or why this installation may not poll the address. */
  target: Target | { deniedBecause: string };
  origin: string;
  /** What it has in common with others that may fail as one. */
  site: string;
  token: Token | null;
  /** What was handed over last of its components, as JSON, and how many checks ago: what has not changed is not written. */
  toldComponents: { json: string; checksAgo: number } | null;
  /** `health_since` of the row when its state was last taken over: a later one means that the API reset it. */
  knownSince: Date;
  tracks: Record<Kind, Track>;
  /** Set when the server is not ours any more; what a poll that is still running finds is then history alone. */
  gone: boolean;
};

/** What is polled, by server. */
export type Roster = {
  get(id: ServerId): Entry | undefined;
  set(entry: Entry): void;
  remove(id: ServerId): Entry | undefined;
  ofSlot(slot: number): readonly Entry[];
  all(): IterableIterator<Entry>;
  size(): number;
};

export function createRoster(): Roster {
  const byId = new Map<ServerId, Entry>();
  const bySlot = new Map<number, Set<Entry>>();

  function remove(id: ServerId): Entry | undefined {
    const entry = byId.get(id);
    if (entry === undefined) return undefined;
    byId.delete(id);
    bySlot.get(entry.server.slot)?.delete(entry);
    entry.gone = true;
    return entry;
  }

  return {
    get: id => byId.get(id),
    set(entry) {
      const { id, slot } = entry.server;
      byId.set(id, entry);
      const others = bySlot.get(slot);
      if (others === undefined) bySlot.set(slot, new Set([entry]));
      else others.add(entry);
    },
    remove,
    ofSlot: slot => [...(bySlot.get(slot) ?? [])],
    all: () => byId.values(),
    size: () => byId.size,
  };
}

export type ServerKey = { organizationId: OrganizationId; id: ServerId };

/** A fresh entry; its tracks are not scheduled yet. */
export function createEntry(
  server: PolledServer,
  epoch: number,
  sealedToken: SealedServerToken | null,
  egress: Egress,
): Entry {
  const track = (): Track => ({
    regularDueMs: 0,
    scheduled: null,
    missedSinceMs: null,
    running: false,
    requestedAt: null,
  });
  return {
    server,
    epoch,
    ...resolveTarget(server, egress),
    token: storedToken(sealedToken),
    toldComponents: null,
    knownSince: server.state.since,
    tracks: { health: track(), metrics: track() },
    gone: false,
  };
}

/** The addresses of a server's adapter, each judged by the egress policy once and not at every poll. */
export function resolveTarget(
  server: PolledServer,
  egress: Egress,
): Pick<Entry, 'target' | 'origin' | 'site'> {
  const adapter: Adapter = adapters[server.adapter];
  const base = parseTargetUrl(server.apiUrl, egress.policy);
  if (!base.ok) return { target: { deniedBecause: `api_url ${base.detail}` }, origin: '', site: '' };
  const at = (path: string): TargetUrl => (path === '' ? base.url : withPath(base.url, path as `/${string}`));
  return {
    target: {
      adapter,
      healthUrls: adapter.healthPaths.map(at),
      metricsUrls: adapter.metricsPaths.map(at),
      healthChoice: 0,
      metricsChoice: 0,
      memory: {},
    },
    origin: base.url.origin,
    site: siteOf({ region: server.region, hostname: base.url.hostname }),
  };
}
