import type { HealthStatus } from '../events/event.ts';
import type { CheckOutcome, CheckResult } from './check.ts';

/** What is believed of a server, and what the next check needs to know about the last ones. */
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
};

export type HealthPolicy = {
  /** Failures in a row before a server is called down. */
  failuresToDown: number;
  /** Successes in a row before a server that was down is believed again. */
  successesToUp: number;
  /** How soon a doubtful server is asked again: after the 1st failure, after the 2nd, … the last one stays. */
  recheckAfterMs: readonly number[];
  /** Without a result of our own for this long, we do not know. */
  staleAfterMs: number;
};

export type Verdict = {
  next: HealthState;
  change: { from: HealthStatus; to: HealthStatus; reason: string } | null;
  /** When to look again earlier than scheduled; null: as scheduled. */
  recheckAfterMs: number | null;
};

/** 21 results, as in Nagios' flap detection: https://assets.nagios.com/downloads/nagioscore/docs/nagioscore/4/en/flapping.html */
const recentMask = (1 << 21) - 1;

/**
 * Previous state and result to next state and a named reason. Pure. One bad answer makes a server suspect,
 * never down; one good answer makes a server that was down suspect of being well. A check that we could not
 * make says nothing about the server, until it has gone on for so long that we do not know any more.
 */
export function evaluate(previous: HealthState, result: CheckResult, policy: HealthPolicy): Verdict {
  switch (result.outcome.kind) {
    case 'answered':
      return afterAnswer(previous, result.outcome, result.at, policy);
    case 'failed':
      return afterFailure(previous, result.outcome, result.at, policy);
    case 'not_checked':
      return afterNothing(previous, result.outcome, result.at, policy);
  }
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

/** The same, but for failures that have not led to a verdict: they turned out to be ours. */
export const withoutDoubt = (state: HealthState): HealthState =>
  isDown(state) || state.consecutiveFailures === 0 ? state : { ...state, consecutiveFailures: 0 };

/** Whether the next check belongs in the lane of the doubtful, where a time-out delays nobody well. */
export const isSuspect = (state: HealthState): boolean => state.consecutiveFailures > 0 || isDown(state);

type Answered = Extract<CheckOutcome, { kind: 'answered' }>;
type Failed = Extract<CheckOutcome, { kind: 'failed' }>;
type NotChecked = Extract<CheckOutcome, { kind: 'not_checked' }>;

function afterAnswer(previous: HealthState, outcome: Answered, at: Date, policy: HealthPolicy): Verdict {
  const learned: HealthState = {
    ...previous,
    lastCheckedAt: at,
    lastSeenAt: at,
    consecutiveFailures: 0,
    consecutiveSuccesses: previous.consecutiveSuccesses + 1,
    recentResults: (previous.recentResults << 1) & recentMask,
  };
  if (isDown(previous) && learned.consecutiveSuccesses < policy.successesToUp) {
    return { next: learned, change: null, recheckAfterMs: policy.recheckAfterMs[0] ?? null };
  }
  return move(learned, outcome.status, { reason: outcome.reason, detail: outcome.detail, at });
}

function afterFailure(previous: HealthState, outcome: Failed, at: Date, policy: HealthPolicy): Verdict {
  const failures = previous.consecutiveFailures + 1;
  const learned: HealthState = {
    ...previous,
    lastCheckedAt: at,
    lastSeenAt: outcome.reached ? at : previous.lastSeenAt,
    consecutiveFailures: failures,
    consecutiveSuccesses: 0,
    recentResults: ((previous.recentResults << 1) | 1) & recentMask,
  };
  if (failures < policy.failuresToDown && !isDown(previous)) {
    const rechecks = policy.recheckAfterMs;
    return {
      next: learned,
      change: null,
      recheckAfterMs: rechecks[Math.min(failures, rechecks.length) - 1] ?? null,
    };
  }
  const status = outcome.reached ? 'critical' : 'unreachable';
  return move(learned, status, { reason: outcome.reason, detail: outcome.detail, at });
}

function afterNothing(previous: HealthState, outcome: NotChecked, at: Date, policy: HealthPolicy): Verdict {
  const lastMs = previous.lastCheckedAt?.getTime() ?? Number.NEGATIVE_INFINITY;
  if (previous.status !== 'unknown' && at.getTime() - lastMs <= policy.staleAfterMs) {
    return { next: previous, change: null, recheckAfterMs: null };
  }
  return move(previous, 'unknown', { reason: outcome.reason, detail: outcome.detail, at });
}

function move(
  state: HealthState,
  to: HealthStatus,
  why: { reason: string; detail: string | null; at: Date },
): Verdict {
  const changed = state.status !== to;
  return {
    next: {
      ...state,
      status: to,
      reason: why.reason,
      detail: why.detail,
      since: changed ? why.at : state.since,
    },
    change: changed ? { from: state.status, to, reason: why.reason } : null,
    recheckAfterMs: null,
  };
}
