import { once } from 'node:events';
import type { Server } from 'node:http';
import { bearer } from './auth.ts';
import { cached } from './cached.ts';
import { postgresProbe } from './check/postgres.ts';
import { redisProbe } from './check/redis.ts';
import { watch } from './check/watch.ts';
import type { Clock } from './clock.ts';
import { readCpuTimes } from './collect/cpu.ts';
import { startCpuSampler } from './collect/cpu-sampler.ts';
import { readLlmUsage } from './collect/llm.ts';
import { readServices } from './collect/services.ts';
import type { Settings } from './config.ts';
import { StartupError } from './errors.ts';
import { checkHealth } from './health.ts';
import { createAgentServer } from './http.ts';
import { type Log, reasonOf } from './log.ts';
import { collectMetrics, machineSources } from './metrics.ts';
import { fingerprintOf, loadIdentity } from './tls.ts';

export type Agent = {
  url: string;
  /** SHA-256 of the certificate, for callers to pin; undefined over plain http. */
  fingerprint: string | undefined;
  /** Lets running requests finish for at most 2 s. */
  stop(): Promise<void>;
};

const checkTimeoutMs = 2_000;
const checksKeptMs = 5_000;
const metricsKeptMs = 1_000;
const drainMs = 2_000;

/** Starts the agent; it listens when this resolves. Throws a StartupError when a setting is to blame. */
export async function startAgent(settings: Settings, clock: Clock, log: Log): Promise<Agent> {
  const identity = loadIdentity(settings.tls, settings.dataDir, clock);
  const cpu = startCpuSampler(readCpuTimes);
  const services = cached(() => readServices(settings.services), checksKeptMs, clock);
  const checks = {
    database: watch(settings.database, postgresProbe(checkTimeoutMs), clock),
    redis: watch(settings.redis, redisProbe(settings.redisPassword, checkTimeoutMs), clock),
    services,
  };
  const sources = { ...machineSources, cpu: cpu.percent, services, llm: () => readLlmUsage(settings.llm) };
  const server = createAgentServer({
    endpoints: {
      '/health': cached(() => checkHealth(checks, clock, log), checksKeptMs, clock),
      '/api/v1/metrics/current': cached(() => collectMetrics(sources, clock, log), metricsKeptMs, clock),
    },
    authenticate: bearer(settings.token),
    identity,
    log,
  });
  try {
    server.listen(settings.port, settings.host);
    await once(server, 'listening');
  } catch (error) {
    cpu.stop();
    throw new StartupError(
      `OPSFLEET_AGENT_HOST and OPSFLEET_AGENT_PORT: cannot listen on ${settings.host} port ${settings.port}: ${reasonOf(error)}`,
      { cause: error },
    );
  }
  // A connection that cannot be accepted, for want of file descriptors say, is no reason to end.
  server.on('error', error => log.warnSometimes('cannot accept connections', { reason: reasonOf(error) }));
  return {
    url: urlOf(server, identity !== undefined),
    fingerprint: identity && fingerprintOf(identity),
    async stop() {
      cpu.stop();
      const closed = once(server, 'close');
      server.close();
      const timer = setTimeout(() => server.closeAllConnections(), drainMs);
      await closed;
      clearTimeout(timer);
    },
  };
}

function urlOf(server: Server, isTls: boolean): string {
  const address = server.address();
  // A path is what servers on a Unix socket have; this one listens on a port.
  if (address === null || typeof address === 'string')
    throw new Error('the server does not listen on a port');
  const host = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  return `${isTls ? 'https' : 'http'}://${host}:${address.port}`;
}
