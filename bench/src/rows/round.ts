import { setTimeout as sleep } from 'node:timers/promises';
import type { Row } from '../context.ts';
import type { ControlPlane } from '../control-plane.ts';
import { median } from '../report.ts';

const SCALES = { full: { servers: 5_000, rounds: 3 }, quick: { servers: 600, rounds: 2 } };

/** Seldom enough that asking, which counts the results so far, is no part of what is measured. */
const ASK_EVERY_MS = 200;
const GIVE_UP_MS = 120_000;

type Job = { id: string; status: 'running' | 'completed'; total: number; healthy: number };

/** How long "check everybody now" takes, from the request until every result is stored and counted. */
export const round: Row = {
  name: 'round',
  async run(context) {
    const { servers, rounds } = SCALES[context.scale];
    // Only what is asked for is checked.
    const settings = { FLEET_HEALTH_INTERVAL: '86400', FLEET_METRICS_INTERVAL: '86400' };
    const timesMs = await context.withSimulator(servers, [], simulator =>
      context.withControlPlane(settings, async controlPlane => {
        await controlPlane.registerFleet(simulator.targets);
        // The first round waits for the checks that follow registration, and is not counted.
        await roundMs(controlPlane, servers);
        const times = [];
        for (let round = 0; round < rounds; round++) times.push(await roundMs(controlPlane, servers));
        return times;
      }),
    );
    const bare = await context.runLoop({ loop: 'undici-request', targets: servers, rounds: 1 });
    return [
      {
        name: `full round of ${servers.toLocaleString('en')} servers`,
        measured: median(timesMs) / 1000,
        unit: 's',
        reference: { name: 'undici request(), 64 in flight', value: bare.wallMs / 1000 },
        bar: '≤ 5',
      },
    ];
  },
};

async function roundMs(controlPlane: ControlPlane, servers: number): Promise<number> {
  const startedMs = performance.now();
  let { job } = await controlPlane.call<{ job: Job }>('POST', '/api/v1/fleet/health-check/all');
  while (job.status === 'running') {
    if (performance.now() - startedMs > GIVE_UP_MS) throw new Error('A full round does not come to an end');
    await sleep(ASK_EVERY_MS);
    const path = `/api/v1/fleet/health-check/jobs/${job.id}?limit=0`;
    ({ job } = await controlPlane.call<{ job: Job }>('GET', path));
  }
  if (job.healthy !== servers) throw new Error(`Of ${servers} healthy servers ${job.healthy} were found so`);
  return performance.now() - startedMs;
}
