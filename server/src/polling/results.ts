import type { HealthCheckRow } from '../health/history.ts';
import type { OrganizationId, ServerId } from '../ids.ts';
import type { MetricsRow } from '../metrics/store.ts';
import type { Clock } from '../platform/clock.ts';
import type { Instruments } from '../platform/instruments.ts';
import type { Log } from '../platform/log.ts';
import type { Spool } from '../platform/spool.ts';
import { type Batches, type BatchesOptions, createBatches } from './batches.ts';
import type { PollStore } from './poll-store.ts';
import { type Codec, healthChecks, healthWrites, metricsRows, metricsWrites } from './spooled.ts';
import type { HealthWrite, MetricsWrite } from './store.ts';

/** Takes what polls found and brings it to the database; what it has not stored yet it keeps. */
export type Results = {
  /** `write` null: the server is another worker's by now. */
  health(check: HealthCheckRow, write: HealthWrite | null): void;
  metrics(row: MetricsRow | null, write: MetricsWrite | null): void;
  /**
   * Brings what waits to the database, a bounded number of batches, so that the next call finds the newest states.
   * Throws while it is away; then what waits is on disk, as far as the disk takes it, and is tried again.
   */
  flush(): Promise<void>;
  /** Brings every state that waits now to the database, also those an earlier process left. Throws while it is away. */
  flushStates(): Promise<void>;
  /** Takes what waits in memory to disk. */
  spill(): Promise<void>;
  /** Once a second, between two flushes or in one: takes to disk what has waited for long, or is too much for memory. */
  spillIfStuck(): Promise<void>;
  /** Results in memory. */
  waiting(): number;
  /** Batches of results on disk. */
  onDisk(): number;
  /** Whether more waits than what has just come. */
  isBehind(): boolean;
  /** Results that neither the database nor disk nor memory had room for: lost. */
  refused(): number;
};

/** The queues that need a place in the spool. */
export const resultQueues = ['health_state', 'health_history', 'metrics_state', 'metrics_history'] as const;
type QueueName = (typeof resultQueues)[number];

/** More than a worker polls in a second, so that each second has one batch: any costs the database 0.6 ms besides its rows. */
const maxBatch = 2_000;
const maxInMemory = 10_000;
/** About 200 bytes each: where there is no disk, two minutes of 5,000 polls a second without a database. */
const maxWaiting = 600_000;
// Of one queue, in one flush: half a second's work of the database, after which states that came since have their turn.
const batchesPerFlush = 8;

export type ResultsOptions = {
  store: PollStore;
  log: Log;
  instruments: Instruments;
  clock: Pick<Clock, 'monotonicMs'>;
  /** Null: what waits, waits in memory. */
  spool: Spool | null;
  /** Called after states with changes were committed. */
  onChanges(): void;
};

type Queues = {
  checks: Batches<HealthCheckRow>;
  rows: Batches<MetricsRow>;
  healthStates: Batches<HealthWrite>;
  metricsStates: Batches<MetricsWrite>;
};

export function createResults(options: ResultsOptions): Results {
  const { instruments } = options;
  let refused = 0;
  const { checks, rows, healthStates, metricsStates } = createQueues(options, () => (refused += 1));
  const states = [healthStates, metricsStates];
  const queues = [...states, checks, rows];
  const waiting = (): number => queues.reduce((sum, each) => sum + each.waiting(), 0);
  let flushingStates: Promise<PromiseSettledResult<void>[]> | null = null;

  /** One after the other: both are in the same rows, and at once they would wait for each other's locks. */
  function flushSomeStates(): Promise<PromiseSettledResult<void>[]> {
    flushingStates ??= (async () => {
      const done: PromiseSettledResult<void>[] = [];
      for (const each of states) done.push(...(await Promise.allSettled([each.flush(batchesPerFlush)])));
      return done;
    })().finally(() => {
      flushingStates = null;
    });
    return flushingStates;
  }

  function throwFirst(done: readonly PromiseSettledResult<void>[]): void {
    const failed = done.find(each => each.status === 'rejected');
    if (failed === undefined) return;
    instruments.flushFailures.inc();
    throw failed.reason;
  }

  return {
    health(check, write) {
      checks.add(check);
      if (write !== null) healthStates.add(write);
    },
    metrics(row, write) {
      if (row !== null) rows.add(row);
      if (write !== null) metricsStates.add(write);
    },
    async flush() {
      instruments.waiting.set(waiting());
      const histories = Promise.allSettled([checks.flush(batchesPerFlush), rows.flush(batchesPerFlush)]);
      const done = [...(await flushSomeStates()), ...(await histories)];
      instruments.waiting.set(waiting());
      throwFirst(done);
    },
    async flushStates() {
      // Of a fleet that is polled on meanwhile there is always something that waits.
      const areStored = states.map(each => each.checkpoint());
      while (!areStored.every(isStored => isStored())) throwFirst(await flushSomeStates());
    },
    spill: () => inAll(queues, each => each.spill()),
    spillIfStuck: () => inAll(queues, each => each.spillIfStuck()),
    waiting,
    onDisk: () => queues.reduce((sum, each) => sum + each.onDisk(), 0),
    isBehind: () => queues.some(each => each.isBehind()),
    refused: () => refused,
  };
}

async function inAll<T>(all: readonly T[], work: (each: T) => Promise<void>): Promise<void> {
  await Promise.all(all.map(work));
}

/**
 * Four queues, so that neither the history nor the state waits for the other: a history row that the
 * database refuses must not keep a server's state old, nor the other way round.
 */
function createQueues(
  { store, clock, log, instruments, spool, onChanges }: ResultsOptions,
  onRefused: () => void,
): Queues {
  function queue<T>(name: QueueName, codec: Codec<T>, write: BatchesOptions<T>['write']) {
    return createBatches<T>({
      maxBatch,
      maxInMemory,
      maxWaiting,
      nowMs: () => clock.monotonicMs(),
      spool: spool && {
        ...codec,
        queue: spool.queue(name),
        onUnreadable() {
          instruments.unreadable.inc({ queue: name });
          log.error({ queue: name }, 'spooled results are not what this version writes; they are lost');
        },
      },
      write,
      onPoison: (item, error) => {
        instruments.quarantined.inc({ queue: name });
        log.error(
          { err: error, queue: name, server: (item as { serverId?: string; id?: string }).serverId },
          'the database refuses a result',
        );
      },
      onOverflow: () => {
        onRefused();
        instruments.overflowed.inc({ queue: name });
      },
    });
  }

  return {
    checks: queue('health_history', healthChecks, async (batch, isFirstTry) => {
      const count = await store.insertHealthChecks(
        inKeyOrder(batch, row => row.serverId),
        isFirstTry,
      );
      instruments.flushed.inc({ kind: 'health' }, count);
    }),
    rows: queue('metrics_history', metricsRows, async (batch, isFirstTry) => {
      const count = await store.insertMetrics(
        inKeyOrder(batch, row => row.serverId),
        isFirstTry,
      );
      instruments.flushed.inc({ kind: 'metrics' }, count);
    }),
    healthStates: queue('health_state', healthWrites, async batch => {
      await store.writeHealth(inKeyOrder(latestPerServer(batch), write => write.id));
      if (batch.some(write => write.changes.length > 0)) onChanges();
    }),
    metricsStates: queue('metrics_state', metricsWrites, async batch => {
      const latest = new Map(batch.map(write => [write.id, write]));
      await store.writeMetrics(inKeyOrder([...latest.values()], write => write.id));
    }),
  };
}

/**
 * As the indexes have them: each of their pages is then visited once for all rows of a batch that are in it, which takes
 * 5 % off what storing costs PostgreSQL. Several of one server stay in their order.
 */
function inKeyOrder<T extends { organizationId: OrganizationId }>(
  items: readonly T[],
  idOf: (item: T) => ServerId,
): T[] {
  return items.toSorted((a, b) => compare(a.organizationId, b.organizationId) || compare(idOf(a), idOf(b)));
}

const compare = (a: string, b: string): number => (a === b ? 0 : a < b ? -1 : 1);

/** One write per server: the newest state, with the changes of all. An UPDATE … FROM takes a row only once. */
function latestPerServer(batch: readonly HealthWrite[]): HealthWrite[] {
  const latest = new Map<string, HealthWrite>();
  for (const write of batch) {
    const earlier = latest.get(write.id);
    latest.set(
      write.id,
      earlier === undefined
        ? write
        : {
            ...write,
            components: write.components ?? earlier.components,
            version: write.version ?? earlier.version,
            changes: [...earlier.changes, ...write.changes],
          },
    );
  }
  return [...latest.values()];
}
