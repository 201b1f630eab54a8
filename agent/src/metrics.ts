import type { MetricsReport } from '@opsfleet/protocol';
import type { Clock } from './clock.ts';
import { readDiskPercent } from './collect/disk.ts';
import type { LlmUsage } from './collect/llm.ts';
import { readMemoryPercent } from './collect/memory.ts';
import { readNetworkBytes } from './collect/network.ts';
import type { ServiceCounts } from './collect/services.ts';
import { readActiveUsers, readTotalUsers } from './collect/users.ts';
import { type Log, reasonOf } from './log.ts';

/** Where the numbers come from; each rejects when it cannot tell. */
export type MetricSources = {
  cpu: () => Promise<number | undefined>;
  memory: () => Promise<number>;
  disk: () => Promise<number | undefined>;
  network: () => Promise<{ rxBytes: number; txBytes: number }>;
  services: () => Promise<ServiceCounts | undefined>;
  llm: () => Promise<LlmUsage>;
  activeUsers: () => Promise<number | undefined>;
  totalUsers: () => Promise<number>;
};

/** The sources that need neither settings nor a past. */
export const machineSources = {
  memory: readMemoryPercent,
  disk: readDiskPercent,
  network: readNetworkBytes,
  activeUsers: readActiveUsers,
  totalUsers: readTotalUsers,
} as const satisfies Partial<MetricSources>;

/**
 * Reads every source at once. A source that fails costs its own fields, and a line in the log once a
 * minute; the others are still reported.
 */
export async function collectMetrics(sources: MetricSources, clock: Clock, log: Log): Promise<MetricsReport> {
  const attempt = async <Value>(name: string, read: () => Promise<Value>): Promise<Value | undefined> => {
    try {
      return await read();
    } catch (error) {
      log.warnSometimes(`cannot read ${name}`, { reason: reasonOf(error) });
      return undefined;
    }
  };
  const [cpu, memory, disk, network, services, llm, activeUsers, totalUsers] = await Promise.all([
    attempt('cpu', sources.cpu),
    attempt('memory', sources.memory),
    attempt('disk', sources.disk),
    attempt('network', sources.network),
    attempt('services', sources.services),
    attempt('llm usage', sources.llm),
    attempt('logged-in users', sources.activeUsers),
    attempt('accounts', sources.totalUsers),
  ]);
  // Undefined fields are not sent: JSON has no way to write them.
  return {
    cpu_percent: rounded(cpu),
    memory_percent: rounded(memory),
    disk_percent: rounded(disk),
    network_rx_bytes: network?.rxBytes,
    network_tx_bytes: network?.txBytes,
    active_services: services?.active,
    failed_services: services?.failed,
    total_services: services?.total,
    llm_requests: llm?.requests,
    llm_cost_usd: llm?.costUsd,
    active_users: activeUsers,
    total_users: totalUsers,
    timestamp: clock.now().toISOString(),
  };
}

/** Two decimals, as many as the control plane keeps. */
function rounded(percent: number | undefined): number | undefined {
  return percent === undefined ? undefined : Math.round(percent * 100) / 100;
}
