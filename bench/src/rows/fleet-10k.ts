import { setTimeout as sleep } from 'node:timers/promises';
import type { Context, Row } from '../context.ts';
import { type Observation, observe } from '../observe.ts';
import { type Scene, withPolledFleet } from '../polled-fleet.ts';
import { runProgram } from '../processes.ts';
import { promises } from '../promises.ts';
import type { ReadResult, ReadRun } from '../reader.ts';
import type { Measurement } from '../report.ts';
import { rollupLag, watchRollups } from '../rollup-lag.ts';

const SCALES = {
  full: { servers: 10_000, healthSeconds: 30, metricsSeconds: 60, seconds: 600 },
  quick: { servers: 200, healthSeconds: 3, metricsSeconds: 6, seconds: 9 },
};

const WORKERS = 2;
const BLACK_HOLES = '0.3';
const READS_PER_SECOND = 50;

type Server = { id: string };
type WorkersStatus = { polling: { lateness_p99_seconds: number } };

/**
 * Ten thousand servers of which three in ten are black holes, polled by two workers while somebody reads the API
 * at 50 requests a second. The judge is the simulator, by what arrived at the healthy ones.
 */
export const fleet10k: Row = {
  name: 'fleet-10k',
  run(context) {
    const scale = context.timed(SCALES);
    const { healthSeconds, metricsSeconds } = scale;
    const fleet = { ...scale, workers: WORKERS, flags: ['--blackhole', BLACK_HOLES] };
    return withPolledFleet(fleet, async scene => {
      // The first round of metrics opens the connections, and finds out who is silent.
      await sleep((healthSeconds + metricsSeconds) * 1000);
      const [seen, reads, behind] = await Promise.all([
        observe(scene, scale.seconds),
        read(context, scene),
        watchRollups(scene, scale.seconds),
      ]);
      const status = await scene.controlPlane.call<WorkersStatus>('GET', '/api/v1/fleet/workers/status');
      return [...report(seen, reads, status.polling.lateness_p99_seconds * 1000), rollupLag(behind)];
    });
  },
};

async function read(context: Context, { controlPlane }: Scene): Promise<ReadResult> {
  const fleet = '/api/v1/fleet';
  const { servers } = await controlPlane.call<{ servers: Server[] }>('GET', `${fleet}/servers?limit=1`);
  const paths = [`${fleet}/servers?limit=100`, `${fleet}/servers/${servers[0]!.id}`, `${fleet}/summary`];
  const { url, token } = controlPlane;
  const { seconds } = context.timed(SCALES);
  const run: ReadRun = { url, token, paths, requestsPerSecond: READS_PER_SECOND, seconds };
  return JSON.parse(await runProgram(new URL('../reader.ts', import.meta.url), JSON.stringify(run)));
}

function report(seen: Observation, reads: ReadResult, ownP99Ms: number): Measurement[] {
  const { cadence, memory, cpuMs } = seen;
  const cores = (ms: number): number => ms / 1000 / seen.seconds;
  const stall = { name: "the simulator's own stall", value: seen.simulatorStallMs };
  return [
    {
      name: 'lateness p99, 30 % black-holed',
      measured: cadence.latenessMs.p99,
      unit: 'ms',
      reference: { name: 'by its own account', value: ownP99Ms },
      bar: '≤ 2,000',
    },
    {
      name: 'lateness, the worst',
      measured: cadence.latenessMs.max,
      unit: 'ms',
      reference: stall,
      bar: '≤ 30,000',
    },
    ...promises(seen),
    { name: 'resident, the largest worker', measured: memory.pollerMax / 1e6, unit: 'MB', bar: '≤ 512' },
    {
      name: 'API latency p99 at 50 requests/s',
      measured: reads.latencyMs.p99,
      unit: 'ms',
      reference: { name: 'median', value: reads.latencyMs.p50 },
    },
    {
      name: 'API requests failed',
      measured: reads.failures,
      unit: 'requests',
      reference: { name: 'answered', value: reads.answers },
      bar: '0',
    },
    {
      name: 'CPU, both workers',
      measured: cores(cpuMs.pollers),
      unit: 'cores',
      reference: { name: 'PostgreSQL', value: cores(cpuMs.postgres) },
    },
  ];
}
