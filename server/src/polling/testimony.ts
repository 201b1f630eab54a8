import type { CheckOutcome } from '../health/check.ts';
import type { WorkerId } from '../ids.ts';
import type { Clock } from '../platform/clock.ts';
import type { Egress } from '../platform/egress/client.ts';
import type { Log } from '../platform/log.ts';
import type { PollStore } from './poll-store.ts';
import { createEntry, type Entry } from './roster.ts';
import type { Sight } from './sight.ts';
import type { TakenQuestion, WitnessAnswer } from './witness-store.ts';

/** Answers other workers what this one finds at their servers. */
export type Testimony = {
  /** Somebody asks. */
  wake(): void;
  run(signal: AbortSignal): Promise<void>;
};

export type TestimonyOptions = {
  store: Pick<PollStore, 'takeQuestions' | 'answerQuestions' | 'loadServers' | 'loadTokens'>;
  clock: Clock;
  log: Log;
  egress: Egress;
  id: WorkerId;
  sight: Pick<Sight, 'blindSinceMs'>;
  /** One health check, of a server that is somebody else's. */
  check(entry: Entry): Promise<CheckOutcome>;
};

const gatherMs = 250;
/** Beside everything on this worker's own schedule, so that it never waits for the servers of others. */
const maxRunning = 256;
const idleMs = 60_000;
const unknownServer: CheckOutcome = {
  kind: 'not_checked',
  reason: 'local_fault',
  detail: 'The server is not to be polled any more.',
};

export function createTestimony(options: TestimonyOptions): Testimony {
  const { store, clock, log, egress, id } = options;
  let isAsked = false;
  let running = 0;
  let answers: WitnessAnswer[] = [];
  let wake = new AbortController();

  async function look(question: TakenQuestion, entry: Entry | null): Promise<void> {
    running += 1;
    const startedMs = clock.monotonicMs();
    try {
      const outcome = entry === null ? unknownServer : await options.check(entry);
      const { organizationId, asker, number } = question;
      const durationMs = clock.monotonicMs() - startedMs;
      answers.push({ organizationId, asker, number, finding: { outcome, durationMs } });
    } catch (error) {
      log.error({ err: error, server: question.id }, 'a check for another worker failed unexpectedly');
    } finally {
      running -= 1;
    }
  }

  async function take(): Promise<void> {
    const room = maxRunning - running;
    // A worker that sees nothing confirms nothing.
    if (options.sight.blindSinceMs(clock.monotonicMs()) !== null) return;
    const questions = await store.takeQuestions(id, room);
    isAsked = questions.length === room;
    if (questions.length === 0) return;
    const servers = await store.loadServers(questions);
    const tokens = await store.loadTokens(questions);
    const serverOf = new Map(servers.map(server => [server.id, server]));
    const tokenOf = new Map(tokens.map(token => [token.serverId, token]));
    for (const question of questions) {
      const server = serverOf.get(question.id);
      const token = tokenOf.get(question.id) ?? null;
      void look(question, server === undefined ? null : createEntry(server, 0, token, egress));
    }
  }

  async function answer(): Promise<void> {
    const ready = answers;
    answers = [];
    if (ready.length > 0) await store.answerQuestions(id, ready);
  }

  return {
    wake() {
      isAsked = true;
      wake.abort();
    },
    async run(signal) {
      while (!signal.aborted) {
        wake = new AbortController();
        const canTake = isAsked && running < maxRunning;
        const isBusy = running > 0 || answers.length > 0;
        if (!canTake) {
          await clock.sleep(isBusy ? gatherMs : idleMs, AbortSignal.any([signal, wake.signal]));
        }
        if (signal.aborted) return;
        try {
          await answer();
          if (isAsked && running < maxRunning) {
            isAsked = false;
            await take();
          }
        } catch (error) {
          // Who asks has waited for long enough then, and decides alone.
          log.warn({ err: error }, 'other workers cannot be told what this one sees');
        }
      }
    },
  };
}
