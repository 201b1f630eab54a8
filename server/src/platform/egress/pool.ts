import type { Clock } from '../clock.ts';
import { Connection, type ConnectionPlan } from './connection.ts';
import type { ConnectorParts } from './connector.ts';
import { EgressFault } from './fault.ts';
import { createGate } from './gate.ts';
import { afterIo } from './timer.ts';

export type Pool = {
  /** What its connections are opened with. */
  readonly parts: ConnectorParts;
  /** A kept connection of this key, or a new one. It belongs to the caller until freed or discarded. */
  acquire(plan: ConnectionPlan, keep: boolean): Connection;
  /** Gives a connection back whose answer is complete. `keep`: whether the answer leaves it fit for another. */
  free(connection: Connection, answer: { keep: boolean; idleMs: number | null }): void;
  /** Drops a connection that failed or that nobody waits for. */
  discard(connection: Connection): void;
  /** Drops the kept connections of an origin; busy ones end with their answer. */
  forget(origin: string): void;
  /** Cancels every request and resolves when the last socket is closed. */
  close(): Promise<void>;
  readonly openSockets: number;
  readonly idle: number;
  readonly opened: number;
  /** Requests that wait for a descriptor. */
  readonly waiting: number;
  readonly closedForDescriptors: number;
};

export type PoolOptions = Omit<ConnectorParts, 'takeDescriptor'> & {
  clock: Clock;
  keepAliveMs: number;
  maxConnections: number;
  /** Called each time a connection is closed that could have been kept. */
  onShortage(): void;
};

// Closing at the same moment as the server would cost a request sent in vain.
const idleMarginMs = 1_000;
const minSweepMs = 1_000;

/**
 * Keeps one idle connection for each key. A request that finds it busy gets a connection of its own, so one
 * hanging path behind a shared gateway holds up no other. Nothing is kept for an origin without a socket.
 *
 * At most `maxConnections` are kept. What is beyond is told `Connection: close` and closed after its answer:
 * origins are asked in turn, so the connection used longest ago is the next to be needed, and giving that up
 * for a new one would leave none to reuse. A further eighth of sockets is for answers alone. When those are
 * taken too, idle connections are closed, the one used longest ago first, and then requests wait.
 */
export function createPool(options: PoolOptions): Pool {
  const { clock, keepAliveMs, maxConnections, onShortage } = options;
  /** In the order they became free. */
  const idle = new Map<string, Connection>();
  const all = new Set<Connection>();
  /** The same by origin: a worker that hands over thousands of servers forgets each of them. */
  const byOrigin = new Map<string, Set<Connection>>();
  const descriptors = createGate(maxConnections + Math.ceil(maxConnections / 8));
  let keeping = 0;
  let opened = 0;
  let closedForDescriptors = 0;
  let stopSweep: (() => void) | null = null;
  let onLastClosed: (() => void) | null = null;

  const setKeep = (connection: Connection, keep: boolean) => {
    keeping += Number(keep) - Number(connection.keep);
    connection.keep = keep;
  };

  const add = (connection: Connection) => {
    all.add(connection);
    const { origin } = connection.plan.url;
    const others = byOrigin.get(origin);
    if (others === undefined) byOrigin.set(origin, new Set([connection]));
    else others.add(connection);
  };

  const remove = (connection: Connection) => {
    all.delete(connection);
    const { origin } = connection.plan.url;
    const others = byOrigin.get(origin);
    others?.delete(connection);
    if (others?.size === 0) byOrigin.delete(origin);
  };

  const discard = (connection: Connection) => {
    setKeep(connection, false);
    remove(connection);
    if (idle.get(connection.plan.key) === connection) idle.delete(connection.plan.key);
    connection.destroy();
  };

  const discardForDescriptor = (connection: Connection) => {
    closedForDescriptors++;
    onShortage();
    discard(connection);
  };

  const parts: ConnectorParts = {
    ...options,
    async takeDescriptor(signal) {
      const [oldest] = descriptors.full ? idle.values() : [];
      if (oldest !== undefined) discardForDescriptor(oldest);
      const giveBack = await descriptors.enter({ signal });
      opened++;
      return () => {
        giveBack();
        if (descriptors.running === 0) onLastClosed?.();
      };
    },
  };

  /** Drops what has been free for `keepAliveMs`. They all wait equally long, so the first are the first to go. */
  const sweep = () => {
    stopSweep = null;
    const nowMs = clock.monotonicMs();
    for (const connection of idle.values()) {
      const leftMs = connection.freeSinceMs + keepAliveMs - nowMs;
      if (leftMs > 0) {
        stopSweep = afterIo(Math.max(minSweepMs, leftMs), sweep);
        return;
      }
      discard(connection);
    }
  };

  const keepIdle = (connection: Connection, idleMs: number | null) => {
    connection.freeSinceMs = clock.monotonicMs();
    connection.freeUntilMs =
      connection.freeSinceMs + Math.min(keepAliveMs, (idleMs ?? Infinity) - idleMarginMs);
    idle.set(connection.plan.key, connection);
    stopSweep ??= afterIo(keepAliveMs, sweep);
  };

  return {
    parts,
    acquire(plan, keep) {
      const kept = idle.get(plan.key);
      if (kept !== undefined && clock.monotonicMs() < kept.freeUntilMs) {
        idle.delete(plan.key);
        setKeep(kept, keep);
        return kept;
      }
      if (kept !== undefined) discard(kept);
      const connection = new Connection(plan, discard);
      connection.crowded = keep && keeping >= maxConnections;
      setKeep(connection, keep && !connection.crowded);
      add(connection);
      return connection;
    },
    free(connection, answer) {
      connection.free();
      const fit = answer.keep && !idle.has(connection.plan.key);
      if (fit && (connection.crowded || (connection.keep && descriptors.waiting > 0))) {
        discardForDescriptor(connection);
      } else if (fit && connection.keep) {
        keepIdle(connection, answer.idleMs);
      } else {
        discard(connection);
      }
    },
    discard,
    forget(origin) {
      for (const connection of byOrigin.get(origin) ?? []) {
        if (connection.occupant === null) discard(connection);
        else {
          setKeep(connection, false);
          connection.crowded = false;
        }
      }
    },
    async close() {
      stopSweep?.();
      const closed = new Promise<void>(resolve => {
        onLastClosed = resolve;
      });
      for (const connection of all) {
        if (connection.occupant === null) discard(connection);
        else connection.occupant.onLost(new EgressFault('aborted', 'the request was cancelled'));
      }
      if (descriptors.running > 0) await closed;
    },
    get openSockets() {
      return descriptors.running;
    },
    get idle() {
      return idle.size;
    },
    get opened() {
      return opened;
    },
    get waiting() {
      return descriptors.waiting;
    },
    get closedForDescriptors() {
      return closedForDescriptors;
    },
  };
}
