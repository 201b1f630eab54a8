import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { live, lives, type Passed } from '../../test/fakes/random-checks.ts';
import { type HealthState, isDown, isSuspect } from './evaluate.ts';
import { flappingPercent } from './flapping.ts';
import { basisOf, statusesOn, transitions } from './transitions.ts';

const runs = { numRuns: 300 };

/** Holds every step of every life to the rule. `record` is what the rule remembers of a life. */
function always<T>(begin: () => T, rule: (passed: Passed, record: T) => void): void {
  fc.assert(
    fc.property(lives, life => {
      const record = begin();
      for (const passed of live(life)) rule(passed, record);
    }),
    runs,
  );
}
const nothing = (): null => null;
const hasFailed = ({ cause }: Passed): boolean => cause === 'failed';
const isResult = ({ cause }: Passed): boolean => cause === 'answered' || cause === 'failed';

/** The failures and successes in a row up to and with this step, counted anew where we lost sight of it. */
type InARow = { failures: number; successes: number; firstSuccessMs: number };
const inARow = (): InARow => ({ failures: 0, successes: 0, firstSuccessMs: 0 });
function countOn(passed: Passed, record: InARow): InARow {
  const { cause, at, verdict } = passed;
  const nowMs = at.getTime();
  if (cause === 'failed') Object.assign(record, { failures: record.failures + 1, successes: 0 });
  if (cause === 'answered') {
    if (record.successes === 0) record.firstSuccessMs = nowMs;
    Object.assign(record, { failures: 0, successes: record.successes + 1 });
  }
  // Set back, the clock cannot tell how long ago it was.
  record.firstSuccessMs = Math.min(record.firstSuccessMs, nowMs);
  if (!isResult(passed) && verdict.change !== null) Object.assign(record, { failures: 0, successes: 0 });
  return record;
}

describe('whatever happens in whatever order, the clock going backwards included', () => {
  it('no transition is illegal, and each is told', () => {
    always(nothing, ({ cause, previous, verdict: { next, change } }) => {
      const [from, to] = [basisOf(previous), basisOf(next)];
      expect(statusesOn[to]).toContain(next.status);
      if (next.status === previous.status) expect(change).toBeNull();
      else expect(change).toMatchObject({ from: previous.status, to: next.status, reason: next.reason });
      if (from === to && change === null) return;
      const legal = transitions.filter(each => each.from === from && each.to === to);
      expect(
        legal.flatMap(each => each.causes),
        `${from} → ${to}`,
      ).toContain(cause);
    });
  });

  it('no server is down with fewer than three failures in a row, and with three every server is', () => {
    always(inARow, (passed, record) => {
      const { previous, verdict } = passed;
      const { failures } = countOn(passed, record);
      if (isDown(verdict.next) && !isDown(previous)) expect(failures).toBeGreaterThanOrEqual(3);
      if (failures >= 3) expect(isDown(verdict.next)).toBe(true);
    });
  });

  it('no server comes back with fewer than two successes that are far enough apart', () => {
    always(inARow, (passed, record) => {
      const { at, previous, policy, verdict } = passed;
      const { successes, firstSuccessMs } = countOn(passed, record);
      if (!isDown(previous) || isDown(verdict.next) || verdict.next.status === 'unknown') return;
      expect(successes).toBeGreaterThanOrEqual(2);
      expect(at.getTime() - firstSuccessMs).toBeGreaterThanOrEqual(policy.upAfterMs);
    });
  });

  it('no server is down because of a check that we did not make, nor loses what was learned of it', () => {
    always(nothing, passed => {
      if (isResult(passed)) return;
      const { previous, verdict } = passed;
      if (isDown(verdict.next)) expect(isDown(previous)).toBe(true);
      if (verdict.change !== null) expect(verdict.change.to).toBe('unknown');
      const { recentResults, knownResults } = previous;
      expect(verdict.next).toMatchObject({ recentResults, knownResults });
      expect(verdict.recheckAfterMs).toBeNull();
    });
  });

  it('it is unknown only after we have learned nothing for three intervals', () => {
    always(
      () => ({ learnedMs: Number.NaN }),
      (passed, record) => {
        const nowMs = passed.at.getTime();
        if (record.learnedMs > nowMs) record.learnedMs = nowMs;
        if (!isResult(passed) && passed.verdict.change !== null)
          expect(nowMs - record.learnedMs).toBeGreaterThan(passed.policy.staleAfterMs);
        if (isResult(passed)) record.learnedMs = nowMs;
      },
    );
  });

  it('the breaker is open exactly by its rule', () => {
    always(
      () => ({ inARow: inARow(), failed: [] as boolean[], isOpen: false }),
      (passed, record) => {
        const { failures, successes } = countOn(passed, record.inARow);
        if (isResult(passed)) record.failed = [...record.failed, hasFailed(passed)].slice(-20);
        const { length } = record.failed;
        const share = record.failed.filter(Boolean).length / length;
        if (hasFailed(passed) && (failures >= 5 || (length >= 10 && share >= 0.5))) record.isOpen = true;
        if (passed.cause === 'answered' && successes >= 2 && !isDown(passed.verdict.next))
          record.isOpen = false;
        expect(passed.verdict.next.breakerOpenedAt !== null).toBe(record.isOpen);
      },
    );
  });

  it('flapping begins above 30 %, ends below 15 %, and turns at most once with a result', () => {
    always(nothing, passed => {
      const { previous, verdict } = passed;
      const [was, is] = [previous, verdict.next].map(state => state.flappingSince !== null);
      const { recentResults: bits, knownResults: known } = verdict.next;
      const percent = flappingPercent({ bits, known });
      if (!was && is) expect(percent).toBeGreaterThan(30);
      if (was && !is) expect(percent).toBeLessThan(15);
      if (isResult(passed) && percent > 30) expect(is).toBe(true);
      if (isResult(passed) && percent < 15) expect(is).toBe(false);
      expect(verdict.flapping).toEqual(was === is ? null : { isFlapping: is, percent });
      if (verdict.change !== null) expect(verdict.change.flapping ?? false).toBe(is);
      // Where the one is decided the other is not: no window both begins and ends it.
      if (verdict.flapping !== null) expect(percent > 30 || percent < 15).toBe(true);
    });
  });

  it('the record of results is what came, and doubt is told by the counters', () => {
    always(
      () => ({ inARow: inARow(), results: [] as number[] }),
      (passed, record) => {
        const { next } = passed.verdict;
        const { failures, successes } = countOn(passed, record.inARow);
        if (isResult(passed)) record.results = [...record.results, Number(hasFailed(passed))].slice(-21);
        expect(next).toMatchObject({
          consecutiveFailures: failures,
          consecutiveSuccesses: successes,
          knownResults: record.results.length,
          recentResults: record.results.reduce((bits, bit) => 2 * bits + bit, 0),
        });
        expect(next.suspectSince !== null).toBe(failures > 0 && !isDown(next));
        expect(next.recoveringSince !== null).toBe(successes > 0 && isDown(next));
        if (failures > 0 || isDown(next)) expect(isSuspect(next)).toBe(true);
      },
    );
  });

  it('no time of a state is ahead of what it was judged at', () => {
    const timesOf = (state: HealthState): Date[] =>
      Object.values(state).filter((value): value is Date => value instanceof Date);
    always(nothing, ({ at, verdict }) => {
      for (const time of timesOf(verdict.next)) expect(time.getTime()).toBeLessThanOrEqual(at.getTime());
    });
  });

  it('a doubtful server is looked at again within the policy, and no other is', () => {
    always(nothing, passed => {
      const { policy, verdict } = passed;
      const { next, recheckAfterMs } = verdict;
      const isOpen = isResult(passed) && (next.suspectSince ?? next.recoveringSince) !== null;
      expect(recheckAfterMs !== null).toBe(isOpen);
      if (recheckAfterMs === null) return;
      expect(recheckAfterMs).toBeGreaterThan(0);
      expect(recheckAfterMs).toBeLessThanOrEqual(Math.max(10_000, policy.upAfterMs));
    });
  });

  it('the same life ends the same, and no state that was handed in is changed', () => {
    fc.assert(
      fc.property(lives, life => {
        const first = live(life);
        const before = structuredClone(first);
        expect(live(life)).toEqual(before);
        expect(first).toEqual(before);
      }),
      { numRuns: 100 },
    );
  });
});

describe('docs/states.md', () => {
  const page = readFileSync(new URL('../../../docs/states.md', import.meta.url), 'utf8');
  const drawn = [...page.matchAll(/^ +(\w+) --> (\w+): (.+)$/gm)].map(([, ...edge]) => edge);

  it('draws every transition there is, and no other', () => {
    expect(drawn).toEqual(transitions.map(({ from, to, needs }) => [from, to, needs]));
  });

  it('draws every status where it belongs', () => {
    for (const basis of ['answering', 'down'] as const) {
      const inside = new RegExp(`state ${basis} \\{\n([^}]*)\\}`).exec(page)?.[1];
      for (const status of statusesOn[basis]) expect(inside, basis).toContain(status);
    }
  });
});
