import { uncheckedState } from '../../src/health/evaluate.ts';
import type { ServerId, WorkerId } from '../../src/ids.ts';
import { installation } from '../../src/ids.ts';
import { createInstruments } from '../../src/platform/instruments.ts';
import { Secret } from '../../src/platform/keyring.ts';
import { createLog } from '../../src/platform/log.ts';
import { openSpool } from '../../src/platform/spool.ts';
import { claimSpoolDirectory, spoolFilesOf } from '../../src/platform/spool-directory.ts';
import { createPoller, type Poller } from '../../src/polling/poller.ts';
import { resultQueues } from '../../src/polling/results.ts';
import { slotOf } from '../../src/servers/server.ts';
import { createDatabase, type SimulatedDatabase } from './database.ts';
import { createLedger, type Ledger } from './ledger.ts';
import { createMachine, type Machine } from './machine.ts';
import { createNetwork, type Network } from './network.ts';
import { createProcess, epochMs, type Process } from './process.ts';
import { createRandom, type Random } from './random.ts';
import { createTimeline, type Timeline } from './timeline.ts';

/** One worker of the fleet: a poller in a process. */
export type Worker = {
  readonly id: WorkerId;
  readonly process: Process;
  readonly machine: Machine;
  /** Null until it has started. */
  poller: Poller | null;
  /** When it was told to end. */
  stoppingMs: number | null;
  /** How it ended, if it did. */
  end: { how: 'killed' | 'stopped'; atMs: number } | null;
};

export type World = {
  readonly timeline: Timeline;
  readonly random: Random;
  readonly database: SimulatedDatabase;
  readonly network: Network;
  readonly ledger: Ledger;
  readonly machines: readonly Machine[];
  /** Every worker that ever was. */
  readonly workers: Worker[];
  running(): Worker[];
  startWorker(machine: Machine): void;
  /** SIGTERM: it ends by itself, later. */
  stopWorker(worker: Worker): void;
  killWorker(worker: Worker): void;
  /** A power cut: what runs on it is killed, and what its disk had not synced is lost. */
  cutPower(machine: Machine): void;
  /** What is wrong with the clock of the machines' walls. */
  wall: { offsetMs: number };
};

export const healthIntervalMs = 30_000;
export const metricsIntervalMs = 60_000;
export const sites = ['amber', 'beryl', 'coral', 'dune', 'ember'];

const spoolRoot = '/var/lib/opsfleet/spool';
// Small, so that there are many to take over and to remove.
const segmentBytes = 4_096;
const ampleBytes = 64 * 1024 * 1024;
/** Full after some minutes without a database. */
const scantBytes = 20_000;

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
  const network = createNetwork(
    timeline,
    random,
    ids.map((id, index) => ({ id, origin: origins[index]! })),
    (process, id) =>
      workers.some(worker => worker.process === process && database.tables.isLookFor(worker.id, id)),
  );
  const ledger = createLedger(() => timeline.nowMs());
  const machines = ['north', 'south'].map(name => createMachine(name, timeline, random));
  const limitBytes = random.pick([...Array.from({ length: 4 }, () => ampleBytes), scantBytes]);
  for (const [index, id] of ids.entries()) {
    database.tables.addServer({
      organizationId: installation,
      id,
      slot: slotOf(id),
      name: `web-${index}`,
      apiUrl: origins[index]!,
      region: null,
      adapter: 'ops-center',
      metricsAttemptedAt: null,
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
    ledger,
    machines,
    workers,
    wall,
    running: () => workers.filter(worker => worker.end === null),
    startWorker(machine) {
      const number = workers.length + 1;
      const worker: Worker = {
        id: `019e0000-0000-7000-9000-${hex(number, 12)}` as WorkerId,
        process: createProcess(`worker ${number}`, timeline, () => wall.offsetMs),
        machine,
        poller: null,
        stoppingMs: null,
        end: null,
      };
      workers.push(worker);
      void begin(worker);
    },
    stopWorker(worker) {
      if (worker.poller === null) world.killWorker(worker);
      else if (worker.stoppingMs === null) void end(worker, worker.poller);
    },
    killWorker(worker) {
      worker.process.kill();
      worker.end ??= { how: 'killed', atMs: timeline.nowMs() };
    },
    cutPower(machine) {
      for (const worker of world.running()) if (worker.machine === machine) world.killWorker(worker);
      machine.losePower();
    },
  };

  async function end(worker: Worker, poller: Poller): Promise<void> {
    worker.stoppingMs = timeline.nowMs();
    await poller.stop();
    worker.end ??= { how: 'stopped', atMs: timeline.nowMs() };
    worker.process.kill();
  }

  /** As an init system does: a start that fails is tried again. */
  async function begin(worker: Worker): Promise<void> {
    try {
      const poller = await prepare(worker);
      await poller.start();
      // Until then, a signal ends the program at once.
      worker.poller = poller;
    } catch {
      if (!worker.process.isAlive()) return;
      world.killWorker(worker);
      timeline.after(5_000, () => world.startWorker(worker.machine));
    }
  }

  /** As `app.ts` does it. */
  async function prepare({ process, machine, id }: Worker): Promise<Poller> {
    const { clock } = process;
    const disk = machine.diskOf(process);
    const directory = await claimSpoolDirectory(spoolRoot, disk);
    const spool = await openSpool({
      files: spoolFilesOf(directory.path, disk),
      queues: resultQueues,
      limitBytes,
      segmentBytes,
      now: () => clock.now(),
      log,
    });
    return createPoller({
      store: database.storeOf(process),
      clock,
      log,
      egress: network.egressOf(process),
      openToken: () => ({ ok: true, token: new Secret('a token') }),
      instruments,
      feed: database.feedOf(process),
      worker: {
        id,
        name: process.name,
        instance: null,
        version: '1',
        startedAt: new Date(epochMs + timeline.nowMs()),
      },
      spool: ledger.watch(spool, process),
      references: [],
      pin: null,
      healthIntervalMs,
      metricsIntervalMs,
    });
  }

  for (let index = 0; index < options.workers; index += 1) {
    world.startWorker(machines[index % machines.length]!);
  }
  return world;
}
