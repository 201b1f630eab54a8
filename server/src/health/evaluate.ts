import type { HealthStatus } from '../events/event.ts';
import { backoffJitter, healthIntervalMs, opensBreaker } from './breaker.ts';
import type { CheckOutcome, CheckResult } from './check.ts';
import { flappingAfter, flappingPercent } from './flapping.ts';
import { withoutNewest, withResult } from './recent-results.ts';

/**
 * What is believed of a server, and what the next check needs to know about the last ones. All of it is stored,
 * so that a restart or another worker goes on where the last one stopped. docs/states.md has the drawing.
 */
export type HealthState = {
  status: HealthStatus;
  reason: string;
  detail: string | null;
  since: Date;
  /** When we last learned anything ourselves. */
  lastCheckedAt: Date | null;
  lastSeenAt: Date | null;
  consecutiveFailures: number;
  consecutiveSuccesses: number;
  /** The last 21 results, newest in the lowest bit, 1 = failed. */
  recentResults: number;
  /** How many of those there are; the others have not happened yet. */
  knownResults: number;
  /** The first of the failures that may bring the server down; null where there are none, or they have. */
  suspectSince: Date | null;
  /** The first of the successes that may bring a server back that is down. */
  recoveringSince: Date | null;
  flappingSince: Date | null;
  /** Since when the server is spared: no metrics, and after an hour fewer checks. */
  breakerOpenedAt: Date | null;
};

export type HealthPolicy = {
  /** Failures in a row before a server is called down. */
  failuresToDown: number;
  /** Successes in a row before a server that was down is believed again, the last so long after the first. */
  successesToUp: number;
  upAfterMs: number;
  /** How soon a doubtful server is asked again: after the 1st failure, after the 2nd, … the last one stays. */
  recheckAfterMs: readonly number[];
  /** Without a result of our own for this long, we do not know. */
  staleAfterMs: number;
};

/** Facts about a server's health that became true with one result. */
export type StatusChange = { from: HealthStatus; to: HealthStatus; reason: string; flapping?: true };
export type FlappingChange = { isFlapping: boolean; percent: number };

export type Verdict = {
  next: HealthState;
  change: StatusChange | null;
  flapping: FlappingChange | null;
  /** When to look again earlier than scheduled; null: as scheduled. */
  recheckAfterMs: number | null;
};

const failuresToDown = 3;
const upAfterMs = 15_000;
/** Where an interval is shorter than that, its regular check is meant; due times vary by some milliseconds. */
const upAfterIntervals = 0.9;
const recheckAfterMs = [5_000, 10_000] as const;
export const staleAfterIntervals = 3;
/** No server is stale before so many of the intervals it is configured with; for a first, rough look. */
export const staleAfterIntervalsAtLeast = staleAfterIntervals * (1 - backoffJitter);

/**
 * The policy for a server in this state whose health is to be checked every `configuredMs`. Three intervals
 * are three of those in force: a server that is checked every 300 s is not stale after 90.
 */
export const healthPolicy = (
  state: HealthState,
  configuredMs: number,
  at: Date,
  id: string,
): HealthPolicy => ({
  failuresToDown,
  successesToUp: 2,
  upAfterMs: Math.min(upAfterMs, upAfterIntervals * configuredMs),
  recheckAfterMs,
  staleAfterMs: staleAfterIntervals * healthIntervalMs(state, configuredMs, at, id),
});

/** A server of which nothing is known: new, resumed, or moved to another address at `since`. */
export const uncheckedState = (since: Date): HealthState => ({
  status: 'unknown',
  reason: 'not_checked',
  detail: null,
  since,
  lastCheckedAt: null,
  lastSeenAt: null,
  consecutiveFailures: 0,
  consecutiveSuccesses: 0,
  recentResults: 0,
  knownResults: 0,
  suspectSince: null,
  recoveringSince: null,
  flappingSince: null,
  breakerOpenedAt: null,
});

/**
 * Previous state and result to next state and a named reason. Pure. One bad answer makes a server suspect,
 * never down; one good answer makes a server that was down suspect of being well. A check that we could not
 * make says nothing about the server, until it has gone on for so long that we do not know any more.
 *
 * Results are taken in the order they come: a server has one check at a time. A time that does not follow the
 * one before tells of a clock that was set, not of an old result, and is no reason to be blind until the clock
 * has caught up; instead, no time in the state stays ahead of the result's.
 */
export function evaluate(previous: HealthState, result: CheckResult, policy: HealthPolicy): Verdict {
  const state = notAfter(previous, result.at);
  switch (result.outcome.kind) {
    case 'answered':
      return afterAnswer(state, result.outcome, result.at, policy);
    case 'failed':
      return afterFailure(state, result.outcome, result.at, policy);
    case 'not_checked':
      return afterNothing(state, result.outcome, result.at, policy);
  }
}

/** The verdict on a server of which no result has come at all, because no worker polls it. */
export function stale(previous: HealthState, at: Date, policy: HealthPolicy): Verdict {
  const state = notAfter(previous, at);
  if (state.status === 'unknown' || !isStale(state, at, policy)) return unchanged(state);
  return lost(state, { reason: 'no_result', detail: null, at });
}

/** Whether the server is called down because checks failed, and not because it said so itself. */
export const isDown = (state: HealthState): boolean =>
  state.status === 'unreachable' || (state.status === 'critical' && !reported.has(state.reason));

/** Reasons that are the server's own word. */
const reported: ReadonlySet<string> = new Set([
  'component_failed',
  'reported_critical',
  'reported_degraded',
  'ok',
]);

/** The same, but for failures that have not led to a verdict, and what they brought: they turned out to be ours. */
export function withoutDoubt(state: HealthState): HealthState {
  const { consecutiveFailures, suspectSince, breakerOpenedAt } = state;
  if (isDown(state) || consecutiveFailures === 0) return state;
  const recent = withoutNewest(recentOf(state), consecutiveFailures);
  const isOpenedByThem = suspectSince !== null && breakerOpenedAt !== null && breakerOpenedAt >= suspectSince;
  return {
    ...state,
    consecutiveFailures: 0,
    suspectSince: null,
    recentResults: recent.bits,
    knownResults: recent.known,
    breakerOpenedAt: isOpenedByThem ? null : breakerOpenedAt,
  };
}

/** Whether one more failure calls the server down. */
export const isLastChance = (state: HealthState): boolean =>
  !isDown(state) && state.consecutiveFailures >= failuresToDown - 1;

/** Whether the next check belongs in the lane of the doubtful, where a time-out delays nobody well. */
export const isSuspect = (state: HealthState): boolean =>
  state.consecutiveFailures > 0 || state.breakerOpenedAt !== null || isDown(state);

type Answered = Extract<CheckOutcome, { kind: 'answered' }>;
type Failed = Extract<CheckOutcome, { kind: 'failed' }>;
type NotChecked = Extract<CheckOutcome, { kind: 'not_checked' }>;
type Why = { reason: string; detail: string | null; at: Date };

function afterAnswer(previous: HealthState, outcome: Answered, at: Date, policy: HealthPolicy): Verdict {
  const learned: HealthState = {
    ...learn(previous, false, at),
    lastSeenAt: at,
    consecutiveFailures: 0,
    consecutiveSuccesses: previous.consecutiveSuccesses + 1,
    suspectSince: null,
  };
  const isEnough = learned.consecutiveSuccesses >= policy.successesToUp;
  if (isDown(previous)) {
    const since = previous.consecutiveSuccesses === 0 ? at : (previous.recoveringSince ?? at);
    const remainingMs = policy.upAfterMs - (at.getTime() - since.getTime());
    if (!isEnough || remainingMs > 0) {
      const next = { ...learned, recoveringSince: since };
      return verdict(previous, next, { recheckAfterMs: remainingMs > 0 ? remainingMs : null });
    }
  }
  const next = {
    ...move(learned, outcome.status, { reason: outcome.reason, detail: outcome.detail, at }),
    recoveringSince: null,
    breakerOpenedAt: isEnough ? null : previous.breakerOpenedAt,
  };
  return verdict(previous, next);
}

function afterFailure(previous: HealthState, outcome: Failed, at: Date, policy: HealthPolicy): Verdict {
  const failures = previous.consecutiveFailures + 1;
  const recalled = learn(previous, true, at);
  const learned: HealthState = {
    ...recalled,
    lastSeenAt: outcome.reached ? at : previous.lastSeenAt,
    consecutiveFailures: failures,
    consecutiveSuccesses: 0,
    recoveringSince: null,
    breakerOpenedAt: previous.breakerOpenedAt ?? (opensBreaker(failures, recentOf(recalled)) ? at : null),
  };
  if (failures < policy.failuresToDown && !isDown(previous)) {
    const rechecks = policy.recheckAfterMs;
    return verdict(
      previous,
      { ...learned, suspectSince: failures === 1 ? at : (previous.suspectSince ?? at) },
      { recheckAfterMs: rechecks[Math.min(failures, rechecks.length) - 1] ?? null },
    );
  }
  const status = outcome.reached ? 'critical' : 'unreachable';
  const why = { reason: outcome.reason, detail: outcome.detail, at };
  return verdict(previous, { ...move(learned, status, why), suspectSince: null });
}

function afterNothing(previous: HealthState, outcome: NotChecked, at: Date, policy: HealthPolicy): Verdict {
  const why = { reason: outcome.reason, detail: outcome.detail, at };
  if (previous.status === 'unknown') return unchanged(move(previous, 'unknown', why));
  return isStale(previous, at, policy) ? lost(previous, why) : unchanged(previous);
}

/** Not known any more. What comes next is told by itself alone: a run of before is not continued. */
function lost(previous: HealthState, why: Why): Verdict {
  return verdict(previous, {
    ...move(previous, 'unknown', why),
    consecutiveFailures: 0,
    consecutiveSuccesses: 0,
    suspectSince: null,
    recoveringSince: null,
  });
}

const isStale = (state: HealthState, at: Date, policy: HealthPolicy): boolean =>
  at.getTime() - (state.lastCheckedAt ?? state.since).getTime() > policy.staleAfterMs;

const recentOf = (state: HealthState) => ({ bits: state.recentResults, known: state.knownResults });

/** What any result adds to the record, whatever follows from it. */
function learn(previous: HealthState, failed: boolean, at: Date): HealthState {
  const recent = withResult(recentOf(previous), failed);
  return {
    ...previous,
    lastCheckedAt: at,
    recentResults: recent.bits,
    knownResults: recent.known,
    flappingSince: flappingAfter(previous.flappingSince, flappingPercent(recent), at),
  };
}

function move(state: HealthState, to: HealthStatus, { reason, detail, at }: Why): HealthState {
  return { ...state, status: to, reason, detail, since: state.status === to ? state.since : at };
}

const unchanged = (next: HealthState): Verdict => ({
  next,
  change: null,
  flapping: null,
  recheckAfterMs: null,
});

function verdict(
  previous: HealthState,
  next: HealthState,
  { recheckAfterMs: recheck = null }: { recheckAfterMs?: number | null } = {},
): Verdict {
  const isFlapping = next.flappingSince !== null;
  const hasMoved = next.status !== previous.status;
  const hasTurned = isFlapping !== (previous.flappingSince !== null);
  return {
    next,
    change: hasMoved
      ? {
          from: previous.status,
          to: next.status,
          reason: next.reason,
          ...(isFlapping ? { flapping: true as const } : {}),
        }
      : null,
    flapping: hasTurned ? { isFlapping, percent: flappingPercent(recentOf(next)) } : null,
    recheckAfterMs: recheck,
  };
}

const earlier = <T extends Date | null>(instant: T, at: Date): T | Date =>
  instant !== null && instant > at ? at : instant;

/** The same state with no time ahead of `at`: the clock was set back, and ages must not be negative. */
function notAfter(state: HealthState, at: Date): HealthState {
  // The check that comes twice a minute for years finds nothing to correct.
  if (state.since <= at && (state.lastCheckedAt === null || state.lastCheckedAt <= at)) return state;
  return {
    ...state,
    since: earlier(state.since, at),
    lastCheckedAt: earlier(state.lastCheckedAt, at),
    lastSeenAt: earlier(state.lastSeenAt, at),
    suspectSince: earlier(state.suspectSince, at),
    recoveringSince: earlier(state.recoveringSince, at),
    flappingSince: earlier(state.flappingSince, at),
    breakerOpenedAt: earlier(state.breakerOpenedAt, at),
  };
}
