import { deleteExpired } from './auth/store.ts';
import type { Context } from './context.ts';
import { deleteEventsOfServer } from './events/store.ts';
import { forgetOldJobs } from './health/checks.ts';
import { deleteHealthChecks } from './health/history.ts';
import { deleteHealthRollups } from './health/rollup-store.ts';
import { deleteMetricRollups } from './metrics/rollup-store.ts';
import { deleteMetrics } from './metrics/store.ts';
import type { LoopTask } from './platform/runtime/loop.ts';
import { refreshStatistics } from './platform/statistics.ts';
import { forgetDeadWorkers } from './polling/slots.ts';
import { createWatchdog, watchdogPeriodMs } from './polling/watchdog.ts';
import { forgetOldQuestions } from './polling/witness-store.ts';
import { clearHistory } from './servers/deletion-store.ts';
import { removeOrganizations } from './system/organization-removal.ts';
import { keepPartitions } from './system/partition-upkeep.ts';
import { keepRetention } from './system/retention-upkeep.ts';
import { keepRollups } from './system/rollup-upkeep.ts';

const hourMs = 3_600_000;

/** Everything time can cause, except polling itself, which has a schedule of its own (polling/poller.ts). */
export const workers = (context: Context): readonly LoopTask[] => [
  watchdog(context),
  {
    name: 'partitions',
    description:
      'Makes the partitions of the time ahead, ends an interrupted detach, and says where that fails.',
    periodMs: hourMs,
    runOnce: () => keepPartitions(context),
  },
  {
    name: 'retention',
    description: 'Archives and drops the partitions of history that is older than what is kept.',
    periodMs: hourMs,
    runOnce: () => keepRetention(context),
  },
  {
    name: 'rollups',
    description:
      'Sums up checks and metrics, to 5 and 15 minutes, hours and days, and again where some came late.',
    periodMs: 20_000,
    runOnce: () => keepRollups(context),
  },
  {
    name: 'statistics',
    description: 'Tells the planner of a fleet that has grown, before it plans badly for it.',
    periodMs: 5_000,
    async runOnce() {
      const { system } = context.db;
      const servers = await refreshStatistics(system, 'managed_servers');
      return servers + (await refreshStatistics(system, 'server_secrets'));
    },
  },
  {
    name: 'dead workers',
    description:
      'Forgets workers that have not been heard of for an hour, and what the dead have asked others.',
    periodMs: hourMs,
    async runOnce() {
      const { system } = context.db;
      return (await forgetDeadWorkers(system)) + (await forgetOldQuestions(system));
    },
  },
  {
    name: 'deleted servers',
    description: 'Deletes the history of servers that are gone, a small part at a time.',
    periodMs: 5_000,
    async runOnce() {
      const histories = [deleteHealthChecks, deleteHealthRollups, deleteMetrics, deleteMetricRollups];
      let deleted = 0;
      for (let part = 0; part < 100; part += 1) {
        const rows = await clearHistory(context.db.system, histories, [deleteEventsOfServer]);
        if (rows === null) break;
        deleted += rows;
      }
      return deleted;
    },
  },
  {
    name: 'deleted organizations',
    description: 'Deletes what organizations have left that are gone, a small part at a time.',
    periodMs: 5_000,
    runOnce: () => removeOrganizations(context),
  },
  {
    name: 'expired sessions',
    description: 'Deletes sessions and sign-in links that can no longer be used, and jobs that are over.',
    periodMs: hourMs,
    async runOnce() {
      const { system } = context.db;
      const now = context.clock.now();
      return (await deleteExpired(system, now)) + (await forgetOldJobs(system, now));
    },
  },
  {
    name: 'token use',
    description: 'Writes down when API tokens were last used.',
    periodMs: 10_000,
    async runOnce() {
      await context.authenticator.flush();
      return 0;
    },
  },
];

function watchdog({ db, clock, feed, settings }: Context): LoopTask {
  const { look } = createWatchdog({
    db: db.system,
    clock,
    feed,
    healthIntervalMs: settings.healthIntervalMs,
  });
  return {
    name: 'watchdog',
    description: 'Calls unknown what nobody polls, and says that nobody does.',
    periodMs: watchdogPeriodMs,
    runOnce: look,
  };
}
