import { type Static, type TObject, Type } from 'typebox';
import { conditionNames } from '../conditions/condition.ts';
import { currentConditions } from '../conditions/store.ts';
import { ok, type Route, route } from '../platform/http/route.ts';
import { type KindStats, liveWorkers, type WorkerStats } from './slots.ts';

const Instant = Type.Union([Type.String({ format: 'date-time' }), Type.Null()]);
const common = {
  running: Type.Boolean(),
  interval_seconds: Type.Number(),
  success_rate: Type.Number({ description: '0 to 100.' }),
  last_run: Instant,
  last_duration_seconds: Type.Union([Type.Number(), Type.Null()]),
};
const HealthWorker: TObject = Type.Object(
  {
    ...common,
    checks_performed: Type.Integer(),
    checks_successful: Type.Integer(),
    checks_failed: Type.Integer(),
  },
  { title: 'HealthWorkerStatus', additionalProperties: false },
);
const MetricsWorker: TObject = Type.Object(
  {
    ...common,
    collections_performed: Type.Integer(),
    collections_successful: Type.Integer(),
    collections_failed: Type.Integer(),
    total_metrics_collected: Type.Integer(),
  },
  { title: 'MetricsWorkerStatus', additionalProperties: false },
);
const Spooled = Type.Object(
  {
    bytes: Type.Integer({ description: 'Disk that results wait on for the database.' }),
    records: Type.Integer({ description: 'Batches of results that wait.' }),
    oldest_age_seconds: Type.Number({ description: 'The worst worker: none has waited for longer.' }),
    results_refused: Type.Integer({ description: 'Results lost because neither disk nor memory had room.' }),
    corrupt: Type.Integer({ description: 'Times that what was on disk could not be read back.' }),
  },
  { title: 'SpooledStatus', additionalProperties: false },
);
const Polling = Type.Object(
  {
    workers: Type.Integer({ description: 'Processes that poll.' }),
    slots_leased: Type.Integer({ description: 'Of 256; fewer means that servers are not polled.' }),
    lateness_p99_seconds: Type.Number({
      description: 'The worst worker: 99 % of its last polls started no later.',
    }),
    spooled: Spooled,
  },
  { title: 'PollingStatus', additionalProperties: false },
);

const Condition = Type.Object(
  {
    condition: Type.Union(
      conditionNames.map(name => Type.Literal(name)),
      {
        description:
          'polling_late: polls start late. polling_blind: we cannot see, and hold every verdict. ' +
          'polling_partial: a worker cannot reach servers that others reach. ' +
          'polling_absent: no worker polls some or all servers; in time each is unknown, with reason no_result. ' +
          'storing_refused: the database refuses a statement of ours; polling goes on, and results wait. ' +
          'partitions_behind: partitions for the time ahead could not be made for long; rows that find none wait. ' +
          'retention_behind: history is there days after it should have gone.',
      },
    ),
    since: Type.String({ format: 'date-time' }),
    detail: Type.String(),
  },
  { title: 'Condition', additionalProperties: false },
);

/** Counters of all workers as one. The last run is the newest. */
function sum(all: readonly KindStats[]) {
  const total = (key: 'performed' | 'successful' | 'failed'): number =>
    all.reduce((n, each) => n + each[key], 0);
  const newest = all
    .filter(each => each.lastRun !== null)
    .toSorted((a, b) => b.lastRun!.localeCompare(a.lastRun!))[0];
  const performed = total('performed');
  return {
    performed,
    successful: total('successful'),
    failed: total('failed'),
    shared: {
      success_rate: performed === 0 ? 0 : Math.round((10_000 * total('successful')) / performed) / 100,
      last_run: newest?.lastRun ?? null,
      last_duration_seconds: newest?.lastDurationSeconds ?? null,
    },
  };
}

/** What waits on the disks of all workers. One of the version before this says nothing of it. */
function sumSpooled(workers: readonly WorkerStats[]): Static<typeof Spooled> {
  const all = workers.flatMap(({ spooled }: Partial<WorkerStats>) => spooled ?? []);
  const total = (key: 'bytes' | 'records' | 'refused' | 'corrupt'): number =>
    all.reduce((sum, each) => sum + each[key], 0);
  return {
    bytes: total('bytes'),
    records: total('records'),
    oldest_age_seconds: Math.max(0, ...all.map(each => each.oldestAgeSeconds)),
    results_refused: total('refused'),
    corrupt: total('corrupt'),
  };
}

export const pollingRoutes: Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/fleet/workers/status',
    tag: 'Fleet',
    summary: 'Whether polling runs, and how well',
    description: 'Of the whole installation: counters since each worker started, at most five seconds old.',
    permission: 'workers:read',
    replies: {
      200: Type.Object(
        {
          health_worker: HealthWorker,
          metrics_worker: MetricsWorker,
          polling: Polling,
          conditions: Type.Array(Condition, {
            description: 'What is wrong with the installation itself, as far as its processes can tell.',
          }),
          timestamp: Type.String({ format: 'date-time' }),
        },
        { title: 'WorkersStatus', additionalProperties: false },
      ),
    },
    async handler({ db, clock, settings }) {
      const [{ workers, slotsLeased }, conditions] = await Promise.all([
        liveWorkers(db.system),
        currentConditions(db.system),
      ]);
      const running = workers.length > 0;
      const health = sum(workers.map(stats => stats.health));
      const metrics = sum(workers.map(stats => stats.metrics));
      return ok({
        health_worker: {
          running,
          interval_seconds: settings.healthIntervalMs / 1000,
          checks_performed: health.performed,
          checks_successful: health.successful,
          checks_failed: health.failed,
          ...health.shared,
        },
        metrics_worker: {
          running,
          interval_seconds: settings.metricsIntervalMs / 1000,
          collections_performed: metrics.performed,
          collections_successful: metrics.successful,
          collections_failed: metrics.failed,
          total_metrics_collected: workers.reduce((n, stats) => n + stats.metrics.valuesCollected, 0),
          ...metrics.shared,
        },
        polling: {
          workers: workers.length,
          slots_leased: slotsLeased,
          lateness_p99_seconds: Math.max(0, ...workers.map(stats => stats.latenessP99Seconds)),
          spooled: sumSpooled(workers),
        },
        conditions: Object.entries(conditions).map(([condition, holds]) => ({ condition, ...holds })),
        timestamp: clock.now(),
      });
    },
  }),
];
