import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/database.ts';
import { addOrganization, addServer } from '../../test/fleet.ts';
import { newId, type OrganizationId, type ServerId, type WorkerId } from '../ids.ts';
import { systemClock } from '../platform/clock.ts';
import { sql } from '../platform/db.ts';
import { defaultRetention } from '../retention/retention.ts';
import { createPollStore, type PollStore } from './poll-store.ts';
import type { Finding } from './witness.ts';
import { forgetOldQuestions } from './witness-store.ts';

const [asker, witness, third] = [1, 2, 3].map(n => newId<WorkerId>(n)) as [WorkerId, WorkerId, WorkerId];
const patienceMs = 60_000;
const found: Finding = {
  outcome: { kind: 'failed', reason: 'timeout', detail: 'no connection', reached: false },
  durationMs: 3_000,
};

let database: TestDatabase;
let store: PollStore;
let organizationId: OrganizationId;
let id: ServerId;
beforeEach(async () => {
  database = await createTestDatabase();
  store = createPollStore(database.db.system, systemClock, {
    interval: 'month',
    retention: defaultRetention,
  });
  organizationId = await addOrganization(database.db);
  id = await addServer(database.db, organizationId);
});
afterEach(() => database.close());

const question = (number: number) => ({ organizationId, id, number });
const numbers = (all: readonly { number: number }[]): number[] =>
  all.map(({ number }) => number).toSorted((a, b) => a - b);
const rows = async (): Promise<number> =>
  (await database.db.system.one<{ count: number }>(sql`select count(*)::int as count from witness_questions`))
    .count;

describe('a question', () => {
  it('is taken by another worker, answered, and read once', async () => {
    await store.askWitnesses(asker, [question(1)], patienceMs);
    expect(await store.collectAnswers(asker, [])).toEqual([]);
    expect(await store.takeQuestions(witness, 10)).toEqual([{ ...question(1), asker }]);
    expect(await store.collectAnswers(asker, [])).toEqual([{ number: 1, finding: null }]);
    await store.answerQuestions(witness, [{ organizationId, asker, number: 1, finding: found }]);
    expect(await store.collectAnswers(asker, [])).toEqual([{ number: 1, finding: found }]);
    expect(await store.collectAnswers(asker, [])).toEqual([]);
    expect(await rows()).toBe(0);
  });

  it('is never taken by the one who asks, nor by two', async () => {
    await store.askWitnesses(asker, [1, 2, 3].map(question), patienceMs);
    expect(await store.takeQuestions(asker, 10)).toEqual([]);
    const [some, others] = await Promise.all([
      store.takeQuestions(witness, 10),
      store.takeQuestions(third, 10),
    ]);
    expect(numbers([...some, ...others])).toEqual([1, 2, 3]);
  });

  it('is taken by somebody else while a taker is in the middle of it', async () => {
    await store.askWitnesses(asker, [1, 2].map(question), patienceMs);
    await database.db.system.transaction(async tx => {
      await tx.execute(sql`select from witness_questions where number = 1 for update`);
      expect(numbers(await store.takeQuestions(witness, 10))).toEqual([2]);
    });
  });

  it('is taken no oftener than there is room for, the oldest first', async () => {
    await store.askWitnesses(asker, [question(1)], patienceMs);
    await store.askWitnesses(asker, [question(2)], patienceMs);
    expect(numbers(await store.takeQuestions(witness, 1))).toEqual([1]);
    expect(numbers(await store.takeQuestions(witness, 1))).toEqual([2]);
  });

  it('that is too old is taken by nobody, and forgotten by its asker', async () => {
    await store.askWitnesses(asker, [question(1)], -1);
    expect(await store.takeQuestions(witness, 10)).toEqual([]);
    expect(await store.collectAnswers(asker, [])).toEqual([]);
    expect(await rows()).toBe(0);
  });

  it('that is given up is gone, and an answer to it comes to nothing', async () => {
    await store.askWitnesses(asker, [1, 2].map(question), patienceMs);
    await store.takeQuestions(witness, 10);
    expect(numbers(await store.collectAnswers(asker, [1]))).toContain(2);
    const answers = [1, 2].map(number => ({ organizationId, asker, number, finding: found }));
    await store.answerQuestions(witness, answers);
    expect(await store.collectAnswers(asker, [])).toEqual([{ number: 2, finding: found }]);
  });

  it('is answered by the worker that has taken it alone', async () => {
    await store.askWitnesses(asker, [question(1)], patienceMs);
    await store.takeQuestions(witness, 10);
    await store.answerQuestions(third, [{ organizationId, asker, number: 1, finding: found }]);
    expect(await store.collectAnswers(asker, [])).toEqual([{ number: 1, finding: null }]);
  });

  it('is told of by one event, however many are asked', async () => {
    await store.askWitnesses(asker, [1, 2, 3].map(question), patienceMs);
    const events = await database.db.system.many(sql`
      select subject_id, data from events where type = 'witness.asked'`);
    expect(events).toEqual([{ subject_id: asker, data: { questions: 3 } }]);
  });
});

it('of a worker that died is forgotten by the upkeep, and no other', async () => {
  await store.askWitnesses(asker, [question(1)], patienceMs);
  await store.askWitnesses(third, [question(1)], -61_000);
  expect(await forgetOldQuestions(database.db.system)).toBe(1);
  expect(numbers(await store.takeQuestions(witness, 10))).toEqual([1]);
});
