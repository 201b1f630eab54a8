import type { HealthCheckRow } from '../health/history.ts';
import type { MetricsRow } from '../metrics/store.ts';
import type { Instruments } from '../platform/instruments.ts';
import type { Log } from '../platform/log.ts';
import { createBatches } from './batches.ts';
import type { PollStore } from './poll-store.ts';
import type { HealthWrite, MetricsWrite } from './store.ts';

/** Takes what polls found and brings it to the database; what it has not stored yet it keeps. */
export type Results = {
  health(check: HealthCheckRow, write: HealthWrite): void;
  metrics(row: MetricsRow | null, write: MetricsWrite): void;
  /** Brings everything to the database, or throws while it is away; then nothing is lost and it is tried again. */
  flush(): Promise<void>;
  waiting(): number;
};

const maxBatch = 1_000;
/** About 200 bytes each: two minutes of 5,000 polls a second without a database. */
const maxWaiting = 600_000;

type Options = {
  store: PollStore;
  log: Log;
  instruments: Instruments;
  /** Called after states with changes were committed. */
  onChanges(): void;
};

/**
 * Four queues, so that neither the history nor the state waits for the other: a history row that the
 * database refuses must not keep a server's state old, nor the other way round.
 */
export function createResults(options: Options): Results {
  const { store, log, instruments } = options;

  function queue<T>(name: string, write: (batch: readonly T[]) => Promise<void>) {
    return createBatches<T>({
      maxBatch,
      maxWaiting,
      write,
      onPoison: (item, error) => {
        instruments.quarantined.inc({ queue: name });
        log.error(
          { err: error, queue: name, server: (item as { serverId?: string; id?: string }).serverId },
          'the database refuses a result',
        );
      },
      onOverflow: () => instruments.overflowed.inc({ queue: name }),
    });
  }

  const checks = queue<HealthCheckRow>('health_history', async batch => {
    const count = await store.insertHealthChecks(batch);
    instruments.flushed.inc({ kind: 'health' }, count);
  });
  const rows = queue<MetricsRow>('metrics_history', async batch => {
    const count = await store.insertMetrics(batch);
    instruments.flushed.inc({ kind: 'metrics' }, count);
  });
  const healthStates = queue<HealthWrite>('health_state', async batch => {
    await store.writeHealth(latestPerServer(batch));
    if (batch.some(write => write.changes.length > 0)) options.onChanges();
  });
  const metricsStates = queue<MetricsWrite>('metrics_state', async batch => {
    await store.writeMetrics([...new Map(batch.map(write => [write.id, write])).values()]);
  });
  const queues = [healthStates, checks, metricsStates, rows];
  const waiting = (): number => queues.reduce((sum, each) => sum + each.waiting(), 0);

  return {
    health(check, write) {
      checks.add(check);
      healthStates.add(write);
    },
    metrics(row, write) {
      if (row !== null) rows.add(row);
      metricsStates.add(write);
    },
    async flush() {
      instruments.waiting.set(waiting());
      const histories = Promise.allSettled([checks.flush(), rows.flush()]);
      const done: PromiseSettledResult<void>[] = [];
      // One after the other: both are in the same rows, and in batches of different order they would deadlock.
      for (const states of [healthStates, metricsStates]) {
        done.push(...(await Promise.allSettled([states.flush()])));
      }
      done.push(...(await histories));
      instruments.waiting.set(waiting());
      const failed = done.find(each => each.status === 'rejected');
      if (failed === undefined) return;
      instruments.flushFailures.inc();
      throw failed.reason;
    },
    waiting,
  };
}

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
