import { afterEach, beforeEach } from 'vitest';
import type { Conditions } from '../../src/conditions/condition.ts';
import { newId, type WorkerId } from '../../src/ids.ts';
import { sql } from '../../src/platform/db.ts';
import { createLog } from '../../src/platform/log.ts';
import { createLeases, type Leases } from '../../src/polling/leases.ts';
import { createPollStore } from '../../src/polling/poll-store.ts';
import { heartbeatMs, type WorkerStats } from '../../src/polling/slots.ts';
import { defaultRetention } from '../../src/retention/retention.ts';
import { createTestDatabase, type TestDatabase } from '../database.ts';
import { createFakeClock } from './clock.ts';
import { until } from './until.ts';

const kind = { performed: 0, successful: 0, failed: 0, lastRun: null, lastDurationSeconds: null };
const stats: WorkerStats = {
  health: kind,
  metrics: { ...kind, valuesCollected: 0 },
  servers: 0,
  slots: 0,
  latenessP99Seconds: 0,
  spooled: { bytes: 0, records: 0, oldestAgeSeconds: 0, refused: 0, corrupt: 0 },
};

export type Worker = {
  leases: Leases;
  id: WorkerId;
  /** What its owner was told, in order. */
  told: string[];
  /** Lets one heartbeat happen and waits for its end. */
  heartbeat(): Promise<void>;
  /** The same, and for the end of what it hands over. */
  beat(): Promise<void>;
  /** Stops it as a crash does: nothing is given back. */
  crash(): Promise<void>;
};

/** The one that they share. */
export let database: TestDatabase;
/** All that were started in the test. */
export let running: Worker[];
beforeEach(async () => {
  database = await createTestDatabase();
  running = [];
  storing = Promise.resolve();
});
afterEach(async () => {
  for (const worker of running) await worker.crash();
  await database.close();
});

let started = 0;
/** What workers that give slots back have to store first. */
let storing: Promise<void>;
/** From now on, who gives slots back has stored what it knows only then. */
export const storesBy = (stored: Promise<void>): void => {
  storing = stored;
};
/** What a worker sees wrong. */
export const conditions = new Map<WorkerId, Conditions>();
export async function startWorker(changes: { instance?: string; pin?: string } = {}) {
  const clock = createFakeClock();
  started += 1;
  const id = newId<WorkerId>(started);
  const told: string[] = [];
  const ended = new AbortController();
  let beats = 0;
  const leases = createLeases({
    store: createPollStore(database.db.system, clock, { interval: 'month', retention: defaultRetention }),
    clock: {
      ...clock,
      async sleep(ms, signal) {
        beats += 1;
        await clock.sleep(ms, signal);
      },
    },
    log: createLog({ level: 'silent' }),
    worker: { id, name: id, instance: changes.instance ?? null, version: '1', startedAt: new Date(started) },
    pin: changes.pin ?? null,
    report: () => ({ stats, conditions: conditions.get(id) ?? {} }),
    announce: () => undefined,
    gained: gained => told.push(`gained ${gained.length}`),
    async lost(slots) {
      await storing;
      const { owned } = await database.db.system.one<{ owned: number }>(sql`
        select count(*)::int as owned from poll_slots where owner = ${id} and slot = any(${slots}::smallint[])`);
      told.push(`lost ${slots.length} while ${owned} were still its own`);
    },
  });
  await leases.start();
  const loop = leases.run(ended.signal);
  const worker: Worker = {
    leases,
    id,
    told,
    async beat() {
      await worker.heartbeat();
      await leases.idle();
    },
    async heartbeat() {
      // Each heartbeat ends by going to sleep again.
      const before = beats;
      await clock.advance(heartbeatMs);
      await until('the end of a heartbeat', async () => beats > before);
    },
    async crash() {
      ended.abort();
      await loop;
    },
  };
  running.push(worker);
  return worker;
}

/** Makes a worker look as if nothing had been heard of it for longer than a lease lasts. */
export const silence = async (worker: Worker): Promise<void> => {
  await database.db.system.execute(
    sql`update poll_slots set expires_at = now() - interval '1 second' where owner = ${worker.id}`,
  );
  await database.db.system.execute(
    sql`update workers set heartbeat_at = now() - interval '16 seconds' where id = ${worker.id}`,
  );
};
