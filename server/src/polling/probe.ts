import type { CheckOutcome } from '../health/check.ts';
import type { ParsedMetrics } from '../metrics/metric.ts';
import type { Egress, EgressFailure, EgressReply } from '../platform/egress/client.ts';
import { isAnswered, isUnasked } from '../platform/egress/fault.ts';
import type { TargetUrl } from '../platform/egress/url.ts';
import type { AdapterName } from '../servers/server.ts';
import type { Adapter, AdapterMemory } from './adapters/adapter.ts';
import { http } from './adapters/http.ts';
import { nodeExporter } from './adapters/node-exporter.ts';
import { opsCenter } from './adapters/ops-center.ts';

export const adapters: Readonly<Record<AdapterName, Adapter>> = {
  'ops-center': opsCenter,
  node_exporter: nodeExporter,
  http,
};

/** What a probe needs to know of a server. */
export type Target = {
  adapter: Adapter;
  /** One per path of the adapter, in its order. */
  healthUrls: readonly TargetUrl[];
  metricsUrls: readonly TargetUrl[];
  /** The path that was understood last; asked first. */
  healthChoice: number;
  metricsChoice: number;
  memory: AdapterMemory;
};

/** Deadlines of one connection, and of a whole poll however many paths it has to try. */
export type Deadlines = { connectTimeoutMs: number; totalTimeoutMs: number };

const userAgent = 'opsfleet/0.1';

/** One health check, over the network. Never rejects: whatever happens is an outcome. */
export async function probeHealth(
  egress: Egress,
  target: Target,
  token: string,
  deadlines: Deadlines,
): Promise<CheckOutcome> {
  let first: CheckOutcome | null = null;
  let spentMs = 0;
  const preferred = target.healthChoice;
  for (let attempt = 0; attempt < target.healthUrls.length; attempt++) {
    const choice = choiceOf(attempt, preferred);
    const reply = await egress.get({
      url: target.healthUrls[choice]!,
      headers: headers(target.adapter, token),
      maxBodyBytes: target.adapter.maxHealthBytes,
      connectTimeoutMs: deadlines.connectTimeoutMs,
      totalTimeoutMs: Math.max(1, deadlines.totalTimeoutMs - spentMs),
    });
    spentMs += reply.durationMs;
    if (!reply.ok) return first ?? outcomeOf(reply);
    const outcome = target.adapter.readHealth(reply);
    if (outcome.kind === 'answered') {
      target.healthChoice = choice;
      return outcome;
    }
    first ??= outcome;
    if (!mayBeElsewhere(outcome)) break;
  }
  return first!;
}

/** One collection of metrics; a failure carries the same reasons as a health check's. */
export async function probeMetrics(
  egress: Egress,
  target: Target,
  token: string,
  deadlines: Deadlines,
): Promise<ParsedMetrics> {
  let first: ParsedMetrics | null = null;
  let spentMs = 0;
  const preferred = target.metricsChoice;
  for (let attempt = 0; attempt < target.metricsUrls.length; attempt++) {
    const choice = choiceOf(attempt, preferred);
    const reply: EgressReply | EgressFailure = await egress.get({
      url: target.metricsUrls[choice]!,
      headers: headers(target.adapter, token),
      maxBodyBytes: target.adapter.maxMetricsBytes,
      connectTimeoutMs: deadlines.connectTimeoutMs,
      totalTimeoutMs: Math.max(1, deadlines.totalTimeoutMs - spentMs),
    });
    spentMs += reply.durationMs;
    if (!reply.ok) return first ?? { ok: false, reason: reply.reason, detail: reply.detail };
    const parsed = target.adapter.readMetrics(reply, target.memory);
    if (parsed.ok) {
      target.metricsChoice = choice;
      return parsed;
    }
    first ??= parsed;
    if (parsed.reason !== 'not_found' && parsed.reason !== 'bad_payload') break;
  }
  return first ?? { ok: false, reason: 'not_found', detail: 'This kind of server has no metrics.' };
}

/** Another path is worth a try only where this one is not served, or is served by something else. */
const mayBeElsewhere = (outcome: CheckOutcome): boolean =>
  outcome.kind === 'failed' && (outcome.reason === 'not_found' || outcome.reason === 'bad_payload');

const headers = (adapter: Adapter, token: string): Record<string, string> => ({
  authorization: `Bearer ${token}`,
  accept: adapter.accept,
  'user-agent': userAgent,
});

/** The path to ask at an attempt: the preferred one first, then the others in their order. */
function choiceOf(attempt: number, preferred: number): number {
  if (attempt === 0) return preferred;
  return attempt <= preferred ? attempt - 1 : attempt;
}

const outcomeOf = ({ reason, detail }: EgressFailure): CheckOutcome =>
  isUnasked(reason)
    ? { kind: 'not_checked', reason, detail }
    : { kind: 'failed', reason, detail, reached: isAnswered(reason) };
