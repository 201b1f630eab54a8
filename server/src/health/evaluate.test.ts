import { describe, expect, it } from 'vitest';
import { answered } from '../../test/fakes/random-checks.ts';
import type { CheckOutcome, NotCheckedReason } from './check.ts';
import {
  evaluate,
  type HealthPolicy,
  type HealthState,
  healthPolicy,
  isDown,
  isSuspect,
  stale,
  uncheckedState,
  type Verdict,
  withoutDoubt,
} from './evaluate.ts';

const startMs = Date.parse('2026-11-01T00:00:00Z');
const second = (seconds: number): Date => new Date(startMs + 1_000 * seconds);
const fresh = uncheckedState(second(0));
const policy: HealthPolicy = healthPolicy(fresh, 30_000, second(0), 'any');

const well = answered('healthy', 'ok', null);
const sick = answered('degraded', 'component_failed', 'services: failed');
const broken = answered('critical', 'component_failed', 'database: down');
const silent: CheckOutcome = {
  kind: 'failed',
  reason: 'timeout',
  detail: 'No answer in 10 s.',
  reached: false,
};
const http503: CheckOutcome = { kind: 'failed', reason: 'http_503', detail: 'HTTP 503', reached: true };
const notChecked = (reason: NotCheckedReason): CheckOutcome => ({
  kind: 'not_checked',
  reason,
  detail: 'Ours.',
});
const ourFault = notChecked('local_fault');

/** Checks at these seconds; every verdict. */
function run(state: HealthState, checks: readonly (readonly [at: number, CheckOutcome])[]): Verdict[] {
  let current = state;
  return checks.map(([at, outcome]) => {
    const verdict = evaluate(current, { outcome, at: second(at), durationMs: 1 }, policy);
    current = verdict.next;
    return verdict;
  });
}
/** Checks 30 s apart, from second 0 on, and the state after the last one, at second 30 × (n − 1). */
const after = (...outcomes: CheckOutcome[]): HealthState =>
  run(
    fresh,
    outcomes.map((outcome, index) => [30 * index, outcome]),
  ).at(-1)!.next;

const healthy = after(well);
const unreachable = after(silent, silent, silent);
const refusing = after(http503, http503, http503);

describe('the table of docs/states.md: state, result, what is believed then, why, and when to look again', () => {
  const after60 = after(well, silent, silent);
  const rows: [string, HealthState, checks: string, string, string, number | null][] = [
    ['unknown, an answer', fresh, '0 well', 'healthy', 'ok', null],
    ['unknown, an answer', fresh, '0 sick', 'degraded', 'component_failed', null],
    ['unknown, an answer', fresh, '0 broken', 'critical', 'component_failed', null],
    ['unknown, the 1st failure', fresh, '0 silent', 'unknown', 'not_checked', 5_000],
    ['unknown, the 3rd failure', fresh, '0 silent, 5 silent, 15 silent', 'unreachable', 'timeout', null],
    ['healthy, its own word', healthy, '30 sick', 'degraded', 'component_failed', null],
    ['healthy, its own word', healthy, '30 broken', 'critical', 'component_failed', null],
    ['critical by its own word, its own word', after(broken), '30 well', 'healthy', 'ok', null],
    ['healthy, the 1st failure', healthy, '30 silent', 'healthy', 'ok', 5_000],
    ['healthy, the 2nd', healthy, '30 silent, 35 silent', 'healthy', 'ok', 10_000],
    ['healthy, the 3rd', healthy, '30 http503, 35 silent, 45 silent', 'unreachable', 'timeout', null],
    ['healthy, the 3rd', healthy, '30 silent, 35 silent, 45 http503', 'critical', 'http_503', null],
    ['suspect, an answer', after60, '90 well', 'healthy', 'ok', null],
    [
      'critical by its own word, the 3rd',
      after(broken),
      '1 http503, 2 http503, 3 http503',
      'critical',
      'http_503',
      null,
    ],
    ['down, another failure', unreachable, '90 silent', 'unreachable', 'timeout', null],
    ['down without an answer, a useless one', unreachable, '90 http503', 'critical', 'http_503', null],
    ['down with useless answers, none', refusing, '90 silent', 'unreachable', 'timeout', null],
    ['down, the 1st answer', unreachable, '90 well', 'unreachable', 'timeout', 15_000],
    ['down, the 2nd, too soon', unreachable, '90 well, 98 well', 'unreachable', 'timeout', 7_000],
    ['down, the 2nd', unreachable, '90 well, 105 well', 'healthy', 'ok', null],
    ['down, the 3rd', unreachable, '90 well, 98 well, 105 sick', 'degraded', 'component_failed', null],
    ['recovering, a failure', unreachable, '90 well, 105 silent', 'unreachable', 'timeout', null],
    [
      'down, the 1st after that',
      unreachable,
      '90 well, 99 silent, 105 well',
      'unreachable',
      'timeout',
      15_000,
    ],
    ['healthy, no check for 3 intervals', healthy, '90 ourFault', 'healthy', 'ok', null],
    ['healthy, no check for longer', healthy, '91 ourFault', 'unknown', 'local_fault', null],
    ['suspect, no check for longer', after60, '151 ourFault', 'unknown', 'local_fault', null],
    ['down, no check for longer', unreachable, '151 ourFault', 'unknown', 'local_fault', null],
    ['unknown after down, an answer', unreachable, '151 ourFault, 160 well', 'healthy', 'ok', null],
    [
      'unknown after down, a failure',
      unreachable,
      '151 ourFault, 160 silent',
      'unknown',
      'local_fault',
      5_000,
    ],
    ['unknown, no check', fresh, '0 noToken', 'unknown', 'token_unreadable', null],
  ];
  const outcomes = { well, sick, broken, silent, http503, ourFault, noToken: notChecked('token_unreadable') };
  const read = (checks: string) =>
    checks.split(', ').map(text => {
      const [at, name] = text.split(' ') as [string, keyof typeof outcomes];
      return [Number(at), outcomes[name]] as const;
    });

  it.each(rows)('%s', (_name, state, checks, status, reason, recheckAfterMs) => {
    const verdict = run(state, read(checks)).at(-1)!;
    expect(verdict.next).toMatchObject({ status, reason });
    expect(verdict.recheckAfterMs).toBe(recheckAfterMs);
  });

  it.each(['policy_denied', 'local_fault', 'token_unreadable', 'observer_fault'] as const)(
    'a check that could not be made (%s) is never the fault of the server',
    reason => {
      const checks = Array.from(
        { length: 20 },
        (_, index) => [30 * (index + 1), notChecked(reason)] as const,
      );
      const verdicts = run(healthy, checks);
      expect(verdicts.map(({ next }) => next.status)).toEqual([
        ...Array(3).fill('healthy'),
        ...Array(17).fill('unknown'),
      ]);
      expect(verdicts.filter(({ change }) => change !== null).map(({ change }) => change)).toEqual([
        { from: 'healthy', to: 'unknown', reason },
      ]);
      expect(verdicts.at(-1)!.next).toMatchObject({ consecutiveFailures: 0, knownResults: 1 });
    },
  );
});

describe('a change', () => {
  it('is told once, with where from and why, and keeps its time while nothing changes', () => {
    const verdicts = run(fresh, [
      [0, well],
      [30, well],
      [60, sick],
      [90, sick],
    ]);
    expect(verdicts.map(({ change }) => change)).toEqual([
      { from: 'unknown', to: 'healthy', reason: 'ok' },
      null,
      { from: 'healthy', to: 'degraded', reason: 'component_failed' },
      null,
    ]);
    expect(verdicts.at(-1)!.next).toMatchObject({ since: second(60), detail: sick.detail });
  });

  it('says that the server was seen only where something answered', () => {
    expect(after(well, silent).lastSeenAt).toEqual(second(0));
    expect(after(well, http503).lastSeenAt).toEqual(second(30));
  });
});

describe('suspicion', () => {
  it('is data beside the status: from the first failure until it is down, answers, or is not known any more', () => {
    const [first, then] = run(healthy, [
      [30, silent],
      [35, http503],
    ]);
    expect(first!.next).toMatchObject({ status: 'healthy', suspectSince: second(30) });
    expect(then!.next).toMatchObject({ status: 'healthy', suspectSince: second(30) });
    for (const outcome of [silent, well, ourFault]) {
      expect(run(then!.next, [[1_000, outcome]])[0]!.next.suspectSince).toBeNull();
    }
  });

  it('of being well is data too: from the first answer of a server that is down until the next result decides', () => {
    const [first] = run(unreachable, [[90, well]]);
    expect(first!.next).toMatchObject({ status: 'unreachable', recoveringSince: second(90) });
    for (const outcome of [silent, well]) {
      expect(run(first!.next, [[105, outcome]])[0]!.next.recoveringSince).toBeNull();
    }
  });

  it('does not end by what we could not find out ourselves', () => {
    const suspect = after(well, silent, silent);
    expect(run(suspect, [[70, ourFault]])[0]).toEqual({
      next: suspect,
      change: null,
      flapping: null,
      recheckAfterMs: null,
    });
    expect(
      run(suspect, [
        [70, ourFault],
        [75, silent],
      ]).at(-1)!.next.status,
    ).toBe('unreachable');
  });

  it('puts a server into the lane where a time-out delays nobody well, until its breaker has closed', () => {
    expect(isSuspect(healthy)).toBe(false);
    expect(isSuspect(after(well, silent))).toBe(true);
    const dead = after(silent, silent, silent, silent, silent, silent);
    expect(isSuspect(run(dead, [[400, ourFault]])[0]!.next)).toBe(true);
    expect(
      isSuspect(
        run(dead, [
          [180, well],
          [195, well],
        ]).at(-1)!.next,
      ),
    ).toBe(false);
  });
});

it('a server that calls itself critical is not down: only failures make it so', () => {
  expect([broken, answered('critical', 'reported_critical', null)].map(each => isDown(after(each)))).toEqual([
    false,
    false,
  ]);
  expect([unreachable, refusing].map(isDown)).toEqual([true, true]);
});

describe('a server of which no result comes at all', () => {
  it('is unknown after three intervals, and not before', () => {
    expect(stale(healthy, second(90), policy)).toMatchObject({ next: healthy, change: null });
    expect(stale(healthy, second(91), policy)).toMatchObject({
      next: { status: 'unknown', reason: 'no_result', since: second(91), lastCheckedAt: second(0) },
      change: { from: 'healthy', to: 'unknown', reason: 'no_result' },
    });
  });

  it('keeps the reason it is unknown for', () => {
    expect(stale(fresh, second(1_000), policy)).toMatchObject({ next: fresh, change: null });
  });
});

describe('a clock that was set back', () => {
  it('is no reason to wait for it: results count in the order they come', () => {
    const verdicts = run(after(well), [
      [-3_600, silent],
      [-3_595, silent],
      [-3_585, silent],
    ]);
    expect(verdicts.map(({ next }) => next.status)).toEqual(['healthy', 'healthy', 'unreachable']);
    const up = run(verdicts.at(-1)!.next, [
      [-3_555, well],
      [-7_200, well],
      [-7_185, well],
    ]);
    expect(up.map(({ next }) => next.status)).toEqual(['unreachable', 'unreachable', 'healthy']);
  });

  it('leaves no time ahead of the last result, so that no age is negative', () => {
    const [{ next }] = run(unreachable, [[-3_600, silent]]) as [Verdict];
    expect(next).toMatchObject({ since: second(-3_600), lastCheckedAt: second(-3_600) });
    expect(stale(next, second(-3_510), policy).change).toBeNull();
    expect(stale(next, second(-3_509), policy).change).toMatchObject({ to: 'unknown' });
  });
});

describe('flapping', () => {
  const turns = (count: number, from = 0) =>
    Array.from(
      { length: count },
      (_, index) => [from + 30 * index, index % 2 === 0 ? well : silent] as const,
    );

  it('begins and ends with an event of its own, and is said with every change in between', () => {
    const begun = run(fresh, turns(8));
    const turned = begun.filter(({ flapping }) => flapping !== null);
    expect(turned.map(({ flapping }) => flapping)).toEqual([
      { isFlapping: true, percent: expect.closeTo(34.421, 3) },
    ]);
    const flapping = begun.at(-1)!.next;
    expect(flapping).toMatchObject({ status: 'healthy', flappingSince: second(180), knownResults: 8 });
    expect(run(flapping, [[240, sick]])[0]!.change).toMatchObject({ to: 'degraded', flapping: true });

    const steady = run(
      flapping,
      Array.from({ length: 21 }, (_, index) => [240 + 30 * index, well] as const),
    );
    expect(steady.flatMap(each => each.flapping ?? [])).toEqual([
      { isFlapping: false, percent: expect.any(Number) },
    ]);
    expect(steady.at(-1)!.next.flappingSince).toBeNull();
  });
});

describe('the policy of a server', () => {
  const of = (intervalSeconds: number, state: HealthState = fresh, at = 0) =>
    healthPolicy(state, 1_000 * intervalSeconds, second(at), 'any');

  it('follows its own interval', () => {
    expect(of(30)).toMatchObject({ upAfterMs: 15_000, staleAfterMs: 90_000 });
    expect(of(5)).toMatchObject({ upAfterMs: 4_500, staleAfterMs: 15_000 });
    expect(of(3_600)).toMatchObject({ upAfterMs: 15_000, staleAfterMs: 10_800_000 });
  });

  it('waits for three of the intervals in force while the breaker slows the checks down', () => {
    const dead = { ...unreachable, breakerOpenedAt: second(0) };
    const dayMs = of(5, dead, 86_400).staleAfterMs;
    expect(dayMs).toBeGreaterThanOrEqual(3 * 270_000);
    expect(dayMs).toBeLessThanOrEqual(3 * 330_000);
  });
});

describe('failures that turn out to be ours', () => {
  const mostlyFailed = after(
    ...Array.from({ length: 10 }, () => silent),
    ...Array.from({ length: 8 }, () => well),
  );

  it('leave no trace: the server is as it was before them', () => {
    const before = after(well, well, silent, well);
    const [, doubted] = run(before, [
      [120, silent],
      [125, silent],
    ]);
    expect(doubted!.next).toMatchObject({ consecutiveFailures: 2, suspectSince: second(120) });
    expect(withoutDoubt(doubted!.next)).toMatchObject({
      consecutiveFailures: 0,
      suspectSince: null,
      recentResults: before.recentResults,
      knownResults: before.knownResults,
      breakerOpenedAt: null,
    });
  });

  it('close the breaker that they opened, for metrics would be missing for nothing', () => {
    expect(mostlyFailed.breakerOpenedAt).toBeNull();
    const [doubted] = run(mostlyFailed, [[600, silent]]);
    expect(doubted!.next.breakerOpenedAt).toEqual(second(600));
    expect(withoutDoubt(doubted!.next).breakerOpenedAt).toBeNull();
  });

  it('close none that had been open before, and change nothing about a server that is down', () => {
    const spared = { ...healthy, breakerOpenedAt: second(-60) };
    const [doubted] = run(spared, [[30, silent]]);
    expect(withoutDoubt(doubted!.next)).toMatchObject({
      consecutiveFailures: 0,
      breakerOpenedAt: second(-60),
    });
    expect(withoutDoubt(unreachable)).toEqual(unreachable);
  });
});
