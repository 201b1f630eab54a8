import type { Server } from '@opsfleet/sdk';

/** What the stream tells of a watched server at every change. The server sends it as the API names it. */
export type LiveServer = Pick<
  Server,
  | 'id'
  | 'status'
  | 'health_status'
  | 'health_reason'
  | 'health_detail'
  | 'health_since'
  | 'suspect_since'
  | 'recovering_since'
  | 'flapping_since'
  | 'breaker_opened_at'
  | 'last_seen_at'
  | 'last_health_check_at'
  | 'response_time_ms'
  | 'latest_metrics'
  | 'last_metrics_at'
  | 'metrics_reason'
  | 'revision'
>;

/** A fact about the fleet, as it was written down. */
export type FleetEvent = { type: string; subject: string };

export type LiveMessage =
  | { kind: 'tick'; servers: readonly LiveServer[] }
  | { kind: 'event'; event: FleetEvent }
  | { kind: 'resync' };

/** What an event of the stream says; null where it says nothing to a dashboard. */
export function readMessage(type: string, data: string): LiveMessage | null {
  if (type === 'resync') return { kind: 'resync' };
  if (type === 'hello') return null;
  let parsed: unknown;
  try {
    parsed = JSON.parse(data);
  } catch {
    return null;
  }
  if (typeof parsed !== 'object' || parsed === null) return null;
  if (type === 'tick') {
    const { servers } = parsed as { servers?: unknown };
    return Array.isArray(servers) ? { kind: 'tick', servers: servers as LiveServer[] } : null;
  }
  const { subject } = parsed as { subject?: unknown };
  return typeof subject === 'string' ? { kind: 'event', event: { type, subject } } : null;
}

export type LiveStore = {
  /** Takes a message in. Returns the ids of the servers that look different now. */
  apply(message: LiveMessage): readonly string[];
  latest(id: string): LiveServer | null;
  isDeleted(id: string): boolean;
  /** Calls back when this server looks different; returns how to stop that. */
  subscribe(id: string, listener: () => void): () => void;
};

/** The newest state of the servers being watched, each row told only of its own changes. */
export function createLiveStore(): LiveStore {
  const servers = new Map<string, LiveServer>();
  const deleted = new Set<string>();
  const listeners = new Map<string, Set<() => void>>();

  function change(message: LiveMessage): string[] {
    switch (message.kind) {
      case 'tick':
        for (const server of message.servers) servers.set(server.id, server);
        return message.servers.map(server => server.id);
      case 'event':
        if (message.event.type !== 'server.deleted') return [];
        deleted.add(message.event.subject);
        servers.delete(message.event.subject);
        return [message.event.subject];
      case 'resync': {
        // Whatever was known may have been overtaken unseen; what is read anew stands until the next tick.
        const known = [...servers.keys()];
        servers.clear();
        return known;
      }
    }
  }

  return {
    apply(message) {
      const changed = change(message);
      for (const id of changed) for (const listener of listeners.get(id) ?? []) listener();
      return changed;
    },
    latest: id => servers.get(id) ?? null,
    isDeleted: id => deleted.has(id),
    subscribe(id, listener) {
      const own = listeners.get(id) ?? new Set();
      listeners.set(id, own.add(listener));
      return () => {
        own.delete(listener);
        if (own.size === 0) listeners.delete(id);
      };
    },
  };
}

/** The server as it is now: what was read, with what the stream has told since. */
export function withLatest(server: Server, latest: LiveServer | null): Server {
  if (latest === null || isOlder(latest, server)) return server;
  return { ...server, ...latest };
}

/** A tick that was on its way while the server was read anew must not turn it back. */
function isOlder(latest: LiveServer, server: Server): boolean {
  if (latest.revision !== server.revision) return latest.revision < server.revision;
  return (
    (latest.last_health_check_at ?? '') < (server.last_health_check_at ?? '') ||
    (latest.last_metrics_at ?? '') < (server.last_metrics_at ?? '')
  );
}
