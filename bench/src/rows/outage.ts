import { setTimeout as sleep } from 'node:timers/promises';
import { accountOf, healthChanges, storedRows } from '../accounts.ts';
import type { Row } from '../context.ts';
import { withDatabase } from '../fleet-data.ts';
import { seenBy } from '../observe.ts';
import { type Scene, withPolledFleet } from '../polled-fleet.ts';
import { KINDS } from '../simulator/request.ts';

const SCALES = {
  full: { servers: 1_000, healthSeconds: 30, metricsSeconds: 60, outageSeconds: 300 },
  quick: { servers: 50, healthSeconds: 1, metricsSeconds: 2, outageSeconds: 5 },
};

const LOOK_EVERY_MS = 250;

/**
 * PostgreSQL and the process it belongs to are killed, and started again after five minutes; a worker goes on
 * meanwhile. (A single one: when two share the fleet anew, what is under way at that moment is asked again.) Every check that a server answered must be stored in the end, and no server be told to have changed.
 */
export const outage: Row = {
  name: 'outage',
  run(context) {
    const scale = SCALES[context.scale];
    const { healthSeconds, metricsSeconds, outageSeconds } = scale;
    return withPolledFleet(scale, async scene => {
      const { controlPlane, simulators, workers } = scene;
      await sleep((healthSeconds + metricsSeconds) * 1000);
      await Promise.all(simulators.map(simulator => simulator.reset()));
      const since = new Date();
      await controlPlane.crash();
      await sleep(outageSeconds * 1000);
      const owed = await answered(scene);
      await controlPlane.revive();
      const drained = await drain(scene, owed, outageSeconds * 1000);
      // Another round, so that a verdict of the time without a database would have been told.
      await sleep(healthSeconds * 1000);
      const stats = await Promise.all(simulators.map(simulator => simulator.stats()));
      const cadence = seenBy(stats);
      await Promise.all(workers.map(worker => worker.stop()));
      return withDatabase(controlPlane, async db => {
        const account = await accountOf(db, simulators);
        const reference = { name: 'checks answered', value: account.answered };
        return [
          { name: 'false changes told', measured: await healthChanges(db, since), unit: 'events', bar: '0' },
          { name: 'answered and not stored', measured: account.missing, unit: 'rows', reference, bar: '0' },
          { name: 'rows stored twice', measured: account.surplus, unit: 'rows', reference, bar: '0' },
          {
            name: drained.done ? 'time to store what waited' : 'not all stored after',
            measured: drained.ms / 1000,
            unit: 's',
            reference: { name: 'outage', value: outageSeconds },
          },
          {
            name: 'checks missed (a gap of two intervals)',
            measured: cadence.missed,
            unit: 'checks',
            reference: { name: 'checks judged', value: cadence.judged },
            bar: '0',
          },
        ];
      });
    });
  },
};

/** Waits until as many rows are stored, or for so long. */
async function drain(
  { controlPlane }: Scene,
  rows: number,
  longestMs: number,
): Promise<{ done: boolean; ms: number }> {
  return withDatabase(controlPlane, async db => {
    const beganMs = performance.now();
    for (;;) {
      const done = (await storedRows(db)) >= rows;
      const ms = performance.now() - beganMs;
      if (done || ms > longestMs) return { done, ms };
      await sleep(LOOK_EVERY_MS);
    }
  });
}

async function answered({ simulators }: Scene): Promise<number> {
  const counts = await Promise.all(
    simulators.flatMap(simulator => KINDS.map(kind => simulator.answered(kind))),
  );
  return counts.flat().reduce((sum, count) => sum + count, 0);
}
