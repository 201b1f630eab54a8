import { AppError } from '../../src/platform/errors.ts';
import { createLog } from '../../src/platform/log.ts';
import { openSpool } from '../../src/platform/spool.ts';
import { type BatchSpool, createBatches } from '../../src/polling/batches.ts';
import type { MemoryDisk } from './memory-disk.ts';

type StoreOptions = {
  maxInMemory?: number;
  spool?: BatchSpool<number> | null;
  /** A batch is with the store until this resolves. */
  holds?: () => Promise<void>;
  maxBatch?: number;
  maxWaiting?: number;
  poison?: readonly number[];
  /** There already, which a first try refuses. */
  there?: readonly number[];
  failsNow?: () => boolean;
};

/** A store of numbers. It always refuses `poison`, and every batch while it is away. */
export function store(options: StoreOptions = {}) {
  const {
    maxBatch = 4,
    maxInMemory = 100,
    maxWaiting = 1_000,
    poison = [],
    spool = null,
    failsNow,
  } = options;
  const known = {
    tries: [] as (readonly number[])[],
    firstTries: [] as (readonly number[])[],
    stored: [] as number[],
    refused: [] as number[],
    overflowed: [] as number[],
    away: false,
    nowMs: 0,
  };
  const batches = createBatches<number>({
    maxBatch,
    maxInMemory,
    maxWaiting,
    spool,
    nowMs: () => known.nowMs,
    async write(batch, isFirstTry) {
      known.tries.push(batch);
      if (isFirstTry) known.firstTries.push(batch);
      await options.holds?.();
      if (failsNow?.() ?? known.away)
        throw new AppError('unavailable', 'The database cannot be reached right now.');
      if (batch.some(item => poison.includes(item))) throw new Error('the database refuses a row');
      if (isFirstTry && batch.some(item => options.there?.includes(item)))
        throw new Error('the database has a row already');
      known.stored.push(...batch.filter(item => !options.there?.includes(item)));
    },
    onPoison: item => known.refused.push(item),
    onOverflow: item => known.overflowed.push(item),
  });
  return { batches, known };
}

/** The one queue of a spool on the disk. */
export async function spoolOn(
  disk: MemoryDisk,
  limitBytes = 1_000_000,
): Promise<BatchSpool<number> & { unreadable: number }> {
  const spool = await openSpool({
    files: disk.files,
    queues: ['numbers'],
    limitBytes,
    segmentBytes: 60,
    now: () => new Date(0),
    log: createLog({ level: 'silent' }),
  });
  const made = {
    queue: spool.queue('numbers'),
    encode: (batch: readonly number[]) => Buffer.from(JSON.stringify(batch)),
    decode(record: Uint8Array) {
      const text = Buffer.from(record).toString();
      return text.startsWith('[') ? (JSON.parse(text) as number[]) : null;
    },
    unreadable: 0,
    onUnreadable: () => void (made.unreadable += 1),
  };
  return made;
}

export const numbers = (count: number): number[] => Array.from({ length: count }, (_, index) => index);
