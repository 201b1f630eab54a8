import type { HealthCheckRow } from '../../src/health/history.ts';
import type { Spool, SpoolQueue } from '../../src/platform/spool.ts';
import { healthChecks, metricsRows } from '../../src/polling/spooled.ts';
import type { Kind } from './network.ts';
import type { Process } from './process.ts';

/** What the disks have promised, and what they have refused. */
export type Ledger = {
  /** Rows of history that a disk has acknowledged. */
  readonly acknowledged: { readonly kind: Kind; readonly key: string; readonly by: Process; atMs: number }[];
  /** Whether the disk refused what the process last gave it of that kind. */
  isRefused(by: Process, kind: Kind): boolean;
  /** The same spool, with a look at what goes in. */
  watch(spool: Spool, by: Process): Spool;
};

/** How a row of history is known. */
export const keyOf = (row: { serverId: string; at: Date }): string => `${row.serverId} ${row.at.getTime()}`;

/** Whether a row says what another worker found. */
export const isWitnessed = ({ errorMessage }: HealthCheckRow): boolean =>
  errorMessage?.includes('measured by another worker') ?? false;

const codecs = {
  health_history: ['health', healthChecks],
  metrics_history: ['metrics', metricsRows],
} as const;

export function createLedger(nowMs: () => number): Ledger {
  const acknowledged: Ledger['acknowledged'] = [];
  const refused = new Set<string>();

  function watched(queue: SpoolQueue, name: keyof typeof codecs, by: Process): SpoolQueue {
    const [kind, codec] = codecs[name];
    return {
      ...queue,
      async append(records) {
        const appended = await queue.append(records);
        const place = `${by.name} ${kind}`;
        if (appended.failure === null) refused.delete(place);
        else refused.add(place);
        for (const record of records.slice(0, appended.taken)) {
          for (const row of codec.decode(record) ?? []) {
            acknowledged.push({ kind, key: keyOf(row), by, atMs: nowMs() });
          }
        }
        return appended;
      },
    };
  }

  return {
    acknowledged,
    isRefused: (by, kind) => refused.has(`${by.name} ${kind}`),
    watch: (spool, by) => ({
      ...spool,
      queue: name =>
        name in codecs ? watched(spool.queue(name), name as keyof typeof codecs, by) : spool.queue(name),
    }),
  };
}
