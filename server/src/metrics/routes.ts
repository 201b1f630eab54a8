import { Type } from 'typebox';
import { KeptFrom, keptFromJson } from '../organizations/kept-from.ts';
import { type Horizons, toldOf } from '../organizations/retention.ts';
import { readHorizons } from '../organizations/store.ts';
import { invalidField } from '../platform/http/errors.ts';
import { exportOf, FormatName } from '../platform/http/export.ts';
import { okUnlessKnown } from '../platform/http/if-none-match.ts';
import { type Route, route } from '../platform/http/route.ts';
import { oneOf } from '../platform/http/schemas.ts';
import { timeRangeOf, timeRangeQuery } from '../platform/http/time-range.ts';
import { ServerPath, serverIdOf, serverNotFound } from '../servers/routes.ts';
import { historyNameOf, MetricRow, type Period, periodFor, periods } from './metric.ts';
import { listMetrics, type MetricsQuery } from './store.ts';

const maxRows = 10_000;
/** Some milliseconds of this process for each page. */
const exportedAtOnce = 1_000;
const dayMs = 86_400_000;
const defaultPoints = 500;
const PeriodName = Type.Unsafe<Period | 'auto'>(
  Type.String({
    enum: [...periods, 'auto'],
    description: 'Default 1m. auto: the shortest of which the range has at most `points`.',
  }),
);

export const metricRoutes: Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/fleet/servers/:id/metrics',
    tag: 'Metrics',
    summary: 'List the metrics of a server, newest first',
    description:
      'Period 1m is what was collected. Longer periods are summed up from it: the mean of what goes up and down, ' +
      'the last value of what only grows (bytes, requests, cost), so that counters stay counters. ' +
      'They begin at multiples of their length in UTC, carry the id of their newest collection, and the newest ' +
      'one may still be filling. Without a range the newest rows are listed; with period=auto, the last day.',
    permission: 'fleet:read',
    params: ServerPath,
    query: Type.Object(
      {
        ...timeRangeQuery,
        period: Type.Optional(PeriodName),
        points: Type.Optional(
          Type.Integer({ minimum: 1, maximum: maxRows, description: 'With period=auto alone. Default 500.' }),
        ),
        limit: Type.Optional(
          Type.Integer({
            minimum: 1,
            maximum: maxRows,
            description: 'Default 1000; with period=auto what `points` says.',
          }),
        ),
      },
      { additionalProperties: false },
    ),
    replies: {
      200: Type.Object(
        {
          server_id: Type.String({ format: 'uuid' }),
          period: Type.String({ enum: [...periods] }),
          metrics: Type.Array(MetricRow),
          count: Type.Integer(),
          truncated: Type.Boolean({ description: 'Whether the range holds more rows than limit.' }),
          kept_from: KeptFrom,
        },
        { title: 'MetricHistory', additionalProperties: false },
      ),
      304: null,
    },
    async handler(context, { params, query, headers }, { db }) {
      const id = serverIdOf(params);
      const horizons = await readHorizons(context, db);
      const chosen = chooseRows(query, horizons, context.clock.now());
      const { period } = chosen;
      const page = await listMetrics(db, id, chosen);
      if (page === null) throw serverNotFound();
      return okUnlessKnown(
        headers,
        `{"server_id":"${id}","period":"${period}","metrics":${page.rows},"count":${page.count},"truncated":${page.truncated},${keptFromJson(horizons[historyNameOf(period)])}}`,
      );
    },
  }),
  route({
    method: 'GET',
    path: '/api/v1/fleet/servers/:id/metrics/export',
    tag: 'Metrics',
    summary: 'Download all metrics of a range, newest first',
    description: 'However many there are. Without a range, all that is kept of the period.',
    permission: 'fleet:read',
    params: ServerPath,
    query: Type.Object(
      { ...timeRangeQuery, period: Type.Optional(oneOf<Period>(periods)), format: FormatName },
      { additionalProperties: false },
    ),
    replies: { 200: Type.String({ description: 'The file.' }) },
    async handler(context, { params, query }, { db }) {
      const id = serverIdOf(params);
      const period = query.period ?? '1m';
      const horizons = await readHorizons(context, db);
      const range = toldOf(timeRangeOf(query), horizons[historyNameOf(period)]);
      const file = await exportOf(
        to => listMetrics(db, id, { from: range.from, to: to ?? range.to, period, limit: exportedAtOnce }),
        {
          name: `metrics-${period}-${id}`,
          format: query.format ?? 'csv',
          columns: Object.keys(MetricRow.properties),
        },
      );
      if (file === null) throw serverNotFound();
      return file;
    },
  }),
];

type RowsQuery = {
  start_time?: string;
  end_time?: string;
  period?: Period | 'auto';
  points?: number;
  limit?: number;
};

function chooseRows(query: RowsQuery, horizons: Horizons, now: Date): MetricsQuery {
  const range = timeRangeOf(query);
  const { period = '1m', points } = query;
  if (period !== 'auto') {
    if (points !== undefined) throw invalidField('/query/points', 'goes with period=auto alone');
    return { ...toldOf(range, horizons[historyNameOf(period)]), period, limit: query.limit ?? 1_000 };
  }
  const to = range.to ?? now;
  const from = range.from ?? new Date(to.getTime() - dayMs);
  const wanted = points ?? defaultPoints;
  const chosen = periodFor({ from, to }, wanted, horizons);
  const told = toldOf({ from, to: range.to }, horizons[historyNameOf(chosen)]);
  return { ...told, period: chosen, limit: query.limit ?? wanted };
}
