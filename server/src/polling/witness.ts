import type { CheckOutcome } from '../health/check.ts';
import { type HealthState, isLastChance } from '../health/evaluate.ts';

/** What one check found, and how long it took. */
export type Finding = { outcome: CheckOutcome; durationMs: number };

/**
 * Why a finding counts. `own_answer`: there is nothing to ask others about. `confirmed`: nobody is answered
 * there. `contradicted`: another worker is. `nobody_saw`: no other worker could say. `cut_short`: we end, and
 * whoever polls the server next decides.
 */
export type WitnessReason = 'own_answer' | 'confirmed' | 'contradicted' | 'nobody_saw' | 'cut_short';

/**
 * Whether another worker should look as well: where this check may be the one that calls the server
 * unreachable, and where others have reached it lately and we have not.
 */
export const needsWitness = (state: HealthState, isOutOfReach: boolean): boolean =>
  isOutOfReach || isLastChance(state);

/** Whether nothing at all came back: what only another worker can judge. */
export const isUnanswered = (
  outcome: CheckOutcome,
): outcome is Extract<CheckOutcome, { kind: 'failed' }> & { reached: false } =>
  outcome.kind === 'failed' && !outcome.reached;

/** Which finding counts as the server's, where `other` is what another worker found at the same time, if any did. */
export function weigh(own: Finding, other: Finding | null): { finding: Finding; because: WitnessReason } {
  if (!isUnanswered(own.outcome)) return { finding: own, because: 'own_answer' };
  if (other === null) return { finding: own, because: 'nobody_saw' };
  const { outcome, durationMs } = other;
  if (outcome.kind === 'not_checked') {
    return outcome.reason === 'aborted'
      ? { finding: other, because: 'cut_short' }
      : { finding: own, because: 'nobody_saw' };
  }
  if (isUnanswered(outcome)) return { finding: own, because: 'confirmed' };
  const said = outcome.detail === null ? '' : `${outcome.detail} — `;
  const detail = `${said}measured by another worker: the one that polls this server got no answer (${own.outcome.detail})`;
  return { finding: { outcome: { ...outcome, detail }, durationMs }, because: 'contradicted' };
}
