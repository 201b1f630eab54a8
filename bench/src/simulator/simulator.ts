import type { Socket } from 'node:net';
import { assignBehaviours, BEHAVIOURS, type Behaviour, isReachable, type Shares } from './behaviour.ts';
import { BlackHoles } from './blackhole.ts';
import { Connection } from './connection.ts';
import { type Clock, Fleet, type FleetOptions, systemClock, type Traffic } from './fleet.ts';
import { addressOf, indexOf, type Target, targetsOf } from './identity.ts';
import type { LedgerStats } from './ledger.ts';
import { freePort, Listeners } from './listeners.ts';
import type { Kind } from './request.ts';
import { type Handshakes, Tls } from './tls.ts';

export type SimulatorOptions = FleetOptions & {
  servers: number;
  /** One port for all servers; 0 takes a free one. */
  port: number;
  shares: Shares;
  /** Whether they speak https. */
  tls: boolean;
  /** Whether a client may resume an earlier TLS session. */
  resumption: boolean;
};

export const DEFAULT_OPTIONS: SimulatorOptions = {
  servers: 1_000,
  first: 0,
  port: 7_800,
  seed: 'opsfleet',
  shares: {},
  tls: false,
  resumption: true,
  closes: false,
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
  /** Absent where the servers speak plain http. */
  handshakes?: Handshakes;
};

/** A server is named by its place in this simulator, from 0; `targets` tells its index in the whole fleet. */
export type Simulator = {
  readonly port: number;
  readonly targets: readonly Target[];
  /** The certificates that a client must trust, PEM; undefined where the servers speak plain http. */
  readonly authorities: string | undefined;
  behaviourOf(place: number): Behaviour;
  /** Resolves when the server behaves so. Its cadence starts anew; its open connections are cut on `refuse`. */
  setBehaviour(place: number, behaviour: Behaviour): Promise<void>;
  /** Cadence since the start or the last `resetStats`; traffic since the start. */
  stats(): SimulatorStats;
  resetStats(): void;
  recentArrivalsMs(place: number, kind: Kind): number[];
  /** Checks answered with 200 since the start, by place. */
  answered(kind: Kind): number[];
  /** Closes every listener and connection. */
  stop(): Promise<void>;
};

/**
 * Starts `servers` managed servers, each at a loopback address of its own (127.1.0.1 and up) on one shared
 * port. Linux only: elsewhere those addresses do not exist. Needs a file descriptor for each connection and
 * each black hole and, once a server refuses, for each server. Rejects, with everything closed again, when the
 * port is taken at any address.
 */
export async function startSimulator(
  options: Partial<SimulatorOptions> = {},
  clock: Clock = systemClock,
): Promise<Simulator> {
  const settings = { ...DEFAULT_OPTIONS, ...options };
  const assignment = assignBehaviours(settings.servers, settings.seed, settings.shares);
  if (!assignment.ok) throw new RangeError(`shares.${assignment.behaviour}: ${assignment.reason}`);
  const tls = settings.tls ? new Tls(settings) : undefined;
  const port = await freePort(settings.port);
  const simulator = new RunningSimulator(new Fleet(assignment.behaviours, settings, { clock, tls }), {
    ...settings,
    port,
    scheme: settings.tls ? 'https' : 'http',
  });
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
  readonly #first: number;
  readonly #listeners: Listeners;
  readonly #connections = new Set<Connection>();
  #blackHoles: BlackHoles | undefined;
  /** One change of behaviour at a time: listeners may have to be rearranged. */
  #changes: Promise<void> = Promise.resolve();

  constructor(fleet: Fleet, part: Parameters<typeof targetsOf>[0]) {
    this.#fleet = fleet;
    this.#first = part.first;
    this.port = part.port;
    this.targets = targetsOf(part);
    this.#listeners = new Listeners(part.port, (socket, address) => this.#accept(socket, address));
  }

  get authorities(): string | undefined {
    return this.#fleet.tls?.authorities;
  }

  async open(): Promise<void> {
    const places = [...this.#fleet.behaviours.keys()];
    if (this.#fleet.behaviours.includes('refuse')) await this.#listeners.split(this.#reachable());
    else await this.#listeners.share();
    await this.#openBlackHoles(places.filter(place => this.behaviourOf(place) === 'blackhole'));
  }

  behaviourOf(place: number): Behaviour {
    const behaviour = this.#fleet.behaviours[place];
    if (behaviour === undefined) throw new RangeError(`There is no server ${place}`);
    return behaviour;
  }

  setBehaviour(place: number, behaviour: Behaviour): Promise<void> {
    const changed = this.#changes.then(() => this.#change(place, behaviour));
    this.#changes = changed.catch(() => undefined);
    return changed;
  }

  stats(): SimulatorStats {
    const servers: SimulatorStats['servers'] = {};
    for (const behaviour of BEHAVIOURS) {
      const count = this.#fleet.behaviours.filter(own => own === behaviour).length;
      if (count > 0) servers[behaviour] = count;
    }
    const { traffic, tls } = this.#fleet;
    return {
      servers,
      traffic: { ...traffic, answers: { ...traffic.answers } },
      ...(tls === undefined ? {} : { handshakes: { ...tls.handshakes } }),
      ...this.#fleet.ledger.stats(),
    };
  }

  resetStats(): void {
    this.#fleet.ledger.reset();
  }

  recentArrivalsMs(place: number, kind: Kind): number[] {
    return this.#fleet.ledger.recentArrivalsMs(place, kind);
  }

  answered(kind: Kind): number[] {
    return this.#fleet.ledger.answered(kind);
  }

  async stop(): Promise<void> {
    this.#listeners.stop();
    for (const connection of this.#connections) connection.destroy();
    await this.#blackHoles?.stop();
    this.#blackHoles = undefined;
  }

  #accept(socket: Socket, address: string): void {
    const index = indexOf(address);
    const place = index === undefined ? -1 : index - this.#first;
    if (this.#fleet.behaviours[place] === undefined) {
      socket.destroy();
      return;
    }
    const connection = new Connection(socket, this.#fleet, place);
    this.#connections.add(connection);
    connection.open(() => this.#connections.delete(connection));
  }

  async #change(place: number, behaviour: Behaviour): Promise<void> {
    const before = this.behaviourOf(place);
    if (before === behaviour) return;
    const address = this.#addressAt(place);
    this.#fleet.behaviours[place] = behaviour;
    this.#fleet.ledger.forget(place);
    if (before === 'blackhole') await this.#blackHoles?.close(address);
    if (behaviour === 'refuse' && this.#listeners.isShared) await this.#listeners.split(this.#reachable());
    if (!this.#listeners.isShared) {
      if (isReachable(before) && !isReachable(behaviour)) this.#listeners.close(address);
      if (!isReachable(before) && isReachable(behaviour)) await this.#listeners.listen(address);
    }
    if (behaviour === 'refuse') this.#cut(place);
    if (behaviour === 'blackhole') await this.#openBlackHoles([place]);
  }

  #cut(place: number): void {
    for (const connection of this.#connections) if (connection.place === place) connection.reset();
  }

  async #openBlackHoles(places: readonly number[]): Promise<void> {
    if (places.length === 0) return;
    this.#blackHoles ??= new BlackHoles(this.port);
    await this.#blackHoles.open(places.map(place => this.#addressAt(place)));
  }

  #reachable(): string[] {
    const places = [...this.#fleet.behaviours.keys()];
    return places.filter(place => isReachable(this.behaviourOf(place))).map(place => this.#addressAt(place));
  }

  #addressAt(place: number): string {
    return addressOf(this.#first + place);
  }
}
