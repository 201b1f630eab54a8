import type { CheckOutcome } from '../../health/check.ts';
import type { ParsedMetrics } from '../../metrics/metric.ts';
import type { EgressReply } from '../../platform/egress/client.ts';

/**
 * How one kind of server is asked and understood. Reading is pure; `memory` carries what a reading needs of
 * the one before it (counters), and lives as long as the server stays with this worker.
 */
export type Adapter = {
  /** Tried in order until one is understood; the one that was is asked first from then on. */
  healthPaths: readonly string[];
  /** Empty: this kind has no metrics. */
  metricsPaths: readonly string[];
  accept: string;
  maxHealthBytes: number;
  maxMetricsBytes: number;
  readHealth(reply: EgressReply): CheckOutcome;
  readMetrics(reply: EgressReply, memory: AdapterMemory): ParsedMetrics;
};

/** The last CPU counters of a node_exporter, in seconds summed over all CPUs. */
export type AdapterMemory = { cpu?: { idle: number; total: number } };

/** The outcome of an answer that is not a success, or null when its body should be read. */
export function readStatus(reply: EgressReply): Extract<CheckOutcome, { kind: 'failed' }> | null {
  const { status } = reply;
  if (status >= 200 && status < 300) return null;
  const failed = (reason: Extract<CheckOutcome, { kind: 'failed' }>['reason'], detail: string) =>
    ({ kind: 'failed', reason, detail, reached: true }) as const;
  if (status === 401 || status === 403)
    return failed('auth_failed', `The server refused our token (HTTP ${status}).`);
  if (status === 404 || status === 410)
    return failed('not_found', `Nothing is served at this address (HTTP ${status}).`);
  return failed(`http_${status}`, `HTTP ${status}`);
}

export const badPayload = (detail: string): Extract<CheckOutcome, { kind: 'failed' }> => ({
  kind: 'failed',
  reason: 'bad_payload',
  detail,
  reached: true,
});

const maxTextLength = 200;

/** Foreign text, cut to a length and made fit to be stored and shown on a line. */
export function text(value: string, maxLength = maxTextLength): string {
  // Nearly all of it is plain ASCII, and reads as it is.
  if (value.length <= maxLength && /^[ -~]*$/.test(value)) return value;
  return value
    .slice(0, maxLength)
    .replaceAll(/\p{Cc}+/gu, ' ')
    .toWellFormed();
}
