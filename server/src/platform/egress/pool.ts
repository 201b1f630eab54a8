import type { Socket } from 'node:net';
import { Connection, type ConnectionPlan } from './connection.ts';
import type { ConnectorParts } from './connector.ts';

type Request = Omit<ConnectionPlan, 'keepAliveMs'> & {
  /** Whether the connection may be kept after the answer. */
  keep: boolean;
};

export type Pool = {
  /** A kept connection of this key, or a new one. It belongs to the caller until freed or discarded. */
  acquire: (request: Request) => Connection;
  /** Gives a connection back whose answer is complete. */
  free: (connection: Connection) => void;
  /** Drops a connection that failed or that nobody waits for. */
  discard: (connection: Connection) => void;
  /** Drops the kept connections of an origin; busy ones end with their answer. */
  forget: (origin: string) => void;
  /** Cancels every request and resolves when the last socket is closed. */
  close: () => Promise<void>;
  readonly openSockets: number;
  readonly idle: number;
  readonly opened: number;
};

export type PoolOptions = Omit<ConnectorParts, 'onSocket'> & { keepAliveMs: number; maxConnections: number };

/**
 * Keeps one idle connection for each key. A request that finds it busy gets a connection of its own, so one
 * hanging path behind a shared gateway holds up no other. Nothing is kept for an origin without a socket.
 */
export function createPool({ keepAliveMs, maxConnections, ...parts }: PoolOptions): Pool {
  const idle = new Map<string, Connection>();
  const all = new Set<Connection>();
  let openSockets = 0;
  let opened = 0;
  let onLastClosed: (() => void) | null = null;

  const onSocket = (socket: Socket) => {
    openSockets++;
    opened++;
    socket.once('close', () => {
      openSockets--;
      if (openSockets === 0) onLastClosed?.();
    });
  };

  const remove = (connection: Connection) => {
    all.delete(connection);
    if (idle.get(connection.plan.key) === connection) idle.delete(connection.plan.key);
  };

  const discard = (connection: Connection) => {
    remove(connection);
    connection.destroy();
  };

  return {
    acquire({ keep, ...plan }) {
      const kept = idle.get(plan.key);
      if (kept !== undefined) {
        idle.delete(plan.key);
        kept.keep = keep;
        return kept;
      }
      const connection = new Connection({ ...parts, onSocket }, { ...plan, keepAliveMs }, discard);
      // Beyond the limit, descriptors are for answers and not for waiting.
      connection.keep = keep && all.size < maxConnections;
      all.add(connection);
      return connection;
    },
    free(connection) {
      connection.free();
      // One that is not kept is closed by undici, which then reports it as lost.
      if (!connection.keep) return;
      if (idle.has(connection.plan.key)) discard(connection);
      else idle.set(connection.plan.key, connection);
    },
    discard,
    forget(origin) {
      for (const connection of all) {
        if (connection.plan.url.origin !== origin) continue;
        connection.keep = false;
        if (connection.occupant === null) discard(connection);
      }
    },
    async close() {
      const closed = new Promise<void>(resolve => {
        onLastClosed = resolve;
      });
      for (const connection of all) discard(connection);
      if (openSockets > 0) await closed;
    },
    get openSockets() {
      return openSockets;
    },
    get idle() {
      return idle.size;
    },
    get opened() {
      return opened;
    },
  };
}
