type Entry = {
  /** Gives up waiting when it aborts. */
  signal?: AbortSignal;
  /** Whether to go before everybody who does not say so. */
  first?: boolean;
};

/** Lets a bounded number through at once; the others wait, each kind in the order they came. */
export type Gate = {
  /** Resolves with the function that gives the place back (once, further calls do nothing). Rejects when aborted. */
  enter(entry?: Entry): Promise<() => void>;
  readonly running: number;
  /** Whether whoever enters now has to wait. */
  readonly full: boolean;
  readonly waiting: number;
};

export function createGate(limit: number): Gate {
  let running = 0;
  const first = new Set<() => void>();
  const later = new Set<() => void>();

  const leave = () => {
    running--;
    const [next] = first.size > 0 ? first : later;
    next?.();
  };

  const admit = () => {
    running++;
    let left = false;
    return () => {
      if (left) return;
      left = true;
      leave();
    };
  };

  return {
    async enter(entry = {}) {
      const { signal } = entry;
      signal?.throwIfAborted();
      if (running < limit) return admit();
      const queue = entry.first === true ? first : later;
      return new Promise<() => void>((resolve, reject) => {
        const start = () => {
          queue.delete(start);
          signal?.removeEventListener('abort', giveUp);
          resolve(admit());
        };
        const giveUp = () => {
          queue.delete(start);
          reject(signal?.reason);
        };
        queue.add(start);
        signal?.addEventListener('abort', giveUp, { once: true });
      });
    },
    get running() {
      return running;
    },
    get full() {
      return running >= limit;
    },
    get waiting() {
      return first.size + later.size;
    },
  };
}
