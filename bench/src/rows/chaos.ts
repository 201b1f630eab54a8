import { setTimeout as sleep } from 'node:timers/promises';
import { Acknowledged, accountOf, healthChanges } from '../accounts.ts';
import type { Row } from '../context.ts';
import { type Fault, planFaults } from '../faults.ts';
import { withDatabase } from '../fleet-data.ts';
import { seenBy } from '../observe.ts';
import type { PollWorker } from '../poll-worker.ts';
import { type Scene, withPolledFleet } from '../polled-fleet.ts';

const SCALES = {
  full: {
    servers: 2_000,
    healthSeconds: 30,
    metricsSeconds: 60,
    workers: 3,
    seconds: 1_800,
    everySeconds: 20,
    pauseSeconds: { min: 20, max: 40 },
  },
  quick: {
    servers: 60,
    healthSeconds: 2,
    metricsSeconds: 4,
    workers: 2,
    seconds: 18,
    everySeconds: 5,
    pauseSeconds: { min: 2, max: 4 },
  },
};

/**
 * A random worker is killed every 20 s and started again, or paused. What was stored before a fault must be there
 * at the end; no server may be checked later than two intervals after its last check, nor be told to have changed.
 */
export const chaos: Row = {
  name: 'chaos',
  run(context) {
    const scale = context.timed(SCALES);
    const { seed } = context;
    const faults = planFaults({ ...scale, seed });
    return withPolledFleet(scale, scene =>
      withDatabase(scene.controlPlane, async db => {
        await sleep((scale.healthSeconds + scale.metricsSeconds) * 1000);
        const acknowledged = await Acknowledged.create(db);
        const since = new Date();
        await Promise.all(scene.simulators.map(simulator => simulator.reset()));
        await inflict(scene, faults, acknowledged);
        const stats = await Promise.all(scene.simulators.map(simulator => simulator.stats()));
        const cadence = seenBy(stats);
        await Promise.all(scene.workers.map(worker => worker.stop()));
        const { noted, lost } = await acknowledged.audit();
        const account = await accountOf(db, scene.simulators);
        const answered = { name: 'checks answered', value: account.answered };
        const judged = { name: 'checks judged', value: cadence.judged };
        return [
          { name: `faults (--seed ${seed})`, measured: faults.length, unit: 'faults' },
          {
            name: 'acknowledged rows lost',
            measured: lost,
            unit: 'rows',
            reference: { name: 'acknowledged', value: noted },
            bar: '0',
          },
          {
            name: 'rows stored twice',
            measured: account.surplus,
            unit: 'rows',
            reference: answered,
            bar: '0',
          },
          {
            name: 'results that died with a worker',
            measured: account.missing,
            unit: 'rows',
            reference: answered,
          },
          {
            name: 'checks missed (a gap of two intervals)',
            measured: cadence.missed,
            unit: 'checks',
            reference: judged,
            bar: '0',
          },
          { name: 'lateness, the worst', measured: cadence.latenessMs.max, unit: 'ms' },
          { name: 'checks that overlap', measured: cadence.overlaps, unit: 'checks', reference: judged },
          { name: 'false changes told', measured: await healthChanges(db, since), unit: 'events', bar: '0' },
        ];
      }),
    );
  },
};

/** Lets the faults happen at their times, each after what is stored was noted, and waits until all workers run. */
async function inflict(scene: Scene, faults: readonly Fault[], acknowledged: Acknowledged): Promise<void> {
  const beganMs = performance.now();
  const underWay = new Map<PollWorker, Promise<void>>();
  for (const fault of faults) {
    await sleep(Math.max(0, beganMs + fault.atSeconds * 1000 - performance.now()));
    await acknowledged.note();
    const worker = scene.workers[fault.worker]!;
    const before = underWay.get(worker) ?? Promise.resolve();
    underWay.set(
      worker,
      before.then(() => suffer(worker, fault)),
    );
  }
  await Promise.all(underWay.values());
  await acknowledged.note();
}

async function suffer(worker: PollWorker, fault: Fault): Promise<void> {
  if (fault.kind === 'pause') return worker.pause(fault.seconds);
  await worker.kill();
  await worker.start(fault.kind === 'another');
}
