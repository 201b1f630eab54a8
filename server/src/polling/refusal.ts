import type { Conditions } from '../conditions/condition.ts';
import type { Clock } from '../platform/clock.ts';
import { isFaultOfStatement, sqlState } from '../platform/database-failure.ts';

/** Whether the database refuses what this worker has to store, although it is there. */
export type Refusal = {
  /** How the last try to store went; null: well. */
  tried(error: unknown): void;
  conditions(): Conditions;
};

const maxMessage = 300;

export function createRefusal(clock: Clock): Refusal {
  let refused: NonNullable<Conditions['storing_refused']> | null = null;

  return {
    tried(error) {
      if (error === null) refused = null;
      if (!isFaultOfStatement(error)) return;
      const { message } = error as Error;
      refused = {
        since: refused?.since ?? clock.now(),
        detail: `The database refuses a statement of ours (${sqlState(error)}: ${message.slice(0, maxMessage)}). Polling goes on, and results wait. Another version of opsfleet may be at work on the database; otherwise this is a bug.`,
      };
    },
    conditions: () => (refused === null ? {} : { storing_refused: refused }),
  };
}
