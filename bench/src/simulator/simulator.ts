import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { assignBehaviours, BEHAVIOURS, type Behaviour, isReachable, type Shares } from './behaviour.ts';
import { BlackHoles } from './blackhole.ts';
import { Connection, resetConnection } from './connection.ts';
import { type Clock, Fleet, type FleetOptions, systemClock, type Traffic } from './fleet.ts';
import { addressOf, type Target, targetOf } from './identity.ts';
import type { LedgerStats } from './ledger.ts';
import type { Kind } from './request.ts';

export type SimulatorOptions = FleetOptions & {
  servers: number;
  /** One port for all servers; 0 takes a free one. */
  port: number;
  shares: Shares;
};

export const DEFAULT_OPTIONS: SimulatorOptions = {
  servers: 1_000,
  port: 7_800,
  seed: 'opsfleet',
  shares: {},
  latencyMs: 0,
  slowMinMs: 1_000,
  slowMaxMs: 5_000,
  flapPeriodMs: 120_000,
  healthIntervalMs: 30_000,
  metricsIntervalMs: 60_000,
};

export type SimulatorStats = LedgerStats & {
  servers: Partial<Record<Behaviour, number>>;
  traffic: Traffic;
};

export type Simulator = {
  readonly port: number;
  readonly targets: readonly Target[];
  behaviourOf(index: number): Behaviour;
  /** Resolves when the server behaves so. Its cadence starts anew; its open connections are cut on `refuse`. */
  setBehaviour(index: number, behaviour: Behaviour): Promise<void>;
  /** Cadence since the start or the last `resetStats`; traffic since the start. */
  stats(): SimulatorStats;
  resetStats(): void;
  recentArrivalsMs(index: number, kind: Kind): number[];
  /** Closes every listener and connection. */
  stop(): Promise<void>;
};

/**
 * Starts `servers` managed servers, each at a loopback address of its own (127.1.0.1 and up) on one shared
 * port. Linux only: elsewhere those addresses do not exist. Needs a file descriptor for each server and
 * one for each connection. Rejects, with everything closed again, when an address cannot be had.
 */
export async function startSimulator(
  options: Partial<SimulatorOptions> = {},
  clock: Clock = systemClock,
): Promise<Simulator> {
  const settings = { ...DEFAULT_OPTIONS, ...options };
  const assignment = assignBehaviours(settings.servers, settings.seed, settings.shares);
  if (!assignment.ok) throw new RangeError(`shares.${assignment.behaviour}: ${assignment.reason}`);
  const port = settings.port === 0 ? await freePort() : settings.port;
  const simulator = new RunningSimulator(
    new Fleet(assignment.behaviours, settings, clock),
    port,
    settings.seed,
  );
  try {
    await simulator.open();
  } catch (error) {
    await simulator.stop();
    throw error;
  }
  return simulator;
}

class RunningSimulator implements Simulator {
  readonly port: number;
  readonly targets: readonly Target[];
  readonly #fleet: Fleet;
  readonly #listeners: (Server | undefined)[];
  readonly #sockets: Set<Socket>[];
  #blackHoles: BlackHoles | undefined;

  constructor(fleet: Fleet, port: number, seed: string) {
    this.#fleet = fleet;
    this.port = port;
    this.targets = fleet.behaviours.map((_, index) => targetOf(seed, port, index));
    this.#listeners = fleet.behaviours.map(() => undefined);
    this.#sockets = fleet.behaviours.map(() => new Set());
  }

  async open(): Promise<void> {
    const indexes = [...this.#fleet.behaviours.keys()];
    const reachable = indexes.filter(index => isReachable(this.behaviourOf(index)));
    // All of them are awaited even when one fails, so that `stop` finds every listener in its final state.
    const opened = await Promise.allSettled(reachable.map(index => this.#listen(index)));
    const failed = opened.find(result => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    await this.#openBlackHoles(indexes.filter(index => this.behaviourOf(index) === 'blackhole'));
  }

  behaviourOf(index: number): Behaviour {
    const behaviour = this.#fleet.behaviours[index];
    if (behaviour === undefined) throw new RangeError(`There is no server ${index}`);
    return behaviour;
  }

  async setBehaviour(index: number, behaviour: Behaviour): Promise<void> {
    const before = this.behaviourOf(index);
    if (before === behaviour) return;
    this.#fleet.behaviours[index] = behaviour;
    this.#fleet.ledger.forget(index);
    if (before === 'blackhole') await this.#blackHoles?.close(addressOf(index));
    if (isReachable(before) && !isReachable(behaviour)) this.#unlisten(index);
    if (behaviour === 'refuse') this.#cut(index);
    if (behaviour === 'blackhole') await this.#openBlackHoles([index]);
    if (!isReachable(before) && isReachable(behaviour)) await this.#listen(index);
  }

  stats(): SimulatorStats {
    const servers: SimulatorStats['servers'] = {};
    for (const behaviour of BEHAVIOURS) {
      const count = this.#fleet.behaviours.filter(own => own === behaviour).length;
      if (count > 0) servers[behaviour] = count;
    }
    const { traffic } = this.#fleet;
    return {
      servers,
      traffic: { ...traffic, answers: { ...traffic.answers } },
      ...this.#fleet.ledger.stats(),
    };
  }

  resetStats(): void {
    this.#fleet.ledger.reset();
  }

  recentArrivalsMs(index: number, kind: Kind): number[] {
    return this.#fleet.ledger.recentArrivalsMs(index, kind);
  }

  async stop(): Promise<void> {
    for (const index of this.#fleet.behaviours.keys()) {
      this.#unlisten(index);
      for (const socket of this.#sockets[index]!) socket.destroy();
    }
    await this.#blackHoles?.stop();
    this.#blackHoles = undefined;
  }

  async #listen(index: number): Promise<void> {
    const sockets = this.#sockets[index]!;
    const listener = createServer(socket => {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
      new Connection(socket, this.#fleet, index).open();
    });
    this.#listeners[index] = listener;
    listener.listen({ host: addressOf(index), port: this.port, backlog: 16 });
    await once(listener, 'listening');
  }

  #unlisten(index: number): void {
    this.#listeners[index]?.close();
    this.#listeners[index] = undefined;
  }

  #cut(index: number): void {
    for (const socket of this.#sockets[index]!) resetConnection(socket);
  }

  async #openBlackHoles(indexes: readonly number[]): Promise<void> {
    if (indexes.length === 0) return;
    this.#blackHoles ??= new BlackHoles(this.port);
    await this.#blackHoles.open(indexes.map(addressOf));
  }
}

async function freePort(): Promise<number> {
  const probe = createServer().listen({ host: addressOf(0), port: 0 });
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  await once(probe, 'close');
  if (address === null || typeof address === 'string') throw new Error('A TCP listener has no port');
  return address.port;
}
