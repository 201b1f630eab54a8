import type { Conditions } from '../conditions/condition.ts';
import type { Clock } from '../platform/clock.ts';
import { isFaultOfStatement } from '../platform/database-failure.ts';
import type { Log } from '../platform/log.ts';
import { createRefusal } from './refusal.ts';
import type { Results } from './results.ts';

/** Brings results to the database, again and again, for as long as the poller lives. */
export type Storing = {
  /** What an earlier process left of states. Resolves when it is stored, or will never be. */
  storeWhatIsLeft(): Promise<void>;
  /** Until the signal aborts. */
  run(): Promise<void>;
  /** Does not wait for the next second: somebody waits for a result. */
  soon(): void;
  /** Once nothing new is asked: what the database does not take in time is on disk when this resolves. */
  storeTheRest(): Promise<void>;
  conditions(): Conditions;
};

// A batch costs PostgreSQL much the same whether it is small or large; what somebody waits for is not held back.
const everyMs = 1_000;
// At the end: longer than a database takes that takes anything. The rest waits on disk for the next start.
const lastFlushMs = 3_000;

export function createStoring(options: {
  results: Results;
  clock: Clock;
  log: Log;
  ended: AbortSignal;
}): Storing {
  const { results, clock, log, ended } = options;
  const refusal = createRefusal(clock);
  let soon = new AbortController();
  /** Whether the database took the last batches. */
  let isTaking = true;

  async function flush(): Promise<void> {
    try {
      await results.flush();
      isTaking = true;
      refusal.tried(null);
    } catch (error) {
      isTaking = false;
      refusal.tried(error);
      const waiting = { inMemory: results.waiting(), batchesOnDisk: results.onDisk() };
      log.warn({ err: error, ...waiting }, 'results cannot be stored now; they wait');
    }
  }

  async function flushAgainAndAgain(): Promise<void> {
    while (!ended.aborted) {
      soon = new AbortController();
      const startMs = clock.monotonicMs();
      await flush();
      // What waits on disk goes on at once; what has just come may gather.
      if (isTaking && results.isBehind()) continue;
      // One that took long has left others waiting for as long.
      const tookMs = isTaking ? clock.monotonicMs() - startMs : 0;
      await clock.sleep(Math.max(0, everyMs - tookMs), AbortSignal.any([ended, soon.signal]));
    }
  }

  /** Results go to disk also while the database says neither yes nor no. */
  async function spillAgainAndAgain(): Promise<void> {
    while (!ended.aborted) {
      const startMs = clock.monotonicMs();
      await results.spillIfStuck();
      await clock.sleep(Math.max(0, everyMs - (clock.monotonicMs() - startMs)), ended);
    }
  }

  return {
    async storeWhatIsLeft() {
      for (;;) {
        try {
          return await results.flushStates();
        } catch (error) {
          if (isFaultOfStatement(error)) {
            // It may take days until somebody mends that. Their history is stored then.
            log.error({ err: error }, 'states of before cannot be stored, and are given up; polling starts');
            return;
          }
          log.warn({ err: error }, 'states of before cannot be stored; trying again before polling starts');
          await clock.sleep(everyMs, ended);
        }
      }
    },
    async run() {
      await Promise.all([flushAgainAndAgain(), spillAgainAndAgain()]);
    },
    soon: () => soon.abort(),
    async storeTheRest() {
      // Who stops us may not wait for long; a database that has just refused is not asked again.
      if (isTaking) {
        const stored = results.flush().then(
          () => true,
          () => false,
        );
        isTaking = await Promise.race([stored, clock.sleep(lastFlushMs).then(() => false)]);
      }
      await results.spill();
      const lost = results.waiting();
      if (lost > 0) log.error({ lost }, 'results could neither be stored nor written to disk before the end');
    },
    conditions: refusal.conditions,
  };
}
