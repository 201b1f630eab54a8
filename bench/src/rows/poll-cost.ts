import { setTimeout as sleep } from 'node:timers/promises';
import type { Row } from '../context.ts';
import type { ControlPlane } from '../control-plane.ts';
import type { SimulatorProcess } from '../processes.ts';
import type { LoopName } from '../references/loops.ts';

const SCALES = {
  full: { servers: 4_000, intervalSeconds: 4, warmUpRounds: 3, rounds: 5, referenceRounds: 3 },
  quick: { servers: 200, intervalSeconds: 1, warmUpRounds: 2, rounds: 3, referenceRounds: 2 },
};

const LOOPS: readonly [LoopName, string][] = [
  ['undici-request', 'undici request(), same pace'],
  ['undici-dispatch', 'undici dispatch(), same pace'],
  ['bare-socket', 'bare sockets, same pace'],
];

/**
 * What a health check costs, all included: schedule, token, request, verdict, and storing it. The pace is
 * even and low enough that nothing queues, and the references run at the same pace: at a steady pace most
 * wake-ups of a process serve a few checks, which costs any client more than 64 always in flight.
 */
export const pollCost: Row = {
  name: 'poll-cost',
  async run(context) {
    const { servers, intervalSeconds, warmUpRounds, rounds, referenceRounds } = SCALES[context.scale];
    const settings = {
      FLEET_HEALTH_INTERVAL: String(intervalSeconds),
      FLEET_METRICS_INTERVAL: '86400',
    };
    const cost = await context.withSimulator(servers, [], simulator =>
      context.withControlPlane(settings, async controlPlane => {
        await controlPlane.registerFleet(simulator.targets);
        await sleep(warmUpRounds * intervalSeconds * 1000);
        return costOf(controlPlane, simulator, rounds * intervalSeconds * 1000);
      }),
    );
    const references = new Map<LoopName, number>();
    for (const [loop] of LOOPS) {
      const checksPerSecond = servers / intervalSeconds;
      const run = await context.runLoop({ loop, targets: servers, rounds: referenceRounds, checksPerSecond });
      references.set(loop, run.clientCpuUs);
    }
    const unit = 'µs CPU/check';
    return [
      ...LOOPS.map(([loop, name], index) => ({
        name: index === 0 ? 'health check, polling process' : '',
        measured: cost.pollerUs,
        unit,
        reference: { name, value: references.get(loop)! },
        bar: '≤ 100',
      })),
      {
        name: 'health check, all of PostgreSQL',
        measured: cost.postgresUs,
        unit,
        reference: { name: 'the polling process', value: cost.pollerUs },
        bar: '≤ 30',
      },
    ];
  },
};

/** CPU for each check that arrived at the simulator within `ms`, in microseconds. */
async function costOf(
  controlPlane: ControlPlane,
  simulator: SimulatorProcess,
  ms: number,
): Promise<{ pollerUs: number; postgresUs: number }> {
  const look = async () => {
    const [cpu, stats] = await Promise.all([controlPlane.cpu(), simulator.stats()]);
    return { ...cpu, checks: stats.traffic.answers[200] ?? 0 };
  };
  const before = await look();
  await sleep(ms);
  const after = await look();
  const checks = after.checks - before.checks;
  if (checks === 0) throw new Error('The control plane checked nobody');
  return {
    pollerUs: (1000 * (after.pollerMs - before.pollerMs)) / checks,
    postgresUs: (1000 * (after.postgresMs - before.postgresMs)) / checks,
  };
}
