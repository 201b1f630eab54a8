import { hostname, uptime } from 'node:os';
import type { ComponentReport, HealthReport, ServicesReport } from '@opsfleet/protocol';
import type { Clock } from './clock.ts';
import type { ServiceCounts } from './collect/services.ts';
import { type Log, reasonOf } from './log.ts';
import { version } from './version.ts';

/** What is asked for the health report; undefined where there is nothing to report. */
export type HealthChecks = {
  database: () => Promise<ComponentReport | undefined>;
  redis: () => Promise<ComponentReport | undefined>;
  services: () => Promise<ServiceCounts | undefined>;
};

const namedFailures = 5;

/** Runs all checks at once. */
export async function checkHealth(checks: HealthChecks, clock: Clock, log: Log): Promise<HealthReport> {
  const [database, redis, services] = await Promise.all([
    checks.database(),
    checks.redis(),
    checks.services().then(describeServices, (error: unknown) => {
      log.warnSometimes('cannot check services', { reason: reasonOf(error) });
      return { healthy: false, message: `cannot be checked: ${reasonOf(error)}` };
    }),
  ]);
  return {
    status: summarize([database, redis], services),
    version,
    hostname: hostname(),
    uptime_seconds: Math.floor(uptime()),
    timestamp: clock.now().toISOString(),
    database,
    redis,
    services,
  };
}

/** The worst of the parts: a critical one that is not ok makes the whole critical. */
export function summarize(
  components: readonly (ComponentReport | undefined)[],
  services: ServicesReport | undefined,
): HealthReport['status'] {
  const failing = components.filter(component => component !== undefined && component.status !== 'ok');
  if (failing.some(component => component?.critical)) return 'critical';
  return failing.length > 0 || services?.healthy === false ? 'degraded' : 'healthy';
}

function describeServices(counts: ServiceCounts | undefined): ServicesReport | undefined {
  if (counts === undefined) return undefined;
  const { active, failed, total, failedNames } = counts;
  const report = { healthy: failed === 0, active, failed, total };
  if (failed === 0) return report;
  const more = failed > namedFailures ? ` and ${failed - namedFailures} more` : '';
  return { ...report, message: `failed: ${failedNames.slice(0, namedFailures).join(', ')}${more}` };
}
