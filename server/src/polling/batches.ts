import { isFaultOfValues } from '../platform/database-failure.ts';
import type { SpoolQueue } from '../platform/spool.ts';

/**
 * A queue whose items reach the database in batches, in order, and stay until it has them: on disk first, then
 * in memory.
 */
export type Batches<T> = {
  add(item: T): void;
  /**
   * Writes up to `maxBatches` batches, or all. Where the database does not take one it throws, and everything that waits
   * is on disk by then, as far as the disk takes it.
   */
  flush(maxBatches?: number): Promise<void>;
  /** Tells, whenever it is asked later, whether everything that waits now has been written. */
  checkpoint(): () => boolean;
  /** Moves everything that waits in memory to disk, the batch that is being written included. */
  spill(): Promise<void>;
  /** `spill`, where too much waits in memory, something does for three seconds, or the last batch was not taken. */
  spillIfStuck(): Promise<void>;
  /** Items in memory. */
  waiting(): number;
  /** Batches on disk. */
  onDisk(): number;
  /** Whether nothing waits, in memory or on disk. */
  isEmpty(): boolean;
  /** Whether a flush would find more than what has just come: a full batch, or any on disk. */
  isBehind(): boolean;
};

/** Where batches wait that the database does not take: one record each, exactly as it will be repeated. */
export type BatchSpool<T> = {
  queue: SpoolQueue;
  encode(batch: readonly T[]): Uint8Array;
  /** Null: not what `encode` makes. */
  decode(record: Uint8Array): readonly T[] | null;
  onUnreadable(): void;
};

export type BatchesOptions<T> = {
  maxBatch: number;
  /** Items in memory beyond this go to disk. */
  maxInMemory: number;
  /** Beyond this, where the disk does not help, the newest item is refused: what already waits was promised first. */
  maxWaiting: number;
  /** Null: memory alone. */
  spool: BatchSpool<T> | null;
  /** Monotonic. */
  nowMs(): number;
  /** A first try is of items that came from memory and of which no part can have been written before. */
  write(batch: readonly T[], isFirstTry: boolean): Promise<void>;
  /** The item the database will never take, found by halving its batch. Its neighbours are stored. */
  onPoison(item: T, error: unknown): void;
  onOverflow(item: T): void;
};

/**
 * Since an item was seen in memory, and until then another second may have passed: a killed worker loses four
 * seconds at most. Shorter, and a worker that has much to do takes everything to disk and back, for an eighth of
 * its time. A little less than three looks, as no timer is exact.
 */
const maxAgeMs = 2_900;
// Each a sync, and as much memory again.
const recordsPerAppend = 8;

export function createBatches<T>(options: BatchesOptions<T>): Batches<T> {
  const { spool } = options;
  let waiting: T[] = [];
  // A batch that has been tried, or may be on disk, is repeated as it was: its natural keys make the repetition
  // harmless, and mixing newer items into it would not be.
  const cut: (readonly T[])[] = [];
  /** Batches that are done with. They leave in the order in which they came. */
  let left = 0;
  /** Where the batch lies that is being written, always at the head of its place. */
  let writing: 'memory' | 'spool' | null = null;
  let flushing: Promise<void> | null = null;
  let spilling: Promise<void> | null = null;
  let hasFailed = false;
  /** Items in `waiting` and in `cut`. They leave in the order in which they came. */
  let inMemory = 0;
  let added = 0;
  /** How many had been added by when, as far as some of those are in memory. */
  let seen: { atMs: number; added: number }[] = [];

  const onDisk = (): number => spool?.queue.records() ?? 0;

  const isEmpty = (): boolean => inMemory === 0 && onDisk() === 0;

  function cutOne(): void {
    cut.push(waiting.slice(0, options.maxBatch));
    waiting = waiting.slice(options.maxBatch);
  }

  async function write(batch: readonly T[], isFirstTry: boolean): Promise<void> {
    try {
      await options.write(batch, isFirstTry);
    } catch (error) {
      if (!isFaultOfValues(error)) throw error;
      if (isFirstTry) return write(batch, false);
      if (batch.length === 1) {
        options.onPoison(batch[0]!, error);
        return;
      }
      const middle = batch.length >> 1;
      await write(batch.slice(0, middle), false);
      await write(batch.slice(middle), false);
    }
  }

  /** The oldest batch, or null. From disk as long as anything is there, or on its way there. */
  async function next(): Promise<readonly T[] | null> {
    for (;;) {
      if (spilling !== null) await spilling;
      else if (spool === null || onDisk() === 0) break;
      else {
        const record = await spool.queue.peek();
        if (record === null) continue;
        const batch = spool.decode(record);
        writing = 'spool';
        if (batch !== null) return batch;
        spool.onUnreadable();
        await spool.queue.drop();
      }
    }
    if (cut.length === 0 && waiting.length > 0) cutOne();
    writing = 'memory';
    return cut[0] ?? null;
  }

  async function drain(maxBatches: number): Promise<void> {
    try {
      for (let count = 0; count < maxBatches; count += 1) {
        const batch = await next();
        if (batch === null) return;
        await write(batch, writing === 'memory' && !hasFailed);
        hasFailed = false;
        // It may have moved to disk meanwhile, or be on its way.
        await spilling;
        if (writing === 'spool') await spool!.queue.drop();
        else inMemory -= cut.shift()!.length;
        writing = null;
        left += 1;
      }
    } catch (error) {
      hasFailed = true;
      await spill();
      throw error;
    } finally {
      writing = null;
    }
  }

  async function spillAll({ queue, encode }: BatchSpool<T>): Promise<void> {
    while (waiting.length > 0) cutOne();
    while (cut.length > 0) {
      const { taken, failure } = await queue.append(cut.slice(0, recordsPerAppend).map(encode));
      if (taken > 0 && writing === 'memory') writing = 'spool';
      for (const batch of cut.splice(0, taken)) inMemory -= batch.length;
      if (failure !== null) return;
    }
  }

  function spill(): Promise<void> {
    if (spool === null || inMemory === 0) return spilling ?? Promise.resolve();
    spilling ??= spillAll(spool).finally(() => {
      spilling = null;
    });
    return spilling;
  }

  function flush(maxBatches = Number.POSITIVE_INFINITY): Promise<void> {
    if (flushing === null) look();
    flushing ??= drain(maxBatches).finally(() => {
      flushing = null;
    });
    return flushing;
  }

  function look(): void {
    seen = seen.filter(each => each.added > added - inMemory);
    seen.push({ atMs: options.nowMs(), added });
  }

  return {
    add(item) {
      if (inMemory >= options.maxWaiting) return options.onOverflow(item);
      waiting.push(item);
      inMemory += 1;
      added += 1;
    },
    flush,
    checkpoint() {
      const end = left + onDisk() + cut.length + Math.ceil(waiting.length / options.maxBatch);
      return () => left >= end || isEmpty();
    },
    spill,
    async spillIfStuck() {
      look();
      const [oldest] = seen;
      const isOld = oldest!.added > added - inMemory && options.nowMs() - oldest!.atMs >= maxAgeMs;
      if (isOld || hasFailed || inMemory > options.maxInMemory) await spill();
    },
    waiting: () => inMemory,
    onDisk,
    isEmpty,
    isBehind: () => inMemory >= options.maxBatch || onDisk() > 0,
  };
}
