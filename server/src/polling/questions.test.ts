import { beforeEach, describe, expect, it } from 'vitest';
import { createFakeClock, type FakeClock } from '../../test/fakes/clock.ts';
import type { OrganizationId, ServerId, WorkerId } from '../ids.ts';
import { AppError } from '../platform/errors.ts';
import { createLog } from '../platform/log.ts';
import { createQuestions, type Question, type Questions } from './questions.ts';
import type { Finding } from './witness.ts';
import type { CollectedAnswer } from './witness-store.ts';

const server = (n: number) => ({
  organizationId: '019e0000-0000-7000-8000-000000000000' as OrganizationId,
  id: `019e0000-0000-7000-8000-${String(n).padStart(12, '0')}` as ServerId,
});
const found: Finding = {
  outcome: { kind: 'failed', reason: 'refused', detail: 'connection refused', reached: false },
  durationMs: 5,
};

let clock: FakeClock;
let hasOthers: boolean;
let isAway: boolean;
/** How many questions each statement asked, and what each was told has been given up. */
let asked: number[][];
let givenUp: number[][];
let announced: number;
/** What other workers have written. */
let answers: CollectedAnswer[];
let questions: Questions;
let ending: AbortController;
let ended: Promise<void>;

beforeEach(() => {
  clock = createFakeClock();
  [hasOthers, isAway, announced, asked, givenUp, answers] = [true, false, 0, [], [], []];
  const unlessAway = async <T>(work: () => T): Promise<T> => {
    if (isAway) throw new AppError('unavailable', 'away');
    return work();
  };
  questions = createQuestions({
    store: {
      askWitnesses: (_asker, batch) => unlessAway(() => void asked.push(batch.map(({ number }) => number))),
      collectAnswers: (_asker, numbers) =>
        unlessAway(() => {
          givenUp.push([...numbers]);
          return answers.splice(0);
        }),
    },
    clock,
    log: createLog({ level: 'silent' }),
    id: '019e0000-0000-7000-9000-000000000001' as WorkerId,
    hasOthers: () => hasOthers,
    feed: { announce: () => void (announced += 1) },
  });
  ending = new AbortController();
  ended = questions.run(ending.signal);
});

/** What became of a question, as soon as something has. */
function watch(question: Question | null) {
  const result: { finding: Finding | null | 'none yet'; atMs: number } = { finding: 'none yet', atMs: 0 };
  const startMs = clock.monotonicMs();
  void (async () => {
    const finding = await question!.finding();
    Object.assign(result, { finding, atMs: clock.monotonicMs() - startMs });
  })();
  return result;
}

describe('another worker', () => {
  it('is asked for all that fail at the same time in one statement, and told of it once', async () => {
    for (let n = 0; n < 100; n += 1) questions.ask(server(n));
    await clock.advance(250);
    expect([asked.map(batch => batch.length), announced]).toEqual([[100], 1]);
  });

  it('is not asked for more than it could answer, however many fail', async () => {
    const all = Array.from({ length: 3_000 }, (_, n) => questions.ask(server(n)));
    await clock.advance(250);
    expect(asked.map(batch => batch.length)).toEqual([256]);
    expect(all.filter(question => question === null)).toHaveLength(3_000 - 256);
  });

  it('is not asked where there is none', async () => {
    hasOthers = false;
    expect(questions.ask(server(1))).toBeNull();
    await clock.advance(10_000);
    expect(asked).toEqual([]);
  });

  it('is not asked about a server that answers at once', async () => {
    questions.ask(server(1))!.giveUp();
    questions.ask(server(2));
    await clock.advance(250);
    expect(asked).toEqual([[2]]);
  });

  it('answers, and its answer is there as soon as it is read', async () => {
    const result = watch(questions.ask(server(1)));
    await clock.advance(1_000);
    expect(result.finding).toBe('none yet');
    answers.push({ number: 1, finding: found });
    await clock.advance(250);
    expect(result).toEqual({ finding: found, atMs: 1_250 });
  });

  it('may have answered before it is needed', async () => {
    const question = questions.ask(server(1));
    answers.push({ number: 1, finding: found });
    await clock.advance(3_000);
    const result = watch(question);
    await clock.advance(0);
    expect(result).toEqual({ finding: found, atMs: 0 });
  });
});

describe('nobody is waited for', () => {
  it('longer than two seconds, where nobody has taken the question', async () => {
    const result = watch(questions.ask(server(1)));
    await clock.advance(20_000);
    expect(result).toEqual({ finding: null, atMs: 2_000 });
    expect(givenUp.flat()).toEqual([1]);
  });

  it('longer than a check may take and two seconds, where somebody has', async () => {
    const result = watch(questions.ask(server(1)));
    answers.push({ number: 1, finding: null });
    await clock.advance(20_000);
    expect(result).toEqual({ finding: null, atMs: 12_000 });
  });

  it('while the database is away', async () => {
    isAway = true;
    const result = watch(questions.ask(server(1)));
    await clock.advance(20_000);
    expect(result).toEqual({ finding: null, atMs: 250 });
    isAway = false;
    const after = watch(questions.ask(server(2)));
    await clock.advance(250);
    answers.push({ number: 2, finding: found });
    await clock.advance(250);
    expect(after.finding).toEqual(found);
  });

  it('when the worker ends; then nothing is decided', async () => {
    const result = watch(questions.ask(server(1)));
    await clock.advance(250);
    ending.abort();
    await ended;
    await clock.advance(0);
    const late = watch(questions.ask(server(2)));
    await clock.advance(0);
    for (const { finding } of [result, late])
      expect(finding).toMatchObject({ outcome: { kind: 'not_checked', reason: 'aborted' } });
  });
});

it('asks the database nothing where nothing is in doubt', async () => {
  const result = watch(questions.ask(server(1)));
  answers.push({ number: 1, finding: found });
  await clock.advance(500);
  expect(result.finding).toEqual(found);
  const statements = asked.length + givenUp.length;
  await clock.advance(600_000);
  expect(asked.length + givenUp.length).toBe(statements);
});
