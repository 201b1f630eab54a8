import type { CheckOutcome, Component } from '../../health/check.ts';
import { parseMetrics } from '../../metrics/metric.ts';
import { parseJson } from '../../platform/egress/json.ts';
import { type Adapter, badPayload, readStatus, text } from './adapter.ts';

/**
 * The contract of opsfleet-agent and of the seed (`/health`), and Ops-Center's own `/api/v1/health`, which
 * calls its components `checks` and names them differently.
 */
export const opsCenter: Adapter = {
  healthPaths: ['/health', '/api/v1/health'],
  metricsPaths: ['/api/v1/metrics/current', '/api/v1/system-metrics/current'],
  accept: 'application/json',
  maxHealthBytes: 64 * 1024,
  maxMetricsBytes: 1024 * 1024,
  readHealth(reply) {
    const failed = readStatus(reply);
    if (failed !== null) return failed;
    const parsed = parseJson(reply.body);
    if (!parsed.ok)
      return badPayload(
        looksLikeHtml(reply.body) ? 'The answer is HTML, not JSON.' : `The answer ${parsed.detail}.`,
      );
    return readComponents(parsed.value);
  },
  readMetrics(reply) {
    const failed = readStatus(reply);
    if (failed !== null) return { ok: false, reason: failed.reason, detail: failed.detail };
    const parsed = parseJson(reply.body);
    return parsed.ok
      ? parseMetrics(parsed.value)
      : { ok: false, reason: 'bad_payload', detail: `The answer ${parsed.detail}.` };
  },
};

const looksLikeHtml = (body: Buffer): boolean => /^\s*</.test(body.toString('latin1', 0, 64));

type Fields = Readonly<Record<string, unknown>>;
const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const maxComponents = 50;
/** What Ops-Center calls the parts the contract knows by another name. */
const aliases: ReadonlyMap<string, string> = new Map([
  ['postgres', 'database'],
  ['postgresql', 'database'],
  ['docker_services', 'services'],
]);
const criticalByDefault: ReadonlySet<string> = new Set(['database', 'redis']);
const good: ReadonlySet<string> = new Set(['ok', 'healthy', 'up', 'pass', 'running', 'connected']);
const impaired: ReadonlySet<string> = new Set(['degraded', 'warning', 'warn']);

/** The verdict over the components: a critical one failing is critical, any other failing is degraded. */
export function readComponents(value: unknown): CheckOutcome {
  if (!isFields(value)) return badPayload('The answer is JSON, but not an object.');
  // A map, because a component may be called `constructor` or `__proto__`.
  const found = new Map<string, Component>();
  const source = isFields(value['checks']) ? value['checks'] : value;
  for (const key of Object.keys(source)) {
    const reported = source[key];
    const name = aliases.get(key) ?? key;
    if (!isFields(reported)) {
      if (name === 'database' || name === 'redis' || name === 'services')
        return badPayload(`${name} is not an object.`);
      continue;
    }
    const component = readComponent(name, reported);
    if (component === null) continue;
    if (found.size >= maxComponents) return badPayload(`More than ${maxComponents} components.`);
    // Two names for one component: the worse report counts.
    const shown = text(name);
    if (found.get(shown)?.healthy !== false) found.set(shown, component);
  }
  const overall = typeof value['status'] === 'string' ? value['status'].toLowerCase() : null;
  if (found.size === 0 && overall === null) {
    return badPayload('The answer names no component and no status.');
  }
  return verdict(
    Object.fromEntries(found),
    overall,
    typeof value['version'] === 'string' ? text(value['version'], 50) : null,
  );
}

function readComponent(name: string, reported: Fields): Component | null {
  const { status, healthy, message, critical } = reported;
  const word = typeof status === 'string' ? status.toLowerCase() : null;
  if (word === null && typeof healthy !== 'boolean') return null;
  return {
    healthy: typeof healthy === 'boolean' ? healthy : good.has(word!),
    critical:
      typeof critical === 'boolean'
        ? critical
        : criticalByDefault.has(name) && !(word !== null && impaired.has(word)),
    status: text(word ?? (healthy === true ? 'healthy' : 'failed'), 50),
    ...(typeof message === 'string' && message !== '' ? { message: text(message) } : {}),
  };
}

function verdict(
  components: Record<string, Component>,
  overall: string | null,
  version: string | null,
): CheckOutcome {
  const failing = Object.entries(components).filter(([, component]) => !component.healthy);
  const answered = { kind: 'answered', components, version } as const;
  const detail = failing
    .slice(0, 5)
    .map(([name, { status, message }]) => `${name}: ${message ?? status}`)
    .join('; ');
  if (failing.some(([, component]) => component.critical)) {
    return { ...answered, status: 'critical', reason: 'component_failed', detail };
  }
  if (failing.length > 0) return { ...answered, status: 'degraded', reason: 'component_failed', detail };
  // The components are all well, or there are none: the server's own word counts.
  if (overall !== null && impaired.has(overall)) {
    return {
      ...answered,
      status: 'degraded',
      reason: 'reported_degraded',
      detail: `It says of itself: ${text(overall, 50)}.`,
    };
  }
  if (overall !== null && !good.has(overall)) {
    return {
      ...answered,
      status: 'critical',
      reason: 'reported_critical',
      detail: `It says of itself: ${text(overall, 50)}.`,
    };
  }
  return { ...answered, status: 'healthy', reason: 'ok', detail: null };
}
