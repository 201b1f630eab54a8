import { type Static, Type } from 'typebox';
import type { Context } from '../context.ts';
import { healthStatuses } from '../events/event.ts';
import {
  countSelected,
  type ServerSelection,
  selectionOf,
  serverSelectionQuery,
} from '../groups/selection.ts';
import { KeptFrom } from '../organizations/kept-from.ts';
import { readHorizons } from '../organizations/store.ts';
import type { TenantDb } from '../platform/db.ts';
import { okUnlessKnown } from '../platform/http/if-none-match.ts';
import { type Route, route } from '../platform/http/route.ts';
import { nullable } from '../platform/http/schemas.ts';
import { closedRangeOf, timeRangeQuery } from '../platform/http/time-range.ts';
import { createRecent } from '../platform/recent.ts';
import { fleetNow, fleetPeriods, lastDay } from './fleet-store.ts';
import { metricEntries, metricFields, periods } from './metric.ts';
import { metricsRolledUntil, type RolledUntil } from './period-sums.ts';
import { type Grid, gridOf } from './query.ts';
import { PeriodName, servers } from './query-body.ts';

const dayMs = 86_400_000;
const defaultPoints = 25;

const Count = Type.Integer();
const SelectionQuery = Type.Object(serverSelectionQuery, { additionalProperties: false });

export const AggregatedQuery = Type.Object(
  {
    ...serverSelectionQuery,
    ...timeRangeQuery,
    period: Type.Optional(PeriodName('Default auto: the shortest of which the range has at most `points`.')),
    points: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 1_000,
        description: `With period=auto. Default ${defaultPoints}.`,
      }),
    ),
  },
  { additionalProperties: false },
);

export const PeriodRow = Type.Object(
  {
    timestamp: Type.String({ format: 'date-time', description: 'Where the period begins.' }),
    servers: Type.Integer({ description: 'Servers that told something in it.' }),
    ...Object.fromEntries(
      metricEntries.map(([field, { kind, unit }]) => {
        const what =
          unit === 'percent'
            ? 'mean of the servers'
            : kind === 'gauge'
              ? 'sum of the servers'
              : 'grown in the period';
        return [field, Type.Union([Type.Number(), Type.Null()], { description: `${unit}, ${what}` })];
      }),
    ),
  },
  { title: 'FleetMetricRow', additionalProperties: false },
);

const Mean = Type.Object(
  { mean: nullable(Type.Number()), servers: Type.Integer({ description: 'That the mean is of.' }) },
  { title: 'FleetMean', additionalProperties: false },
);
const Sum = Type.Object(
  { sum: Type.Number(), servers: Type.Integer({ description: 'That the sum is of.' }) },
  { title: 'FleetSum', additionalProperties: false },
);
const Grown = Type.Object(
  {
    total: Type.Number({ description: 'What the servers told last, also those that are silent now.' }),
    servers: Type.Integer({ description: 'That the total is of.' }),
    recent: Type.Number({ description: 'By how much it grew since recent_since.' }),
    recent_servers: Type.Integer({ description: 'That the growth is of.' }),
  },
  { title: 'FleetGrown', additionalProperties: false },
);

const Summary = Type.Object(
  {
    servers: Type.Object(
      {
        total: Count,
        active: Type.Integer({ description: 'Servers that are polled; all that follows is of these.' }),
        reporting: Type.Integer({ description: 'Those with metrics of the last three intervals.' }),
        silent: Type.Integer({
          description: 'Those whose metrics are older; they are in no mean and no sum of metrics.',
        }),
        never_reported: Count,
        oldest_metrics_at: nullable(
          Type.String({
            format: 'date-time',
            description: 'The oldest metrics that are in the means and sums.',
          }),
        ),
      },
      { additionalProperties: false },
    ),
    health: Type.Object(Object.fromEntries(healthStatuses.map(status => [status, Count])), {
      additionalProperties: false,
    }),
    metrics: Type.Object(
      Object.fromEntries(
        Object.entries(metricFields)
          .filter(([, { kind }]) => kind === 'gauge')
          .map(([field, { unit }]) => [field, unit === 'percent' ? Mean : Sum]),
      ),
      { additionalProperties: false, description: 'Of the servers that report.' },
    ),
    llm: Type.Object(
      {
        recent_since: Type.String({
          format: 'date-time',
          description: 'Where the first hour begins that lies within the last 24.',
        }),
        llm_requests: Grown,
        llm_cost_usd: Grown,
      },
      { additionalProperties: false },
    ),
  },
  { title: 'FleetMetricSummary', additionalProperties: false },
);

export type PeriodsAsked = {
  selection: ServerSelection;
  /** How many servers are selected. */
  total: number;
  grid: Grid;
  rolledUntil: RolledUntil;
};

/** The servers and periods that a query asks for. */
export async function periodsAsked(
  context: Pick<Context, 'clock' | 'settings'>,
  db: TenantDb,
  query: Static<typeof AggregatedQuery> & { inParts?: boolean },
): Promise<PeriodsAsked> {
  const {
    start_time: _from,
    end_time: _to,
    period = 'auto',
    points = defaultPoints,
    inParts = false,
    ...selected
  } = query;
  const range = closedRangeOf(query, { part: 'query', now: context.clock.now(), lengthMs: dayMs });
  const selection = await selectionOf(db, selected);
  const total = await countSelected(db, selection);
  const grid = gridOf({
    ...range,
    period,
    points,
    servers: total,
    returns: 'one',
    inParts,
    horizons: await readHorizons(context, db),
    pointer: name => `/query/${name}`,
  });
  return { selection, total, grid, rolledUntil: await metricsRolledUntil(db) };
}

export const fleetMetricRoutes: Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/fleet/metrics/aggregated',
    tag: 'Metrics',
    summary: 'All metrics of many servers together, period by period, newest first',
    description:
      'By default of all servers over the last day, in hours. The range chooses the periods that begin in it; the newest ' +
      'may still be filling. Percentages are means of the servers, each counting once; services and users are sums of ' +
      "the servers' means; bytes, requests and cost are what they grew by in the period. `servers` says of how many. " +
      'A period in which nobody told anything has no row.',
    permission: 'fleet:read',
    query: AggregatedQuery,
    replies: {
      200: Type.Object(
        {
          period: Type.String({ enum: [...periods] }),
          start_time: Type.String({ format: 'date-time', description: 'Where the first period begins.' }),
          end_time: Type.String({ format: 'date-time', description: 'Where the last period ends.' }),
          servers,
          kept_from: KeptFrom,
          metrics: Type.Array(PeriodRow),
          count: Count,
        },
        { title: 'FleetMetrics', additionalProperties: false },
      ),
      304: null,
    },
    async handler(context, { query, headers }, { db }) {
      const { selection, total, grid, rolledUntil } = await periodsAsked(context, db, query);
      const { rows, count, withData } = await fleetPeriods(db, selection, { grid, rolledUntil });
      const head = {
        period: grid.period,
        start_time: grid.from.toISOString(),
        end_time: grid.to.toISOString(),
        servers: { total, read: total, without_data: total - withData },
        kept_from: grid.keptFrom,
      };
      return okUnlessKnown(
        headers,
        `${JSON.stringify(head).slice(0, -1)},"metrics":${rows},"count":${count}}`,
      );
    },
  }),
  route({
    method: 'GET',
    path: '/api/v1/fleet/metrics/summary',
    tag: 'Metrics',
    summary: 'What many servers come to now, at most a second old',
    description:
      'Health, means and sums of the newest metrics, requests and cost. Every number says of how many servers it is. ' +
      'Who has told nothing for three intervals is silent and in no mean; what is not polled is counted in total alone.',
    permission: 'fleet:read',
    query: SelectionQuery,
    replies: { 200: Type.Object({ summary: Summary }, { additionalProperties: false }), 304: null },
    async handler(context, { query, headers }, { db }) {
      const summary = await summaries(context)(JSON.stringify([db.organizationId, query]), async () => {
        const now = context.clock.now();
        const { metricsIntervalMs: intervalMs } = context.settings;
        const selection = await selectionOf(db, query);
        const rolledUntil = await metricsRolledUntil(db);
        return fleetNow(db, selection, { now, intervalMs, recent: lastDay(now), rolledUntil });
      });
      return okUnlessKnown(headers, `{"summary":${summary}}`);
    },
  }),
];

const maxAgeMs = 1_000;
const perContext = new WeakMap<Context, ReturnType<typeof createRecent<string>>>();

/** A summary reads a day of everybody: one serves all who ask within a second. */
function summaries(context: Context): ReturnType<typeof createRecent<string>> {
  const known =
    perContext.get(context) ?? createRecent<string>({ clock: context.clock, maxAgeMs, maxEntries: 1_000 });
  perContext.set(context, known);
  return known;
}
