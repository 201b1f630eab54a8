import type { HealthState } from '../health/evaluate.ts';
import type { Clock } from '../platform/clock.ts';
import type { Instruments } from '../platform/instruments.ts';
import type { Questions } from './questions.ts';
import type { References } from './references.ts';
import type { Entry } from './roster.ts';
import { type Finding, isUnanswered, needsWitness, weigh } from './witness.ts';

/** Before a server is called unreachable, somebody else looks. */
export type SecondLook = {
  /** To be called when a check begins. Null where the check can call nobody unreachable. */
  begin(entry: Entry): Look | null;
  /** How many servers do not answer this worker, and have answered another one time after time. */
  outOfReach(): number;
};

export type Look = {
  /** What counts, given what this worker found: waits for the other one and for the references where that was no answer. */
  weigh(own: Finding): Promise<Finding>;
  /** The check says nothing of the server. */
  giveUp(): void;
};

/** Once may be a server that restarted between two checks. */
const timesToTell = 2;

/** When the first of the failures came that may bring the server down, on the monotonic clock; else now. */
function doubtedSinceMs(clock: Clock, { suspectSince }: HealthState): number {
  const agoMs = suspectSince === null ? 0 : clock.now().getTime() - suspectSince.getTime();
  return clock.monotonicMs() - Math.max(0, agoMs);
}

export function createSecondLook(options: {
  questions: Pick<Questions, 'ask'>;
  references: Pick<References, 'known'>;
  clock: Clock;
  instruments: Pick<Instruments, 'witnessed'>;
}): SecondLook {
  /**
   * How many times in a row another worker was answered, and this one was not. Zero: then nobody was. It stays,
   * or a server that comes back would be down for as long as this worker alone does not reach it.
   */
  const contradicted = new Map<Entry, number>();

  return {
    begin(entry) {
      if (!needsWitness(entry.server.state, contradicted.size > 0 && contradicted.has(entry))) return null;
      const question = options.questions.ask(entry.server);
      return {
        async weigh(own) {
          const isNeeded = isUnanswered(own.outcome);
          if (!isNeeded) question?.giveUp();
          // Whether we see at all must be known too by the time of the verdict.
          const [other] = isNeeded
            ? await Promise.all([
                question?.finding(),
                options.references.known(doubtedSinceMs(options.clock, entry.server.state)),
              ])
            : [undefined];
          const { finding, because } = weigh(own, other ?? null);
          options.instruments.witnessed.inc({ because });
          if (because === 'contradicted') contradicted.set(entry, (contradicted.get(entry) ?? 0) + 1);
          // What failed on this machine says nothing of whom it reaches.
          else if (because === 'own_answer' && finding.outcome.reason !== 'local_fault')
            contradicted.delete(entry);
          else if (because === 'confirmed' && contradicted.has(entry)) contradicted.set(entry, 0);
          return finding;
        },
        giveUp: () => question?.giveUp(),
      };
    },
    outOfReach() {
      let count = 0;
      for (const [entry, times] of contradicted) {
        if (entry.gone) contradicted.delete(entry);
        else if (times >= timesToTell) count += 1;
      }
      return count;
    },
  };
}
