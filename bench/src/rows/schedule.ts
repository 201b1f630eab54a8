import { setTimeout as sleep } from 'node:timers/promises';
import type { Row } from '../context.ts';
import type { Cadence } from '../simulator/ledger.ts';

const SCALES = {
  full: { servers: 1_000, healthSeconds: 30, metricsSeconds: 60 },
  quick: { servers: 100, healthSeconds: 3, metricsSeconds: 6 },
};

/** Judged intervals of metrics, after one of health in which the silent servers become known as such. */
const INTERVALS = 3;

type WorkersStatus = { polling: { lateness_p99_seconds: number } };

/**
 * Whether everybody is checked on time while every tenth server is a black hole. The judge is the simulator,
 * by what arrived at the healthy ones; the control plane's own account stands beside it.
 */
export const schedule: Row = {
  name: 'schedule',
  async run(context) {
    const { servers, healthSeconds, metricsSeconds } = SCALES[context.scale];
    const flags = ['--blackhole', '0.1'];
    flags.push('--health-interval-ms', String(healthSeconds * 1000));
    flags.push('--metrics-interval-ms', String(metricsSeconds * 1000));
    const settings = {
      FLEET_HEALTH_INTERVAL: String(healthSeconds),
      FLEET_METRICS_INTERVAL: String(metricsSeconds),
    };
    const { stats, ownP99Ms } = await context.withSimulator(servers, flags, simulator =>
      context.withControlPlane(settings, async controlPlane => {
        await controlPlane.registerFleet(simulator.targets);
        await sleep(healthSeconds * 1000);
        await simulator.reset();
        await sleep(INTERVALS * metricsSeconds * 1000);
        const stats = await simulator.stats();
        const status = await controlPlane.call<WorkersStatus>('GET', '/api/v1/fleet/workers/status');
        return { stats, ownP99Ms: status.polling.lateness_p99_seconds * 1000 };
      }),
    );
    const both = Object.values(stats.cadence.healthy ?? {});
    const sum = (key: 'neverChecked' | 'late' | 'overlaps'): number =>
      both.reduce((total, cadence) => total + cadence[key], 0);
    const worst = (key: keyof Cadence['latenessMs']): number =>
      Math.max(...both.map(cadence => cadence.latenessMs[key]));
    const checks = { name: 'checks judged', value: both.reduce((total, { checks }) => total + checks, 0) };
    return [
      { name: 'servers never checked', measured: sum('neverChecked'), unit: 'servers', bar: '0' },
      {
        name: 'checks late by more than 2 s',
        measured: sum('late'),
        unit: 'checks',
        reference: checks,
        bar: '0',
      },
      { name: 'checks that overlap', measured: sum('overlaps'), unit: 'checks', reference: checks, bar: '0' },
      {
        name: 'lateness p99, as servers see it',
        measured: worst('p99'),
        unit: 'ms',
        reference: { name: 'by its own account', value: ownP99Ms },
        bar: '≤ 2,000',
      },
      {
        name: 'lateness, the worst',
        measured: worst('max'),
        unit: 'ms',
        reference: { name: "the simulator's own stall", value: stats.loopDelayMaxMs },
      },
    ];
  },
};
