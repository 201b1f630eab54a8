import { installation } from '../../src/events/event.ts';
import { uncheckedState } from '../../src/health/evaluate.ts';
import type { ServerId, WorkerId } from '../../src/ids.ts';
import { createInstruments } from '../../src/platform/instruments.ts';
import { Secret } from '../../src/platform/keyring.ts';
import { createLog } from '../../src/platform/log.ts';
import { createPoller, type Poller } from '../../src/polling/poller.ts';
import { slotOf } from '../../src/servers/server.ts';
import { createDatabase, type SimulatedDatabase } from './database.ts';
import { createNetwork, type Network } from './network.ts';
import { createProcess, epochMs, type Process } from './process.ts';
import { createRandom, type Random } from './random.ts';
import { createTimeline, type Timeline } from './timeline.ts';

/** One worker of the fleet: a poller in a process. `end` says how it ended, if it did. */
export type Worker = {
  readonly process: Process;
  readonly poller: Poller;
  end: { how: 'killed' | 'stopped'; atMs: number } | null;
};

export type World = {
  readonly timeline: Timeline;
  readonly random: Random;
  readonly database: SimulatedDatabase;
  readonly network: Network;
  /** Every worker that ever was. */
  readonly workers: Worker[];
  running(): Worker[];
  startWorker(): void;
  /** SIGTERM: resolves by itself, later. */
  stopWorker(worker: Worker): void;
  killWorker(worker: Worker): void;
  /** What is wrong with the clock of the machines' walls. */
  wall: { offsetMs: number };
};

export const healthIntervalMs = 30_000;
export const metricsIntervalMs = 60_000;
export const sites = ['amber', 'beryl', 'coral', 'dune', 'ember'];

// Costly, with what it watches of the process, and looked at by nobody.
const instruments = createInstruments();
const log = createLog({ level: 'silent' });
const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');

/** A fleet and its workers, running on virtual time; everything in it follows from the seed. */
export function createWorld(options: { seed: number; servers: number; workers: number }): World {
  const random = createRandom(options.seed);
  const timeline = createTimeline();
  const database = createDatabase(timeline, random);
  const wall = { offsetMs: 0 };
  const ids = Array.from(
    { length: options.servers },
    // Its last byte is the slot. A random number has 32 bits, and larger ones end in zeros.
    () =>
      `019e0000-0000-7000-8000-${hex(random.between(0, 2 ** 32 - 1), 8)}${hex(random.between(0, 2 ** 16 - 1), 4)}` as ServerId,
  );
  const origins = ids.map((_, index) => `https://web-${index}.${sites[index % sites.length]}.example`);
  const network = createNetwork(timeline, random, origins);
  for (const [index, id] of ids.entries()) {
    database.tables.addServer({
      organizationId: installation,
      id,
      slot: slotOf(id),
      name: `web-${index}`,
      apiUrl: origins[index]!,
      region: null,
      adapter: 'ops-center',
      lastMetricsAt: null,
      intervalMs: { health: null, metrics: null },
      state: uncheckedState(new Date(epochMs)),
    });
  }
  const workers: Worker[] = [];

  const world: World = {
    timeline,
    random,
    database,
    network,
    workers,
    wall,
    running: () => workers.filter(worker => worker.end === null),
    startWorker() {
      const number = workers.length + 1;
      const process = createProcess(`worker ${number}`, timeline, () => wall.offsetMs);
      const poller = createPoller({
        store: database.storeOf(process),
        clock: process.clock,
        log,
        egress: network.egressOf(process),
        openToken: () => ({ ok: true, token: new Secret('a token') }),
        instruments,
        feed: database.feedOf(process),
        worker: {
          id: `019e0000-0000-7000-9000-${hex(number, 12)}` as WorkerId,
          name: process.name,
          instance: null,
          version: '1',
          startedAt: new Date(epochMs + timeline.nowMs()),
        },
        // Every process has a memory of its own and no disk: what a killed one held is lost, and allowed for.
        spool: null,
        healthIntervalMs,
        metricsIntervalMs,
      });
      const worker: Worker = { process, poller, end: null };
      workers.push(worker);
      void begin(worker);
    },
    stopWorker(worker) {
      void end(worker);
    },
    killWorker(worker) {
      worker.process.kill();
      worker.end ??= { how: 'killed', atMs: timeline.nowMs() };
    },
  };

  async function end(worker: Worker): Promise<void> {
    await worker.poller.stop();
    worker.end ??= { how: 'stopped', atMs: timeline.nowMs() };
    worker.process.kill();
  }

  /** As an init system does: a start that fails is tried again. */
  async function begin(worker: Worker): Promise<void> {
    try {
      await worker.poller.start();
    } catch {
      if (!worker.process.isAlive()) return;
      world.killWorker(worker);
      timeline.after(1_000, () => world.startWorker());
    }
  }

  for (let index = 0; index < options.workers; index += 1) world.startWorker();
  return world;
}
