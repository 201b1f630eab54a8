import { appendForAll } from '../events/outbox.ts';
import type { OrganizationId, ServerId, WorkerId } from '../ids.ts';
import { installation } from '../ids.ts';
import { type SystemDb, sql } from '../platform/db.ts';
import { unnest } from '../platform/unnest.ts';
import type { ServerKey } from './roster.ts';
import type { Finding } from './witness.ts';

/** `number` is the asker's own count: with its id it names the question. */
export type WitnessQuestion = ServerKey & { number: number };
export type TakenQuestion = WitnessQuestion & { asker: WorkerId };
export type WitnessAnswer = Pick<TakenQuestion, 'organizationId' | 'asker' | 'number'> & { finding: Finding };
/** Null: a worker has taken it, and has not answered yet. */
export type CollectedAnswer = { number: number; finding: Finding | null };

/** Asks the other workers, and tells them that there is something to take. */
export async function askWitnesses(
  db: SystemDb,
  asker: WorkerId,
  { questions, patienceMs, at }: { questions: readonly WitnessQuestion[]; patienceMs: number; at: Date },
): Promise<void> {
  await db.transaction(async tx => {
    await tx.execute(sql`
      insert into witness_questions (organization_id, asker, number, subject_id, deadline)
      select q.organization_id, ${asker}, q.number, q.subject_id, now() + ${patienceMs} * interval '1 millisecond'
      from ${unnest([
        ['uuid', questions.map(({ organizationId }) => organizationId)],
        ['bigint', questions.map(({ number }) => number)],
        ['uuid', questions.map(({ id }) => id)],
      ])} as q (organization_id, number, subject_id)`);
    const event = { type: 'witness.asked', subject: asker, data: { questions: questions.length } } as const;
    await appendForAll(tx, at, [{ organizationId: installation, event }]);
  });
}

/** Takes up to `count` questions of other workers that nobody has taken, those that have waited longest first. */
export async function takeQuestions(
  db: SystemDb,
  witness: WorkerId,
  count: number,
): Promise<TakenQuestion[]> {
  return db.many<{ organizationId: OrganizationId; id: ServerId; asker: WorkerId; number: number }>(sql`
    with free as materialized (
      select organization_id, asker, number from witness_questions
      where witness is null and asker <> ${witness} and deadline > now()
      order by deadline limit ${count} for update skip locked
    )
    update witness_questions q set witness = ${witness}
    from free
    where q.organization_id = free.organization_id and q.asker = free.asker and q.number = free.number
    returning q.organization_id as "organizationId", q.subject_id as id, q.asker, q.number`);
}

/** Writes down what was found; a question that its asker has given up is gone, and so is the answer. */
export async function answerQuestions(
  db: SystemDb,
  witness: WorkerId,
  answers: readonly WitnessAnswer[],
): Promise<void> {
  await db.execute(sql`
    update witness_questions q set answer = a.answer
    from ${unnest([
      ['uuid', answers.map(({ organizationId }) => organizationId)],
      ['uuid', answers.map(({ asker }) => asker)],
      ['bigint', answers.map(({ number }) => number)],
      ['jsonb', answers.map(({ finding }) => JSON.stringify(finding))],
    ])} as a (organization_id, asker, number, answer)
    where q.organization_id = a.organization_id and q.asker = a.asker and q.number = a.number
      and q.witness = ${witness}`);
}

/** What has become of an asker's questions. Those with an answer, given up or too old are deleted. */
export async function collectAnswers(
  db: SystemDb,
  asker: WorkerId,
  givenUp: readonly number[],
): Promise<CollectedAnswer[]> {
  return db.many<CollectedAnswer>(sql`
    with done as (
      delete from witness_questions
      where asker = ${asker} and (answer is not null or deadline < now() or number = any(${givenUp}::bigint[]))
      returning number, answer
    )
    select number, answer as finding from done where answer is not null
    union all
    select number, null from witness_questions where asker = ${asker} and witness is not null and answer is null`);
}

/** Deletes the questions of workers that died before they heard the answer. Returns how many. */
export async function forgetOldQuestions(db: SystemDb): Promise<number> {
  return db.execute(sql`delete from witness_questions where deadline < now() - interval '1 minute'`);
}
