import type { ServerId, WorkerId } from '../../src/ids.ts';
import type {
  CollectedAnswer,
  TakenQuestion,
  WitnessAnswer,
  WitnessQuestion,
} from '../../src/polling/witness-store.ts';

type Row = TakenQuestion & {
  deadlineMs: number;
  witness: WorkerId | null;
  finding: CollectedAnswer['finding'];
};

/** From taking a question to looking: the answer of a slow database, and a pause. */
const lookedWithinMs = 2 * 60_000;

/** The table of what workers ask each other, by the rules of polling/witness-store.ts. */
export function createMemoryQuestions(nowMs: () => number) {
  let rows: Row[] = [];
  // Apart from the rows: whoever asked may have given up by the time of the look.
  const looks: { witness: WorkerId; id: ServerId; takenMs: number }[] = [];
  const isOpen = (row: Row): boolean => row.witness === null && row.deadlineMs > nowMs();
  return {
    askWitnesses(asker: WorkerId, questions: readonly WitnessQuestion[], patienceMs: number): void {
      for (const { organizationId, id, number } of questions) {
        const deadlineMs = nowMs() + patienceMs;
        rows.push({
          organizationId,
          id,
          number,
          asker,
          deadlineMs,
          witness: null,

          finding: null,
        });
      }
    },
    takeQuestions(witness: WorkerId, count: number): TakenQuestion[] {
      const free = rows.filter(row => isOpen(row) && row.asker !== witness).slice(0, count);
      for (const row of free) {
        row.witness = witness;
        looks.push({ witness, id: row.id, takenMs: nowMs() });
      }
      return free.map(({ organizationId, id, asker, number }) => ({ organizationId, id, asker, number }));
    },
    /** Whether the check that it begins is for another worker: the first one since it took the question. */
    isLookFor(witness: WorkerId, id: ServerId): boolean {
      const look = looks.findIndex(
        each => each.witness === witness && each.id === id && nowMs() - each.takenMs < lookedWithinMs,
      );
      if (look !== -1) looks.splice(look, 1);
      return look !== -1;
    },
    answerQuestions(witness: WorkerId, answers: readonly WitnessAnswer[]): void {
      for (const { asker, number, finding } of answers) {
        const row = rows.find(each => each.asker === asker && each.number === number);
        if (row?.witness === witness) row.finding = finding;
      }
    },
    collectAnswers(asker: WorkerId, givenUp: readonly number[]): CollectedAnswer[] {
      const mine = rows.filter(row => row.asker === asker);
      const isDone = (row: Row): boolean =>
        row.finding !== null || row.deadlineMs < nowMs() || givenUp.includes(row.number);
      rows = rows.filter(row => row.asker !== asker || !isDone(row));
      return mine
        .filter(row => row.witness !== null && (row.finding !== null || !isDone(row)))
        .map(({ number, finding }) => ({ number, finding }));
    },
  };
}
