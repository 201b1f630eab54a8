import type { EventFeed } from '../events/feed.ts';
import type { WorkerId } from '../ids.ts';
import type { Clock } from '../platform/clock.ts';
import type { Log } from '../platform/log.ts';
import type { PollStore } from './poll-store.ts';
import type { ServerKey } from './roster.ts';
import type { Finding } from './witness.ts';

/** Asks other workers what they find at a server. */
export type Questions = {
  /** Null where nobody can be asked: there is no other worker, or too much is being asked already. */
  ask(server: ServerKey): Question | null;
  run(signal: AbortSignal): Promise<void>;
};

export type Question = {
  /**
   * What another worker found; null where none has taken the question two seconds from now, or has not answered
   * within the longest time a check may take and as much again.
   */
  finding(): Promise<Finding | null>;
  /** The answer is not needed any more. */
  giveUp(): void;
};

export type QuestionsOptions = {
  store: Pick<PollStore, 'askWitnesses' | 'collectAnswers'>;
  clock: Clock;
  log: Log;
  id: WorkerId;
  /** Whether any other worker lives. */
  hasOthers(): boolean;
  /** To announce questions once they are committed. */
  feed: Pick<EventFeed, 'announce'>;
};

/** What fails in the same moment is asked in one statement, and what answers at once is not asked at all. */
const gatherMs = 250;
/** More than that is no single server's trouble: what is beyond is decided as if there were no other worker. */
const maxOpen = 256;
const patienceMs = 2_000;
/** A check takes 10 s at most. */
const longestMs = 10_000 + patienceMs;
const idleMs = 60_000;

type Open = ServerKey & {
  number: number;
  askedMs: number;
  isTaken: boolean;
  finding: Finding | null;
  ended: AbortController;
};

const cutShort: Finding = {
  outcome: { kind: 'not_checked', reason: 'aborted', detail: 'This worker is ending.' },
  durationMs: 0,
};

export function createQuestions(options: QuestionsOptions): Questions {
  const { store, clock, log, id } = options;
  const open = new Map<number, Open>();
  let unasked: Open[] = [];
  let givenUp: number[] = [];
  let count = 0;
  let wake = new AbortController();
  let hasEnded = false;

  function end(question: Open, finding: Finding | null): void {
    if (!open.delete(question.number)) return;
    question.finding = finding;
    question.ended.abort();
  }

  function giveUp(question: Open): void {
    if (!open.has(question.number)) return;
    end(question, null);
    if (!unasked.includes(question)) givenUp.push(question.number);
  }

  async function exchange(): Promise<void> {
    try {
      const questions = unasked.filter(({ number }) => open.has(number));
      unasked = [];
      if (questions.length > 0) {
        await store.askWitnesses(id, questions, longestMs);
        options.feed.announce();
      }
      const done = givenUp;
      givenUp = [];
      if (open.size === 0 && done.length === 0) return;
      for (const { number, finding } of await store.collectAnswers(id, done)) {
        const question = open.get(number);
        if (question === undefined) continue;
        question.isTaken = true;
        if (finding !== null) end(question, finding);
      }
    } catch (error) {
      log.warn({ err: error }, 'no other worker can be asked what it sees; what this one sees counts');
      for (const question of open.values()) end(question, null);
    }
  }

  return {
    ask({ organizationId, id: serverId }) {
      if (!options.hasOthers() || open.size >= maxOpen) return null;
      if (hasEnded) return { finding: async () => cutShort, giveUp: () => undefined };
      const question: Open = {
        organizationId,
        id: serverId,
        number: ++count,
        askedMs: clock.monotonicMs(),
        isTaken: false,
        finding: null,
        ended: new AbortController(),
      };
      open.set(question.number, question);
      unasked.push(question);
      wake.abort();
      return {
        async finding() {
          const { signal } = question.ended;
          await clock.sleep(patienceMs, signal);
          if (question.isTaken) {
            await clock.sleep(Math.max(0, question.askedMs + longestMs - clock.monotonicMs()), signal);
          }
          giveUp(question);
          return question.finding;
        },
        giveUp: () => giveUp(question),
      };
    },
    async run(signal) {
      while (!signal.aborted) {
        if (open.size === 0 && givenUp.length === 0) {
          wake = new AbortController();
          unasked = [];
          await clock.sleep(idleMs, AbortSignal.any([signal, wake.signal]));
          continue;
        }
        await clock.sleep(gatherMs, signal);
        if (!signal.aborted) await exchange();
      }
      hasEnded = true;
      for (const question of open.values()) end(question, cutShort);
    },
  };
}
