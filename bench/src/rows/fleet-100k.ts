import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from '../../../server/src/platform/db.ts';
import { descriptorLimit } from '../../../server/src/platform/descriptors.ts';
import type { Row } from '../context.ts';
import { withDatabase } from '../fleet-data.ts';
import { type Observation, observe, seenBy } from '../observe.ts';
import { type Scene, withPolledFleet } from '../polled-fleet.ts';
import { promises } from '../promises.ts';
import type { Measurement } from '../report.ts';

const SCALES = {
  full: { servers: 100_000, healthSeconds: 30, metricsSeconds: 60, seconds: 600 },
  quick: { servers: 1_000, healthSeconds: 3, metricsSeconds: 6, seconds: 6 },
};

/** A worker keeps connections up to this share of its descriptors (server/src/main.ts). */
const KEPT_SHARE = 0.8;
/** Descriptors of a simulator that are no connections, generously. */
const SPARE_DESCRIPTORS = 500;
/** PostgreSQL takes 60 connections, and a worker may use all 11 of its own in a bad moment. */
const MOST_WORKERS = 8;

/** All workers start at once, on an empty cache each: what that costs is a figure of its own. */
const ON_TIME_MS = 5_000;
const LOOK_MS = 10_000;
const START_LIMIT_MS = 300_000;

const DAY_SECONDS = 86_400;

/**
 * A hundred thousand healthy servers, polled by as many workers as keep a connection to each within the limit of
 * open files, from as many simulators as that limit asks for.
 */
export const fleet100k: Row = {
  name: 'fleet-100k',
  run(context) {
    const { seconds, ...pace } = context.timed(SCALES);
    const limit = descriptorLimit() ?? Number.POSITIVE_INFINITY;
    const workers = Math.min(MOST_WORKERS, Math.ceil(pace.servers / (KEPT_SHARE * limit)));
    const simulators = Math.ceil(pace.servers / (limit - SPARE_DESCRIPTORS));
    // As the README advises: the rows and pages of the index that are written all the time do not fit into less, and
    // many processes need few connections each.
    const settings = {
      OPSFLEET_DATABASE_MEMORY: '512',
      OPSFLEET_DATABASE_HUGE_PAGES: 'try',
      OPSFLEET_DATABASE_POOL: '2',
    };
    return withPolledFleet({ ...pace, workers, simulators, settings }, async scene => {
      const startedMs = performance.now();
      // Every server has had both of its polls.
      await sleep((pace.healthSeconds + pace.metricsSeconds) * 1000);
      await becomeOnTime(scene, startedMs + START_LIMIT_MS);
      const startSeconds = (performance.now() - startedMs) / 1000;
      return [
        { name: 'from the start until on time', measured: startSeconds, unit: 's' },
        await hugePages(scene),
        ...report(await observe(scene, seconds), workers),
      ];
    });
  },
};

/** Until nothing was later than the bar for ten seconds; not for ever, where that never comes. */
async function becomeOnTime({ simulators }: Scene, endMs: number): Promise<void> {
  do {
    await Promise.all(simulators.map(simulator => simulator.reset()));
    await sleep(LOOK_MS);
    const { latenessMs } = seenBy(await Promise.all(simulators.map(simulator => simulator.stats())));
    if (latenessMs.max <= ON_TIME_MS) return;
  } while (performance.now() < endMs);
}

/** Whether the kernel had any to give: without, PostgreSQL costs half as much again. */
function hugePages({ controlPlane }: Scene): Promise<Measurement> {
  return withDatabase(controlPlane, async db => {
    const { status } = await db.system.one(sql<{ status: string }>`
      select current_setting('huge_pages_status') as status`);
    return {
      name: "PostgreSQL's shared memory in huge pages",
      measured: status === 'on' ? 100 : 0,
      unit: '%',
    };
  });
}

function report(seen: Observation, workers: number): Measurement[] {
  const { cadence, memory, cpuMs } = seen;
  const cores = (ms: number): number => ms / 1000 / seen.seconds;
  return [
    {
      name: `CPU, ${workers} ${workers === 1 ? 'worker' : 'workers'} and PostgreSQL`,
      measured: cores(cpuMs.pollers + cpuMs.postgres),
      unit: 'cores',
      reference: { name: 'PostgreSQL alone', value: cores(cpuMs.postgres) },
      bar: '≤ 1',
    },
    { name: 'CPU, simulators', measured: cores(cpuMs.simulators), unit: 'cores' },
    { name: 'checks answered', measured: seen.checks.all / seen.seconds, unit: 'checks/s' },
    {
      name: 'rows stored',
      measured: seen.rows / seen.seconds,
      unit: 'rows/s',
      reference: { name: 'checks answered', value: seen.checks.all / seen.seconds },
    },
    {
      name: 'lateness p99',
      measured: cadence.latenessMs.p99,
      unit: 'ms',
      reference: { name: "the simulators' own stall", value: seen.simulatorStallMs },
      bar: `≤ ${ON_TIME_MS.toLocaleString('en')}`,
    },
    { name: 'lateness, the worst', measured: cadence.latenessMs.max, unit: 'ms' },
    ...promises(seen),
    {
      name: 'database growth',
      measured: (seen.historyBytes * DAY_SECONDS) / seen.seconds / 1e9,
      unit: 'GB/day',
      reference: { name: 'bytes a row', value: seen.historyBytes / seen.rows },
    },
    {
      name: 'resident, all workers',
      measured: memory.pollers / 1e6,
      unit: 'MB',
      reference: { name: 'PostgreSQL', value: memory.postgres / 1e6 },
    },
    { name: 'resident, the API', measured: memory.api / 1e6, unit: 'MB' },
    { name: 'resident, simulators', measured: memory.simulators / 1e6, unit: 'MB' },
  ];
}
