import type { Clock } from './clock.ts';
import { AppError } from './errors.ts';

/** So many at a time; the others wait in the order in which they came. */
export type Turns = {
  /** Rejects with AppError `unavailable` after five seconds without a turn. */
  take(): Promise<void>;
  give(): void;
  /** Rejects everybody who waits, for a reason that would meet each of them in turn. */
  refuseAll(reason: unknown): void;
  waiting(): number;
};

const timeoutMs = 5_000;

export function createTurns(count: number, clock: Clock): Turns {
  let free = count;
  const queue = new Set<PromiseWithResolvers<void>>();

  async function wait(): Promise<void> {
    const over = new AbortController();
    const turn = Promise.withResolvers<void>();
    queue.add(turn);
    const late = async (): Promise<void> => {
      await clock.sleep(timeoutMs, over.signal);
      if (queue.has(turn)) throw tooBusy();
    };
    try {
      await Promise.race([turn.promise, late()]);
    } finally {
      queue.delete(turn);
      over.abort();
    }
  }

  return {
    async take() {
      if (free === 0) return wait();
      free -= 1;
    },
    give() {
      const [next] = queue;
      if (next === undefined) free += 1;
      else {
        queue.delete(next);
        next.resolve();
      }
    },
    refuseAll(reason) {
      for (const turn of queue) turn.reject(reason);
      queue.clear();
    },
    waiting: () => queue.size,
  };
}

const tooBusy = (): AppError =>
  new AppError('unavailable', 'The database is too busy to answer in time.', { retryAfterSeconds: 5 });
