import { isMetricsDue } from '../health/breaker.ts';
import type { CheckOutcome, CheckResult, Component } from '../health/check.ts';
import { evaluate, healthPolicy, isDown, type Verdict } from '../health/evaluate.ts';
import type { HealthCheckRow } from '../health/history.ts';
import type { ParsedMetrics } from '../metrics/metric.ts';
import type { Clock } from '../platform/clock.ts';
import type { Egress } from '../platform/egress/client.ts';
import { stalledMs } from '../platform/egress/exchange.ts';
import type { Instruments } from '../platform/instruments.ts';
import type { Secret } from '../platform/keyring.ts';
import type { OpenedServerToken, SealedServerToken } from '../secrets/secrets.ts';
import { type Deadlines, probeHealth, probeMetrics, type Target } from './probe.ts';
import type { Results } from './results.ts';
import type { Entry } from './roster.ts';
import type { SecondLook } from './second-look.ts';
import type { Sight } from './sight.ts';
import type { WorkerStats } from './slots.ts';
import { type HealthChange, isAskedLike } from './store.ts';
import { isUnanswered } from './witness.ts';

type Components = Readonly<Record<string, Component>>;

/** Opens a sealed token for the origin it may be sent to; a reason where that fails. */
export type OpenToken = (sealed: SealedServerToken, origin: string) => OpenedServerToken;

export type PollParts = {
  clock: Clock;
  egress: Egress;
  openToken: OpenToken;
  instruments: Instruments;
  results: Pick<Results, 'health' | 'metrics'>;
  /** Of the servers that have no interval of their own. */
  healthIntervalMs: number;
  sight: Sight;
  /** A server that was well does not answer: whether others do should be known before it is judged. */
  onDoubt(entry: Entry): void;
  secondLook: Pick<SecondLook, 'begin'>;
  stats: Pick<WorkerStats, 'health' | 'metrics'>;
  /** The number of the next result. */
  nextSeq(): number;
};

// Connecting takes one round trip or it will not come to anything; answering may take a busy machine a while.
const deadlines: Deadlines = { connectTimeoutMs: 3_000, totalTimeoutMs: 10_000 };
/** A check that took longer was held up with this process. */
const heldUpMs = deadlines.totalTimeoutMs + stalledMs;

/**
 * One health check from start to "handed over to be stored": ask, evaluate, remember. `startedAfter` is when
 * somebody asked for it, if somebody did: the check is never dated before the request it answers, whatever
 * the two clocks say. Returns how soon to look again, if sooner than scheduled.
 */
export async function pollHealth(
  parts: PollParts,
  entry: Entry,
  startedAfter: Date | null,
): Promise<number | null> {
  const at = notBefore(parts.clock.now(), startedAfter);
  const startedMs = parts.clock.monotonicMs();
  const { server: asked } = entry;
  const look = parts.secondLook.begin(entry);
  const wasSeeing = parts.sight.reachedLately(startedMs);
  const answer = await askHealth(parts, entry);
  const tookMs = parts.clock.monotonicMs() - startedMs;
  // The monotonic clock stands while a machine is suspended.
  const ageMs = Math.max(tookMs, parts.clock.now().getTime() - at.getTime());
  const own = { outcome: unlessHeldUp(answer, ageMs), durationMs: tookMs };
  // What was found at an address that is not the server's any more says nothing of it.
  const isMoved = (): boolean => !isAskedLike(entry.server, asked);
  if (isMoved() || isAborted(own.outcome)) {
    look?.giveUp();
    return null;
  }
  notice(parts, entry, { found: own.outcome, wasSeeing });
  if (entry.gone) look?.giveUp();
  const weighed = look === null || entry.gone ? own : await look.weigh(own);
  if (isMoved()) return null;
  // This worker ends before another one could say what it sees.
  const isUnweighed = isAborted(weighed.outcome);
  const { outcome: found, durationMs } = isUnweighed ? own : weighed;
  const outcome = unlessBlind(parts, entry, found);
  const result: CheckResult = { outcome, at, durationMs };
  count(parts, 'health', outcome.reason, { ok: outcome.kind === 'answered', at, durationMs });
  if (entry.gone || isUnweighed) {
    // It happened, so it is history; what to believe of the server is for whoever has it next.
    parts.results.health(historyRow(entry, result), null);
    return null;
  }
  const { state, intervalMs, id } = entry.server;
  const policy = healthPolicy(state, intervalMs.health ?? parts.healthIntervalMs, at, id);
  const verdict = evaluate(state, result, policy);
  entry.server.state = verdict.next;
  parts.results.health(historyRow(entry, result), {
    organizationId: entry.server.organizationId,
    id,
    name: entry.server.name,
    slot: entry.server.slot,
    epoch: entry.epoch,
    seq: parts.nextSeq(),
    state: verdict.next,
    components: outcome.kind === 'answered' ? newComponents(entry, outcome.components) : null,
    version: outcome.kind === 'answered' ? outcome.version : null,
    responseTimeMs: answeredIn(result),
    changes: changesOf(verdict, at),
  });
  return verdict.recheckAfterMs;
}

/** One health check over the network, with the server's own token, and nothing more. */
export const askHealth = (
  parts: Pick<PollParts, 'egress' | 'openToken'>,
  entry: Entry,
): Promise<CheckOutcome> =>
  withToken(parts, entry, (target, token) => probeHealth(parts.egress, target, token.reveal(), deadlines));

/** Should a write be refused for ever, what it said is written again after so many checks, an hour mostly. */
const tellComponentsEvery = 120;

/**
 * The components, or null where they are as they were told last: nearly always. Without them a check costs the
 * database 7 % less.
 */
function newComponents(entry: Entry, components: Components): Components | null {
  const json = JSON.stringify(components);
  const told = entry.toldComponents;
  if (told?.json === json && told.checksAgo < tellComponentsEvery) {
    told.checksAgo += 1;
    return null;
  }
  entry.toldComponents = { json, checksAgo: 1 };
  return components;
}

/** That it flaps comes first where it begins: whoever reads on knows what the change is worth. */
const changesOf = ({ change, flapping }: Verdict, at: Date): HealthChange[] =>
  [flapping, change].filter(each => each !== null).map(each => ({ ...each, at }));

/**
 * One collection of metrics. Unless somebody asked for it, a server whose breaker is open or that is
 * unreachable is left alone, and so is one of a kind that has no metrics.
 */
export async function pollMetrics(parts: PollParts, entry: Entry, startedAfter: Date | null): Promise<void> {
  const { server } = entry;
  const hasMetrics = !('metricsUrls' in entry.target) || entry.target.metricsUrls.length > 0;
  if (startedAfter === null && !(hasMetrics && isMetricsDue(server.state))) return;
  const at = notBefore(parts.clock.now(), startedAfter);
  const startedMs = parts.clock.monotonicMs();
  const parsed = await withToken<ParsedMetrics>(parts, entry, (target, token) =>
    probeMetrics(parts.egress, target, token.reveal(), deadlines),
  );
  const durationMs = parts.clock.monotonicMs() - startedMs;
  const failure = 'kind' in parsed ? { reason: parsed.reason } : parsed.ok ? null : { reason: parsed.reason };
  if (!isAskedLike(entry.server, server) || failure?.reason === 'aborted') return;
  const { organizationId, id } = server;
  const metrics = 'metrics' in parsed ? parsed.metrics : null;
  const reportedAt = 'metrics' in parsed ? parsed.reportedAt : null;
  const reason = failure?.reason ?? 'ok';
  parts.results.metrics(
    metrics === null ? null : { organizationId, serverId: id, at, metrics, reportedAt },
    entry.gone ? null : { organizationId, id, epoch: entry.epoch, at, metrics, reason },
  );
  count(parts, 'metrics', reason, { ok: failure === null, at, durationMs });
  if (metrics !== null) parts.stats.metrics.valuesCollected += Object.keys(metrics).length;
}

/**
 * What this worker found tells of its own sight. Only who was well before tells anything by not answering; who
 * answers shows that we see, whoever it is.
 */
function notice(
  parts: PollParts,
  entry: Entry,
  { found, wasSeeing }: { found: CheckOutcome; wasSeeing: boolean },
): void {
  const { sight, clock } = parts;
  const { state, id } = entry.server;
  const reached = isReached(found);
  const failed = isUnanswered(found);
  const nowMs = clock.monotonicMs();
  const wasWell = !isDown(state) && (state.lastSeenAt !== null || state.reason === 'observer_fault');
  if (reached || (failed && wasWell)) sight.see({ id, site: entry.site, reached, wasSeeing, atMs: nowMs });
  if (failed && !isDown(state)) parts.onDoubt(entry);
}

/**
 * What was found, unless nobody answered and this process was held up meanwhile, or its machine suspended: the fault may
 * be ours, and what another worker finds now says nothing of the time at which the check began.
 */
function unlessHeldUp(found: CheckOutcome, ageMs: number): CheckOutcome {
  if (!isUnanswered(found) || ageMs <= heldUpMs) return found;
  return {
    kind: 'not_checked',
    reason: 'local_fault',
    detail: `${found.detail}; this process was held up meanwhile, or its clock set, by ${Math.round(ageMs / 1000)} s`,
  };
}

/** What was found, unless the fault is ours: while we are blind, a server that does not answer was not checked. */
function unlessBlind({ sight, clock }: PollParts, entry: Entry, found: CheckOutcome): CheckOutcome {
  if (!isUnanswered(found) || isDown(entry.server.state)) return found;
  if (sight.blindSinceMs(clock.monotonicMs()) === null) return found;
  return {
    kind: 'not_checked',
    reason: 'observer_fault',
    detail: `${found.detail}; we seem to be cut off ourselves`,
  };
}

type NotChecked = Extract<CheckOutcome, { kind: 'not_checked' }>;

/** Where the token cannot be opened, nothing is sent anywhere. */
async function withToken<T>(
  parts: Pick<PollParts, 'openToken'>,
  entry: Entry,
  ask: (target: Target, token: Secret) => Promise<T>,
): Promise<T | NotChecked> {
  if ('deniedBecause' in entry.target) {
    return { kind: 'not_checked', reason: 'policy_denied', detail: entry.target.deniedBecause };
  }
  const opened = openedToken(parts, entry);
  if (!opened.ok) {
    return {
      kind: 'not_checked',
      reason: 'token_unreadable',
      detail: `The stored token cannot be used (${opened.reason}); set it again.`,
    };
  }
  return ask(entry.target, opened.token);
}

function openedToken(
  { openToken }: Pick<PollParts, 'openToken'>,
  entry: Entry,
): OpenedServerToken | { ok: false; reason: 'missing' } {
  const { token, origin } = entry;
  if (token === null) return { ok: false, reason: 'missing' };
  if ('opened' in token) return token.opened;
  const opened = openToken(token.sealed, origin);
  entry.token = { version: token.version, opened };
  return opened;
}

/** Whether anything came back. */
const isReached = (outcome: CheckOutcome): boolean =>
  outcome.kind === 'answered' || (outcome.kind === 'failed' && outcome.reached);

const isAborted = (outcome: CheckOutcome): boolean =>
  outcome.kind === 'not_checked' && outcome.reason === 'aborted';

const notBefore = (now: Date, earliest: Date | null): Date =>
  earliest !== null && earliest > now ? earliest : now;

/** A time means something only where something answered. */
const answeredIn = ({ outcome, durationMs }: CheckResult): number | null =>
  isReached(outcome) ? Math.round(durationMs) : null;

function historyRow(entry: Entry, result: CheckResult): HealthCheckRow {
  const { outcome } = result;
  const components = outcome.kind === 'answered' ? outcome.components : {};
  const failing = Object.fromEntries(
    Object.entries(components).filter(([, component]) => !component.healthy),
  );
  return {
    organizationId: entry.server.organizationId,
    serverId: entry.server.id,
    at: result.at,
    status: historyStatus(outcome),
    reason: outcome.reason,
    responseTimeMs: answeredIn(result),
    databaseHealthy: components['database']?.healthy ?? null,
    redisHealthy: components['redis']?.healthy ?? null,
    servicesHealthy: components['services']?.healthy ?? null,
    errorMessage: outcome.detail,
    errorDetails: Object.keys(failing).length === 0 ? null : failing,
  };
}

/** What this check alone says, before hysteresis. `error`: the fault was ours. */
function historyStatus(outcome: CheckOutcome): HealthCheckRow['status'] {
  switch (outcome.kind) {
    case 'answered':
      return outcome.status;
    case 'failed':
      return outcome.reached ? 'critical' : 'unreachable';
    case 'not_checked':
      return 'error';
  }
}

function count(
  parts: PollParts,
  kind: 'health' | 'metrics',
  reason: string,
  poll: { ok: boolean; at: Date; durationMs: number },
): void {
  const stats = parts.stats[kind];
  stats.performed += 1;
  if (poll.ok) stats.successful += 1;
  else stats.failed += 1;
  stats.lastRun = poll.at.toISOString();
  stats.lastDurationSeconds = Math.round(poll.durationMs) / 1000;
  parts.instruments.checks.inc({ kind, reason });
}
