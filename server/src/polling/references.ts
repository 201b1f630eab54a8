import type { Clock } from '../platform/clock.ts';
import type { Instruments } from '../platform/instruments.ts';
import type { Log } from '../platform/log.ts';
import type { Sight } from './sight.ts';

/** Something outside the fleet that answers whenever our own network works. */
export type ReferenceProbe = {
  target: string;
  /** Whether it answers; null where we could not ask. Must not reject. */
  ask(): Promise<boolean | null>;
};

/** Whether our own network works, told by what the operator named for it. */
export type References = {
  /** A server that was well does not answer: asks the references, unless that was done in the last two seconds. */
  doubt(): void;
  /**
   * Resolves when it is known whether they answer, by a round of the last two seconds that began after `sinceMs`
   * (monotonic): what they said before a server failed tells nothing of why. At once where there are none.
   */
  known(sinceMs: number): Promise<void>;
  /** Since when none of them answers (monotonic), or null. */
  blindSinceMs(): number | null;
  /** Asks once, and then on while none answers. */
  run(signal: AbortSignal): Promise<void>;
};

/**
 * What a round of references says of us. `blind`: all that could be asked are silent. `unknown`: none could be
 * asked, and what was known stays.
 */
export function judgeReferences(answers: readonly (boolean | null)[]): 'sighted' | 'blind' | 'unknown' {
  if (answers.includes(true)) return 'sighted';
  return answers.includes(false) ? 'blind' : 'unknown';
}

/** Blind by either: too many servers that share nothing do not answer, or no reference does. */
export const withReferences = (sight: Sight, references: Pick<References, 'blindSinceMs'>): Sight => ({
  ...sight,
  blindSinceMs(nowMs) {
    const [bySight, byReferences] = [sight.blindSinceMs(nowMs), references.blindSinceMs()];
    if (bySight === null || byReferences === null) return bySight ?? byReferences;
    return Math.min(bySight, byReferences);
  },
});

export type ReferencesOptions = {
  references: readonly ReferenceProbe[];
  clock: Clock;
  log: Log;
  instruments: Pick<Instruments, 'referenceUp'>;
  /** Called when it turns out that we are blind. */
  onBlind(): void;
};

const askedAtMostEveryMs = 2_000;
const whileBlindEveryMs = 5_000;
const idleMs = 60_000;

export function createReferences(options: ReferencesOptions): References {
  const { references, clock, log, instruments } = options;
  let blindSinceMs: number | null = null;
  /** When the last round began, and when it was over. */
  let beganMs = Number.NEGATIVE_INFINITY;
  let askedMs = Number.NEGATIVE_INFINITY;
  let asking: Promise<void> | null = null;
  let wake = new AbortController();

  async function askAll(): Promise<void> {
    beganMs = clock.monotonicMs();
    const answers = await Promise.all(references.map(reference => reference.ask()));
    for (const [index, { target }] of references.entries()) {
      const isUp = answers[index];
      if (isUp !== null) instruments.referenceUp.set({ target }, isUp ? 1 : 0);
    }
    askedMs = clock.monotonicMs();
    const judged = judgeReferences(answers);
    if (judged === 'sighted' && blindSinceMs !== null) {
      blindSinceMs = null;
      log.warn('a reference target answers again');
    } else if (judged === 'blind' && blindSinceMs === null) {
      blindSinceMs = askedMs;
      log.warn('no reference target answers: no server is called down until one does');
      options.onBlind();
      wake.abort();
    }
  }

  function ask(): Promise<void> {
    asking ??= askAll().finally(() => {
      asking = null;
    });
    return asking;
  }

  const restMs = (): number => askedMs + askedAtMostEveryMs - clock.monotonicMs();

  return {
    doubt() {
      if (references.length > 0 && restMs() <= 0) void ask();
    },
    async known(sinceMs) {
      while (references.length > 0) {
        await asking;
        if (beganMs >= sinceMs && restMs() > 0) return;
        if (restMs() > 0) await clock.sleep(restMs());
        else await ask();
      }
    },
    blindSinceMs: () => blindSinceMs,
    async run(signal) {
      if (references.length > 0) await ask();
      while (!signal.aborted) {
        wake = new AbortController();
        const isBlind = blindSinceMs !== null;
        await clock.sleep(
          isBlind ? whileBlindEveryMs : idleMs,
          isBlind ? signal : AbortSignal.any([signal, wake.signal]),
        );
        if (blindSinceMs !== null && isBlind && !signal.aborted) await ask();
      }
    },
  };
}
