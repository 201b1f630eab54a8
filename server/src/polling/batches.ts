import { isPassingFailure } from '../platform/db.ts';

/**
 * A queue whose items reach the database in batches, in order, and stay until it has them. `flush` writes
 * until nothing waits; where the database is away it throws and everything waits for the next call.
 */
export type Batches<T> = {
  add(item: T): void;
  flush(): Promise<void>;
  waiting(): number;
};

export type BatchesOptions<T> = {
  maxBatch: number;
  /** Beyond this, the newest item is refused: what already waits was promised first. */
  maxWaiting: number;
  write(batch: readonly T[]): Promise<void>;
  /** The item the database will never take, found by halving its batch. Its neighbours are stored. */
  onPoison(item: T, error: unknown): void;
  onOverflow(item: T): void;
};

export function createBatches<T>(options: BatchesOptions<T>): Batches<T> {
  let waiting: T[] = [];
  // A batch whose fate is unknown is repeated as it was: its natural keys make the repetition harmless,
  // and mixing newer items into it would not be.
  let repeat: readonly T[] | null = null;
  let flushing: Promise<void> | null = null;

  async function write(batch: readonly T[]): Promise<void> {
    try {
      await options.write(batch);
    } catch (error) {
      if (isPassingFailure(error)) throw error;
      if (batch.length === 1) {
        options.onPoison(batch[0]!, error);
        return;
      }
      const middle = batch.length >> 1;
      await write(batch.slice(0, middle));
      await write(batch.slice(middle));
    }
  }

  async function drain(): Promise<void> {
    while (repeat !== null || waiting.length > 0) {
      if (repeat === null) {
        repeat = waiting.slice(0, options.maxBatch);
        waiting = waiting.slice(options.maxBatch);
      }
      await write(repeat);
      repeat = null;
    }
  }

  return {
    add(item) {
      if (waiting.length >= options.maxWaiting) options.onOverflow(item);
      else waiting.push(item);
    },
    flush() {
      flushing ??= drain().finally(() => {
        flushing = null;
      });
      return flushing;
    },
    waiting: () => waiting.length + (repeat?.length ?? 0),
  };
}
