import { setTimeout as sleep } from 'node:timers/promises';
import type { Context, Row } from '../context.ts';
import { type Observation, observe } from '../observe.ts';
import { type Scene, withPolledFleet } from '../polled-fleet.ts';
import type { LoopName } from '../references/loops.ts';
import type { Measurement } from '../report.ts';

type Pace = { servers: number; intervalSeconds: number; warmUpRounds: number; rounds: number };

/**
 * A handshake costs ten checks and more, so those who make one for each check are asked less often. In the one run that
 * was watched, the cost of a check fell by a sixth, beside PostgreSQL's, from the first half minute to the second.
 */
const SCALES: Record<'full' | 'quick', { kept: Pace; handshake: Pace }> = {
  full: {
    kept: { servers: 4_000, intervalSeconds: 4, warmUpRounds: 10, rounds: 5 },
    handshake: { servers: 4_000, intervalSeconds: 20, warmUpRounds: 1, rounds: 1 },
  },
  quick: {
    kept: { servers: 200, intervalSeconds: 1, warmUpRounds: 2, rounds: 3 },
    handshake: { servers: 200, intervalSeconds: 2, warmUpRounds: 1, rounds: 2 },
  },
};

type Mode = { name: string; flags: readonly string[]; pace: 'kept' | 'handshake' };

const PLAIN: Mode = { name: 'http, kept connection', flags: [], pace: 'kept' };
const TLS_MODES: readonly Mode[] = [
  { name: 'https, kept connection', flags: ['--tls'], pace: 'kept' },
  { name: 'https, resumed each time', flags: ['--tls', '--close'], pace: 'handshake' },
  {
    name: 'https, full handshake each time',
    flags: ['--tls', '--close', '--no-resumption'],
    pace: 'handshake',
  },
];

const LOOPS: readonly [LoopName, string][] = [
  ['undici-request', 'undici request(), same pace'],
  ['undici-dispatch', 'undici dispatch(), same pace'],
  ['bare-socket', 'bare sockets, same pace'],
];

/** The fleet that memory is compared with is so many times smaller. */
const SMALLER = 8;

/** Metrics are no part of this: a day, the longest interval there is. */
const NEVER_SECONDS = 86_400;

type Cost = { pollerUs: number; postgresUs: number; targetKilobytes: number; resumed: number };

/**
 * What a health check costs, all included: schedule, token, request, verdict, and storing it. The pace is
 * even and low enough that nothing queues, and the references run at the same pace: at a steady pace most
 * wake-ups of a process serve a few checks, which costs any client more than 64 always in flight. They run in the
 * same seconds, as a shared machine is half as fast again from one minute to the next.
 */
export const pollCost: Row = {
  name: 'poll-cost',
  async run(context) {
    const smaller = await pollSmaller(context);
    const besideLoops = await poll(PLAIN, SCALES[context.scale].kept, scene => observeBeside(context, scene));
    const costs = besideLoops.map(({ seen }) => costOf(context, PLAIN, seen, smaller));
    const measurements = costs.flatMap((cost, index) => referred(cost, besideLoops[index]!));
    const plain = costs.at(-1)!;
    measurements.push(memoryOf(PLAIN, plain, plain));
    for (const mode of TLS_MODES) {
      const pace = SCALES[context.scale][mode.pace];
      const seen = await poll(mode, pace, scene => observeRounds(scene, pace));
      const cost = costOf(context, mode, seen, smaller);
      measurements.push(
        {
          name: `health check, ${mode.name}`,
          measured: cost.pollerUs,
          unit: 'µs CPU/check',
          reference: { name: PLAIN.name, value: plain.pollerUs },
        },
        memoryOf(mode, cost, plain),
      );
      if (mode.pace === 'handshake') {
        measurements.push({
          name: 'of them resumed',
          measured: 100 * cost.resumed,
          unit: '%',
          bar: mode.flags.includes('--no-resumption') ? '0' : '100',
        });
      }
    }
    return measurements;
  },
};

type BesideLoop = { seen: Observation; name: string; loopUs: number };

/** One observation for each reference, while it runs. */
async function observeBeside(context: Context, scene: Scene): Promise<BesideLoop[]> {
  const { kept } = SCALES[context.scale];
  const { servers, intervalSeconds, rounds } = kept;
  const found: BesideLoop[] = [];
  for (const [loop, name] of LOOPS) {
    const run = { loop, targets: servers, rounds, checksPerSecond: servers / intervalSeconds };
    const [seen, { clientCpuUs }] = await Promise.all([observeRounds(scene, kept), context.runLoop(run)]);
    found.push({ seen, name, loopUs: clientCpuUs });
  }
  return found;
}

const referred = ({ pollerUs, postgresUs }: Cost, { name, loopUs }: BesideLoop): Measurement[] => [
  {
    name: 'health check, polling process',
    measured: pollerUs,
    unit: 'µs CPU/check',
    reference: { name, value: loopUs },
    bar: '≤ 100',
  },
  {
    name: 'health check, all of PostgreSQL',
    measured: postgresUs,
    unit: 'µs CPU/check',
    reference: { name, value: loopUs },
    bar: '≤ 30',
  },
];

function memoryOf(mode: Mode, cost: Cost, plain: Cost): Measurement {
  return {
    name: `memory for each server, ${mode.name}`,
    measured: cost.targetKilobytes,
    unit: 'kB',
    ...(mode === PLAIN ? {} : { reference: { name: PLAIN.name, value: plain.targetKilobytes } }),
  };
}

/** An eighth of the fleet, checked as often in all: what a process holds more is for its servers. */
function pollSmaller(context: Context): Promise<Observation> {
  const { kept } = SCALES[context.scale];
  const pace = {
    servers: kept.servers / SMALLER,
    intervalSeconds: kept.intervalSeconds / SMALLER,
    warmUpRounds: kept.warmUpRounds * SMALLER,
    rounds: kept.rounds * SMALLER,
  };
  return poll(PLAIN, pace, scene => observeRounds(scene, pace));
}

function costOf(context: Context, mode: Mode, seen: Observation, smaller: Observation): Cost {
  const { servers } = SCALES[context.scale][mode.pace];
  const { full, resumed } = seen.handshakes;
  const moreBytes = seen.memory.pollerMin - smaller.memory.pollerMin;
  return {
    pollerUs: (1000 * seen.cpuMs.pollers) / seen.checks.health,
    postgresUs: (1000 * seen.cpuMs.postgres) / seen.checks.health,
    targetKilobytes: moreBytes / (servers - SCALES[context.scale].kept.servers / SMALLER) / 1000,
    resumed: resumed / (full + resumed),
  };
}

/** Runs `use` beside a fleet that has been polled for a while. */
function poll<T>(mode: Mode, pace: Pace, use: (scene: Scene) => Promise<T>): Promise<T> {
  const { servers, intervalSeconds, warmUpRounds } = pace;
  const fleet = { servers, flags: mode.flags, healthSeconds: intervalSeconds, metricsSeconds: NEVER_SECONDS };
  return withPolledFleet(fleet, async scene => {
    await sleep(warmUpRounds * intervalSeconds * 1000);
    return use(scene);
  });
}

async function observeRounds(scene: Scene, { rounds, intervalSeconds }: Pace): Promise<Observation> {
  const seen = await observe(scene, rounds * intervalSeconds);
  if (seen.checks.health === 0) throw new Error('The control plane checked nobody');
  return seen;
}
