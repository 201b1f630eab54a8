import { type ControlPlane, startControlPlane } from './control-plane.ts';
import { fillFleet } from './fleet-data.ts';
import type { PollWorker } from './poll-worker.ts';
import { type SimulatorProcess, spawnSimulator } from './processes.ts';

/** A fleet and how it is polled. `flags` are further ones of the simulators. */
export type PolledFleet = {
  servers: number;
  flags?: readonly string[];
  healthSeconds: number;
  metricsSeconds: number;
  workers?: number;
  simulators?: number;
  /** Further settings of the control plane and the workers. */
  settings?: Readonly<Record<string, string>>;
};

/** What runs: a control plane that answers requests, the workers that poll for it, and the fleet they poll. */
export type Scene = {
  controlPlane: ControlPlane;
  workers: readonly PollWorker[];
  simulators: readonly SimulatorProcess[];
};

/**
 * Runs `use` beside a fleet that is polled: simulators that share it, an `api` process with the database, and
 * workers. The fleet is put into the tables, tokens sealed, before the workers start; nobody has registered it
 * one by one. Everything is stopped whatever happens.
 */
export async function withPolledFleet<T>(fleet: PolledFleet, use: (scene: Scene) => Promise<T>): Promise<T> {
  const simulators: SimulatorProcess[] = [];
  let controlPlane: ControlPlane | undefined;
  try {
    for (const flags of simulatorFlags(fleet))
      simulators.push(await spawnSimulator(flags.servers, flags.flags));
    const authorities = simulators.map(simulator => simulator.authorities ?? '').join('');
    controlPlane = await startControlPlane(
      {
        OPSFLEET_ROLE: 'api',
        FLEET_HEALTH_INTERVAL: String(fleet.healthSeconds),
        FLEET_METRICS_INTERVAL: String(fleet.metricsSeconds),
        ...fleet.settings,
      },
      authorities === '' ? undefined : authorities,
    );
    await fillFleet(
      controlPlane,
      simulators.flatMap(simulator => simulator.targets),
    );
    const workers = await controlPlane.startWorkers(fleet.workers ?? 1);
    return await use({ controlPlane, workers, simulators });
  } finally {
    await controlPlane?.stop();
    await Promise.all(simulators.map(simulator => simulator.stop()));
  }
}

function simulatorFlags(fleet: PolledFleet): { servers: number; flags: string[] }[] {
  const { healthSeconds, metricsSeconds, flags = [] } = fleet;
  return partsOf(fleet.servers, fleet.simulators ?? 1).map(({ first, size }) => ({
    servers: size,
    flags: [
      `--first=${first}`,
      `--health-interval-ms=${healthSeconds * 1000}`,
      `--metrics-interval-ms=${metricsSeconds * 1000}`,
      ...flags,
    ],
  }));
}

/** Divides a fleet as evenly as it goes. */
export function partsOf(servers: number, parts: number): { first: number; size: number }[] {
  return Array.from({ length: parts }, (_, part) => {
    const first = Math.floor((part * servers) / parts);
    return { first, size: Math.floor(((part + 1) * servers) / parts) - first };
  });
}
