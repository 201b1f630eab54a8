import fc from 'fast-check';
import type { CheckOutcome } from '../../src/health/check.ts';
import {
  evaluate,
  type HealthPolicy,
  type HealthState,
  healthPolicy,
  stale,
  uncheckedState,
  type Verdict,
} from '../../src/health/evaluate.ts';
import type { Cause } from '../../src/health/transitions.ts';

/** What can happen to a server next: a check, or (null) nobody but the clock looks at it. */
export type Step = { outcome: CheckOutcome | null; afterMs: number };

/** What one step led from and to. */
export type Passed = {
  cause: Cause;
  at: Date;
  previous: HealthState;
  policy: HealthPolicy;
  verdict: Verdict;
};

type Answered = Extract<CheckOutcome, { kind: 'answered' }>;

/** An answer that names no component. */
export const answered = (
  status: Answered['status'],
  reason: Answered['reason'],
  detail: string | null,
): Answered => ({ kind: 'answered', status, reason, detail, components: {}, version: null });

const answers = (
  [
    ['healthy', 'ok', null],
    ['degraded', 'component_failed', 'services: nginx'],
    ['degraded', 'reported_degraded', null],
    ['critical', 'component_failed', 'database: down'],
    ['critical', 'reported_critical', null],
  ] as const
).map(([status, reason, detail]): CheckOutcome => answered(status, reason, detail));
const failures = (
  [
    ['timeout', false],
    ['refused', false],
    ['tls_failed', false],
    ['auth_failed', true],
    ['http_503', true],
    ['bad_payload', true],
  ] as const
).map(([reason, reached]): CheckOutcome => ({ kind: 'failed', reason, detail: reason, reached }));
const notChecked = (['policy_denied', 'local_fault', 'token_unreadable', 'observer_fault'] as const).map(
  (reason): CheckOutcome => ({ kind: 'not_checked', reason, detail: reason }),
);

const minuteMs = 60_000;
/** Runs of one kind are made likely, so that thresholds are reached; the clock is set back now and then. */
const run = fc
  .tuple(fc.constantFrom(answers, failures, notChecked, [null]), fc.integer({ min: 1, max: 12 }))
  .chain(([kind, length]) =>
    fc.array(
      fc.record<Step>({
        outcome: fc.constantFrom(...kind),
        afterMs: fc.oneof(
          { weight: 6, arbitrary: fc.constantFrom(1, 5_000, 10_000, 14_999, 15_000, 30_000) },
          { weight: 2, arbitrary: fc.integer({ min: 0, max: 10 * minuteMs }) },
          { weight: 1, arbitrary: fc.integer({ min: -60 * minuteMs, max: 26 * 60 * minuteMs }) },
        ),
      }),
      { minLength: 1, maxLength: length },
    ),
  );

/** Any life of a server, however its interval was set. */
export const lives = fc.record({
  steps: fc.array(run, { minLength: 1, maxLength: 14 }).map(runs => runs.flat()),
  intervalMs: fc.constantFrom(300, 5_000, 30_000, 3_600_000),
});

export type Life = { steps: readonly Step[]; intervalMs: number };

/** Lives it, and returns what every step did. */
export function live({ steps, intervalMs }: Life): Passed[] {
  let at = new Date('2026-11-01T00:00:00Z');
  let previous = uncheckedState(at);
  return steps.map(({ outcome, afterMs }) => {
    at = new Date(at.getTime() + afterMs);
    const policy = healthPolicy(previous, intervalMs, at, 'a-server');
    const verdict =
      outcome === null
        ? stale(previous, at, policy)
        : evaluate(previous, { outcome, at, durationMs: 1 }, policy);
    const passed = { cause: outcome?.kind ?? 'no_result', at, previous, policy, verdict } as const;
    previous = verdict.next;
    return passed;
  });
}
