import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CheckOutcome } from './check.ts';
import {
  evaluate,
  type HealthPolicy,
  type HealthState,
  isDown,
  isSuspect,
  type Verdict,
} from './evaluate.ts';

const policy: HealthPolicy = {
  failuresToDown: 3,
  successesToUp: 2,
  recheckAfterMs: [5_000, 10_000],
  staleAfterMs: 90_000,
};
const startMs = Date.parse('2026-11-01T00:00:00Z');

const fresh: HealthState = {
  status: 'unknown',
  reason: 'not_checked',
  detail: null,
  since: new Date(startMs),
  lastCheckedAt: null,
  lastSeenAt: null,
  consecutiveFailures: 0,
  consecutiveSuccesses: 0,
  recentResults: 0,
};

type Answered = Extract<CheckOutcome, { kind: 'answered' }>;
const answer = (status: Answered['status'], reason: Answered['reason'], detail: string | null): Answered => ({
  kind: 'answered',
  status,
  reason,
  detail,
  components: {},
  version: null,
});
const well = answer('healthy', 'ok', null);
const sick = answer('degraded', 'component_failed', 'services: failed');
const broken = answer('critical', 'component_failed', 'database: down');
const silent: CheckOutcome = {
  kind: 'failed',
  reason: 'timeout',
  detail: 'No answer in 10 s.',
  reached: false,
};
const refused: CheckOutcome = {
  kind: 'failed',
  reason: 'refused',
  detail: 'Connection refused.',
  reached: false,
};
const http500: CheckOutcome = { kind: 'failed', reason: 'http_500', detail: 'HTTP 500', reached: true };
const ourFault: CheckOutcome = { kind: 'not_checked', reason: 'local_fault', detail: 'No sockets left.' };

/** Checks 30 s apart, beginning at `fromSeconds`; every verdict. */
function check(state: HealthState, outcomes: readonly CheckOutcome[], fromSeconds = 0): Verdict[] {
  let current = state;
  return outcomes.map((outcome, index) => {
    const at = new Date(startMs + 1000 * (fromSeconds + 30 * index));
    const verdict = evaluate(current, { outcome, at, durationMs: 1 }, policy);
    current = verdict.next;
    return verdict;
  });
}
const after = (...outcomes: CheckOutcome[]): HealthState => check(fresh, outcomes).at(-1)!.next;
const statuses = (...outcomes: CheckOutcome[]): string[] =>
  check(fresh, outcomes).map(({ next }) => next.status);

describe('what a server answers', () => {
  it.each([
    [well, 'healthy', 'ok'],
    [sick, 'degraded', 'component_failed'],
    [broken, 'critical', 'component_failed'],
    [answer('degraded', 'reported_degraded', 'It says so.'), 'degraded', 'reported_degraded'],
    [answer('critical', 'reported_critical', 'It says so.'), 'critical', 'reported_critical'],
  ] as const)('is believed at once: $status, $reason', (outcome, status, reason) => {
    const [verdict] = check(fresh, [outcome], 7);
    expect(verdict).toMatchObject({
      change: { from: 'unknown', to: status, reason },
      recheckAfterMs: null,
      next: { status, reason, detail: outcome.detail, since: new Date(startMs + 7_000) },
    });
    expect(verdict!.next.lastSeenAt).toEqual(new Date(startMs + 7_000));
  });

  it('keeps the time of the change while nothing changes, and tells of it once', () => {
    const verdicts = check(fresh, [well, well, sick, sick]);
    expect(verdicts.map(({ change }) => change?.to ?? null)).toEqual(['healthy', null, 'degraded', null]);
    expect(verdicts.at(-1)!.next.since).toEqual(new Date(startMs + 60_000));
  });
});

describe('a check that fails', () => {
  it.each([
    [silent, 'unreachable'],
    [http500, 'critical'],
  ] as const)('changes nothing until it is the third in a row: %o', (failure, down) => {
    expect(statuses(well, failure, failure, failure)).toEqual(['healthy', 'healthy', 'healthy', down]);
    expect(after(well, failure, failure)).toMatchObject({ reason: 'ok', consecutiveFailures: 2 });
  });

  it('is repeated after 5 s, then after 10 s, and then as scheduled', () => {
    const verdicts = check(fresh, [well, silent, silent, silent, silent]);
    expect(verdicts.map(verdict => verdict.recheckAfterMs)).toEqual([null, 5_000, 10_000, null, null]);
  });

  it('says that the server was seen only where something answered', () => {
    expect(after(well, silent).lastSeenAt).toEqual(new Date(startMs));
    expect(after(well, http500).lastSeenAt).toEqual(new Date(startMs + 30_000));
  });

  it('starts counting anew after a success', () => {
    expect(statuses(well, silent, silent, well, silent, silent)).not.toContain('unreachable');
  });

  it('names the last reason of a server that is down, and follows it between silent and answering', () => {
    expect(after(silent, silent, silent, refused)).toMatchObject({
      status: 'unreachable',
      reason: 'refused',
    });
    expect(after(silent, silent, silent, http500)).toMatchObject({ status: 'critical', reason: 'http_500' });
  });

  it('makes the server suspect at once, and the first success does not clear one that is down', () => {
    expect(isSuspect(after(well))).toBe(false);
    expect(isSuspect(after(well, silent))).toBe(true);
    expect(isSuspect(after(silent, silent, silent, well))).toBe(true);
    expect(isSuspect(after(silent, silent, silent, well, well))).toBe(false);
  });
});

describe('a server that was down', () => {
  it('is believed again after two successes, the second asked for soon', () => {
    const verdicts = check(after(silent, silent, silent), [well, well]);
    expect(verdicts.map(({ next }) => next.status)).toEqual(['unreachable', 'healthy']);
    expect(verdicts.map(({ recheckAfterMs }) => recheckAfterMs)).toEqual([5_000, null]);
  });

  it('stays down when the second try fails', () => {
    expect(statuses(silent, silent, silent, well, silent).slice(2)).toEqual(Array(3).fill('unreachable'));
  });

  it('differs from one that calls itself critical, which one good answer clears', () => {
    expect(isDown(after(broken))).toBe(false);
    expect(isDown(after(http500, http500, http500))).toBe(true);
    expect(statuses(broken, well)).toEqual(['critical', 'healthy']);
    expect(statuses(http500, http500, http500, well).at(-1)).toBe('critical');
  });
});

describe('a check that we could not make', () => {
  it('says nothing about the server', () => {
    const [verdict] = check(after(well), [ourFault], 60);
    expect(verdict).toEqual({ next: after(well), change: null, recheckAfterMs: null });
  });

  it('does not count between failures', () => {
    expect(statuses(well, silent, ourFault, silent, ourFault)).toEqual(Array(5).fill('healthy'));
  });

  it('makes health unknown once the last check of our own is older than the limit', () => {
    const known = after(well);
    expect(check(known, [ourFault], 90)[0]!.change).toBeNull();
    expect(check(known, [ourFault], 91)[0]!.change).toEqual({
      from: 'healthy',
      to: 'unknown',
      reason: 'local_fault',
    });
  });

  it('gives its reason to a server that was never checked, without an event', () => {
    const [verdict] = check(fresh, [ourFault]);
    expect(verdict).toMatchObject({
      change: null,
      next: { status: 'unknown', reason: 'local_fault', lastCheckedAt: null },
    });
  });
});

it('remembers the last 21 results and no more, the newest in the lowest bit', () => {
  expect(after(silent, well, silent).recentResults).toBe(0b101);
  expect(after(...Array.from({ length: 40 }, () => silent)).recentResults).toBe(2 ** 21 - 1);
});

describe('whatever happens in whatever order', () => {
  const outcomes = fc.array(
    fc.record({
      outcome: fc.constantFrom(well, sick, broken, silent, refused, http500, ourFault),
      afterMs: fc.constantFrom(1, 5_000, 30_000, 100_000, 600_000),
    }),
    { maxLength: 80 },
  );

  it('no transition is illegal and every counter tells the truth', () => {
    fc.assert(
      fc.property(outcomes, steps => {
        let state = fresh;
        let nowMs = startMs;
        let failures = 0;
        let successes = 0;
        const results: number[] = [];
        for (const { outcome, afterMs } of steps) {
          nowMs += afterMs;
          const { next, change } = evaluate(state, { outcome, at: new Date(nowMs), durationMs: 1 }, policy);
          if (outcome.kind !== 'not_checked') {
            const failed = outcome.kind === 'failed';
            failures = failed ? failures + 1 : 0;
            successes = failed ? 0 : successes + 1;
            results.push(failed ? 1 : 0);
          }

          expect(change === null).toBe(next.status === state.status);
          if (change !== null) {
            expect(change).toEqual({ from: state.status, to: next.status, reason: next.reason });
            expect(next.since).toEqual(new Date(nowMs));
          }
          if (isDown(next) && !isDown(state)) expect(failures).toBeGreaterThanOrEqual(3);
          if (isDown(state) && !isDown(next) && next.status !== 'unknown')
            expect(successes).toBeGreaterThanOrEqual(2);
          if (next.status === 'unreachable') expect(isDown(next)).toBe(true);
          if (outcome.kind === 'not_checked' && change !== null) expect(change.to).toBe('unknown');
          expect(next).toMatchObject({ consecutiveFailures: failures, consecutiveSuccesses: successes });
          expect(next.recentResults).toBe(results.slice(-21).reduce((bits, bit) => bits * 2 + bit, 0));
          state = next;
        }
      }),
    );
  });
});
