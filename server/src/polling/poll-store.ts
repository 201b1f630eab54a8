import { type HealthCheckRow, insertHealthChecks } from '../health/history.ts';
import type { JobId, OrganizationId, ServerId, WorkerId } from '../ids.ts';
import { insertMetrics, type MetricsRow } from '../metrics/store.ts';
import type { Clock } from '../platform/clock.ts';
import type { SystemDb } from '../platform/db.ts';
import { ensurePartitionsFor, isMissingPartition } from '../retention/maintain.ts';
import type { PartitionedTable, PartitionPolicy } from '../retention/partitions.ts';
import type { SealedServerToken } from '../secrets/secrets.ts';
import { loadServerTokens } from '../secrets/store.ts';
import type { ServerKey } from './roster.ts';
import {
  claimPinnedSlot,
  claimSlots,
  heartbeat,
  type Lease,
  registerWorker,
  releaseSlots,
  renewLeases,
  unregisterWorker,
  type WorkerReport,
  type WorkerRow,
} from './slots.ts';
import {
  type HealthWrite,
  loadJobServers,
  loadServers,
  loadSlots,
  type MetricsWrite,
  type PolledServer,
  writeHealth,
  writeMetrics,
} from './store.ts';
import {
  answerQuestions,
  askWitnesses,
  type CollectedAnswer,
  collectAnswers,
  type TakenQuestion,
  takeQuestions,
  type WitnessAnswer,
  type WitnessQuestion,
} from './witness-store.ts';

/**
 * Everything that polling asks of the database, each call one transaction. A port, so that the simulation can
 * put a database in its place that fails where it wants to. Calls reject with AppError `unavailable` while
 * the database is away; whether a write had been committed by then is unknown, and asking again is harmless.
 */
export type PollStore = {
  registerWorker(worker: WorkerRow): Promise<void>;
  unregisterWorker(id: WorkerId): Promise<void>;
  /** Returns all live workers, oldest first. */
  heartbeat(id: WorkerId, report: WorkerReport): Promise<WorkerId[]>;
  renewLeases(owner: WorkerId): Promise<Lease[]>;
  claimSlots(owner: WorkerId, count: number): Promise<Lease[]>;
  claimPinnedSlot(owner: WorkerId, instance: string): Promise<Lease[]>;
  releaseSlots(owner: WorkerId, slots: readonly number[]): Promise<void>;

  loadSlots(slots: readonly number[]): Promise<PolledServer[]>;
  loadServers(keys: readonly ServerKey[]): Promise<PolledServer[]>;
  loadJobServers(organizationId: OrganizationId, id: JobId): Promise<ServerId[]>;
  loadTokens(keys: readonly ServerKey[]): Promise<SealedServerToken[]>;

  /**
   * Both return how many rows were new. A first try may fail where one is there already; a further one passes over
   * that, and over those of servers that are gone.
   */
  insertHealthChecks(rows: readonly HealthCheckRow[], isFirstTry: boolean): Promise<number>;
  insertMetrics(rows: readonly MetricsRow[], isFirstTry: boolean): Promise<number>;
  writeHealth(writes: readonly HealthWrite[]): Promise<void>;
  writeMetrics(writes: readonly MetricsWrite[]): Promise<void>;

  /** Asks the other workers what they find at servers. Nobody takes a question after `patienceMs`. */
  askWitnesses(asker: WorkerId, questions: readonly WitnessQuestion[], patienceMs: number): Promise<void>;
  takeQuestions(witness: WorkerId, count: number): Promise<TakenQuestion[]>;
  answerQuestions(witness: WorkerId, answers: readonly WitnessAnswer[]): Promise<void>;
  /** What has become of the asker's questions; forgets those that are answered, given up or too old. */
  collectAnswers(asker: WorkerId, givenUp: readonly number[]): Promise<CollectedAnswer[]>;
};

/** The port over PostgreSQL. `isDistributed`: the tables are spread over several machines. */
export function createPollStore(
  db: SystemDb,
  clock: Clock,
  policy: PartitionPolicy,
  isDistributed = false,
): PollStore {
  // Citus sends the rows of a plain INSERT … SELECT by COPY, which row security refuses. With ON CONFLICT it does not.
  const mayBeFirst = !isDistributed;

  /** Rows of a time without a partition make it, whatever the upkeep has done. */
  async function partitioned<T>(
    table: PartitionedTable,
    instants: readonly Date[],
    write: () => Promise<T>,
  ): Promise<T> {
    try {
      return await write();
    } catch (error) {
      if (!isMissingPartition(error)) throw error;
      const made = await ensurePartitionsFor(db, { table, instants, now: clock.now(), policy });
      if (!made.ok) throw error;
      return write();
    }
  }

  const withEvents = <T>(write: (at: Date) => Promise<T>): Promise<T> => {
    const at = clock.now();
    return partitioned('events', [at], () => write(at));
  };
  const instantsOf = (rows: readonly { at: Date }[]): Date[] => rows.map(row => row.at);

  return {
    registerWorker: worker => withEvents(at => registerWorker(db, worker, at)),
    unregisterWorker: id => withEvents(at => unregisterWorker(db, id, at)),
    heartbeat: (id, report) => withEvents(at => heartbeat(db, id, { ...report, at })),
    renewLeases: owner => renewLeases(db, owner),
    claimSlots: (owner, count) => claimSlots(db, owner, count),
    claimPinnedSlot: (owner, instance) => claimPinnedSlot(db, owner, instance),
    releaseSlots: (owner, slots) => withEvents(at => releaseSlots(db, owner, { slots, at })),
    loadSlots: slots => loadSlots(db, slots),
    loadServers: keys => loadServers(db, keys),
    loadJobServers: (organizationId, id) => loadJobServers(db, organizationId, id),
    loadTokens: keys =>
      loadServerTokens(
        db,
        keys.map(({ organizationId, id }) => ({ organizationId, serverId: id })),
      ),
    insertHealthChecks: (rows, isFirstTry) =>
      partitioned('server_health_checks', instantsOf(rows), () =>
        insertHealthChecks(db, rows, isFirstTry && mayBeFirst),
      ),
    insertMetrics: (rows, isFirstTry) =>
      partitioned('server_metrics_aggregated', instantsOf(rows), () =>
        insertMetrics(db, rows, isFirstTry && mayBeFirst),
      ),
    async writeHealth(writes) {
      await withEvents(at => writeHealth(db, writes, at));
    },
    async writeMetrics(writes) {
      await writeMetrics(db, writes);
    },
    askWitnesses: (asker, questions, patienceMs) =>
      withEvents(at => askWitnesses(db, asker, { questions, patienceMs, at })),
    takeQuestions: (witness, count) => takeQuestions(db, witness, count),
    answerQuestions: (witness, answers) => answerQuestions(db, witness, answers),
    collectAnswers: (asker, givenUp) => collectAnswers(db, asker, givenUp),
  };
}
