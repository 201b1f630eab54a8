import type { HealthCheckRow } from '../../src/health/history.ts';
import type { Spool, SpoolQueue } from '../../src/platform/spool.ts';
import { healthChecks, metricsRows } from '../../src/polling/spooled.ts';
import type { Kind, Poll } from './network.ts';
import type { Process } from './process.ts';

/** What the disks have promised, and what they have refused. */
export type Ledger = {
  /** The same spool, with a look at what goes in. */
  watch(spool: Spool, by: Process): Spool;
  /** Whether a disk has acknowledged the row of the poll. */
  hasAcknowledged(poll: Poll): boolean;
  /** Whether the disk was given rows of the kind since the poll, and refused what it was given last, or had not answered. */
  hasRefused(poll: Poll): boolean;
  /** How many batches of rows disks have acknowledged. */
  batches(): number;
};

/** How a row of history is known. */
export const keyOf = (row: { serverId: string; at: Date }): string => `${row.serverId} ${row.at.getTime()}`;

/** Whether a row says what another worker found. */
export const isWitnessed = ({ errorMessage }: HealthCheckRow): boolean =>
  errorMessage?.includes('measured by another worker') ?? false;

const codecs = { health: healthChecks, metrics: metricsRows } as const;
const kindOf: Readonly<Record<string, Kind>> = { health_history: 'health', metrics_history: 'metrics' };

export function createLedger(nowMs: () => number): Ledger {
  const acknowledged = new Map<string, { atMs: number; record: Uint8Array }[]>();
  const refusedMs = new Map<string, number>();
  const placeOf = (by: Process, kind: Kind): string => `${by.name} ${kind}`;
  let count = 0;

  function watched(queue: SpoolQueue, place: string): SpoolQueue {
    const records = acknowledged.get(place) ?? [];
    acknowledged.set(place, records);
    return {
      ...queue,
      async append(given) {
        // Until it answers, it has not taken it.
        refusedMs.set(place, nowMs());
        const appended = await queue.append(given);
        if (appended.failure === null) refusedMs.delete(place);
        else refusedMs.set(place, nowMs());
        for (const record of given.slice(0, appended.taken)) records.push({ atMs: nowMs(), record });
        count += appended.taken;
        return appended;
      },
    };
  }

  return {
    watch: (spool, by) => ({
      ...spool,
      queue(name) {
        const kind = kindOf[name];
        const queue = spool.queue(name);
        return kind === undefined ? queue : watched(queue, placeOf(by, kind));
      },
    }),
    hasAcknowledged: ({ by, kind, key, heardMs }) =>
      (acknowledged.get(placeOf(by, kind)) ?? [])
        .filter(({ atMs }) => atMs >= heardMs!)
        .some(({ record }) => codecs[kind].decode(record)!.some(row => keyOf(row) === key)),
    hasRefused: ({ by, kind, heardMs }) => (refusedMs.get(placeOf(by, kind)) ?? -1) >= heardMs!,
    batches: () => count,
  };
}
