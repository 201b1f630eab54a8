import type { Clock } from '../platform/clock.ts';
import type { Log } from '../platform/log.ts';
import type { Loading } from './enrolment.ts';

/** Work on the roster, one after the other: two loads of one server must not overtake each other. */
export type RosterWork = {
  /** Appends; what the database refuses for now is tried until it works. Resolves to its result, or null: ended before. */
  queue<T>(work: () => Promise<T>): Promise<T | null>;
  /** All of a loading, and in between what somebody asks for meanwhile. */
  load(loading: Loading): Promise<void>;
  /** Resolves when nothing is left to do. */
  idle(): Promise<void>;
};

const retryAfterMs = 1_000;

/** Ends when the signal aborts, with what is under way. */
export function createRosterWork({
  clock,
  log,
  ended,
}: {
  clock: Clock;
  log: Log;
  ended: AbortSignal;
}): RosterWork {
  let last: Promise<unknown> = Promise.resolve();
  const loadings = new Set<Promise<void>>();

  async function untilDone<T>(work: () => Promise<T>): Promise<T | null> {
    while (!ended.aborted) {
      try {
        return await work();
      } catch (error) {
        log.warn({ err: error }, 'servers cannot be read; trying again');
        await clock.sleep(retryAfterMs, ended);
      }
    }
    return null;
  }

  function queue<T>(work: () => Promise<T>): Promise<T | null> {
    const done = last.then(() => untilDone(work));
    last = done;
    return done;
  }

  async function loadAll(loading: Loading): Promise<void> {
    while ((await queue(() => loading.next())) === false);
  }

  return {
    queue,
    load(loading) {
      const all = loadAll(loading).finally(() => loadings.delete(all));
      loadings.add(all);
      return all;
    },
    async idle() {
      await Promise.all(loadings);
      await last;
    },
  };
}
