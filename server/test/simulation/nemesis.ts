import { conditions } from './network.ts';
import { partitioned } from './partitions.ts';
import type { Worker, World } from './world.ts';

/** What befell the fleet, and until when it may be felt. */
export type Fault = { name: string; atMs: number; untilMs: number };

type Mischief = (world: World) => { name: string; durationMs: number } | null;
/** It is felt only together with another. */
type Aggravation = Mischief;

const minuteMs = 60_000;

/** Brings faults upon the world, one at a time with a rest between, or in storms. Everything follows from the seed. */
export function unleash(world: World, options: { untilMs: number; storm: boolean }): readonly Fault[] {
  const { timeline, random } = world;
  const faults: Fault[] = [];
  const next = (): void => {
    // A rest is longer than any single fault is felt: a take-over, and two intervals.
    const restMs = options.storm ? random.between(2_000, 40_000) : random.between(100_000, 160_000);
    timeline.after(restMs, () => {
      if (timeline.nowMs() > options.untilMs) return;
      const done = random.pick(options.storm ? [...mischief, ...aggravations] : mischief)(world);
      if (done !== null) {
        const atMs = timeline.nowMs();
        faults.push({ name: done.name, atMs, untilMs: atMs + done.durationMs });
        timeline.after(options.storm ? 0 : done.durationMs, next);
      } else {
        next();
      }
    });
  };
  next();
  troubleServers(world, options.untilMs);
  return faults;
}

/** Servers fall ill and get well by themselves, few at a time. */
function troubleServers(world: World, untilMs: number): void {
  const { timeline, random, network } = world;
  timeline.after(random.between(5_000, 60_000), () => {
    if (timeline.nowMs() > untilMs) return;
    const server = random.pick(network.servers);
    network.change(server, random.pick(conditions));
    timeline.after(random.between(1_000, 4 * minuteMs), () => network.change(server, 'well'));
    troubleServers(world, untilMs);
  });
}

const somebody = (world: World): Worker | null => {
  const running = world.running();
  return running.length < 2 ? null : world.random.pick(running);
};

const forAWhile = (
  world: World,
  durationMs: number,
  { begin, end }: { begin(): void; end(): void },
): number => {
  begin();
  world.timeline.after(durationMs, end);
  return durationMs;
};

const mischief: readonly Mischief[] = [
  function kill(world) {
    const worker = somebody(world);
    if (worker === null) return null;
    world.killWorker(worker);
    world.timeline.after(world.random.between(500, 60_000), () => world.startWorker(worker.machine));
    return { name: `kill -9 of ${worker.process.name}`, durationMs: minuteMs };
  },
  function cutPower(world) {
    const machine = world.random.pick(world.machines);
    const [struck, others] = [true, false].map(is =>
      world.running().filter(worker => (worker.machine === machine) === is),
    ) as [Worker[], Worker[]];
    if (struck.length === 0 || others.length === 0) return null;
    world.cutPower(machine);
    for (const _ of struck) {
      world.timeline.after(world.random.between(1_000, 60_000), () => world.startWorker(machine));
    }
    return { name: `power cut of ${machine.name}`, durationMs: minuteMs };
  },
  function terminate(world) {
    const worker = somebody(world);
    if (worker === null) return null;
    world.stopWorker(worker);
    world.timeline.after(world.random.between(0, 30_000), () => world.startWorker(worker.machine));
    return { name: `SIGTERM to ${worker.process.name}`, durationMs: minuteMs };
  },
  function pause(world) {
    const worker = somebody(world);
    if (worker === null) return null;
    const { process } = worker;
    const durationMs = forAWhile(world, world.random.between(500, 60_000), {
      begin: process.pause,
      end: process.resume,
    });
    return { name: `SIGSTOP of ${process.name} for ${durationMs} ms`, durationMs };
  },
  function crash(world) {
    const { trouble } = world.database;
    const durationMs = forAWhile(world, world.random.between(1_000, 5 * minuteMs), {
      begin: () => (trouble.isDown = true),
      end: () => (trouble.isDown = false),
    });
    return { name: `database down for ${durationMs} ms`, durationMs };
  },
  function slow(world) {
    const { trouble } = world.database;
    const durationMs = forAWhile(world, world.random.between(1_000, minuteMs), {
      begin: () => (trouble.slowMs = world.random.between(100, 1_500)),
      end: () => (trouble.slowMs = 0),
    });
    return { name: `database slow for ${durationMs} ms`, durationMs };
  },
  function loseReplies(world) {
    const { trouble } = world.database;
    const durationMs = forAWhile(world, world.random.between(1_000, minuteMs), {
      begin: () => Object.assign(trouble, { lostReplyPercent: 25, refusedPercent: 10 }),
      end: () => Object.assign(trouble, { lostReplyPercent: 0, refusedPercent: 0 }),
    });
    return { name: `database unreliable for ${durationMs} ms`, durationMs };
  },
  function cutOff(world) {
    const worker = somebody(world);
    if (worker === null) return null;
    const { reaches, name } = worker.process;
    const durationMs = forAWhile(world, world.random.between(1_000, 2 * minuteMs), {
      begin: () => (reaches.database = false),
      end: () => (reaches.database = true),
    });
    return { name: `${name} without the database for ${durationMs} ms`, durationMs };
  },
  function blind(world) {
    const worker = somebody(world);
    if (worker === null) return null;
    const { reaches, name } = worker.process;
    const durationMs = forAWhile(world, world.random.between(5_000, 3 * minuteMs), {
      begin: () => (reaches.servers = false),
      end: () => (reaches.servers = true),
    });
    return { name: `${name} blind for ${durationMs} ms`, durationMs };
  },
  function partition(world) {
    const worker = somebody(world);
    if (worker === null) return null;
    const durationMs = world.random.between(20_000, 4 * minuteMs);
    const { heal, count } = world.network.partitions.cut(worker.process, world.network.servers);
    world.timeline.after(durationMs, heal);
    return {
      name: `${worker.process.name} ${partitioned} from ${count} servers for ${durationMs} ms`,
      durationMs,
    };
  },
  function jump(world) {
    // Not by whole intervals: a check is known by its server and millisecond, and the same one may not come again.
    const offsetMs =
      world.random.pick([-1, 1]) * world.random.pick([3_600_000, 86_400_000]) +
      world.random.between(1, 29_999);
    world.wall.offsetMs += offsetMs;
    return { name: `wall clock jumps by ${offsetMs} ms`, durationMs: 1_000 };
  },
];

const aggravations: readonly Aggravation[] = [
  function killInADiskCall(world) {
    const machine = world.random.pick(world.machines);
    const calls = world.random.between(0, 40);
    machine.strikeAtCall(calls, process => {
      const worker = world.workers.find(each => each.process === process)!;
      world.killWorker(worker);
      if (world.random.chance(0.3)) world.cutPower(machine);
      const ended = world.workers.filter(
        ({ machine: of, end }) => of === machine && end?.atMs === world.timeline.nowMs(),
      );
      for (const _ of ended) {
        world.timeline.after(world.random.between(500, 20_000), () => world.startWorker(machine));
      }
    });
    return { name: `kill -9 on ${machine.name} at its ${calls + 1}th call of the disk`, durationMs: 0 };
  },
  function fill(world) {
    const { trouble, name } = world.random.pick(world.machines);
    const durationMs = forAWhile(world, world.random.between(1_000, 3 * minuteMs), {
      begin: () => (trouble.isFull = true),
      end: () => (trouble.isFull = false),
    });
    return { name: `disk of ${name} full for ${durationMs} ms`, durationMs };
  },
  function takeDisk(world) {
    const { trouble, name } = world.random.pick(world.machines);
    const durationMs = forAWhile(world, world.random.between(1_000, minuteMs), {
      begin: () => (trouble.isAway = true),
      end: () => (trouble.isAway = false),
    });
    return { name: `disk of ${name} away for ${durationMs} ms`, durationMs };
  },
];
