import { Type } from 'typebox';
import { okJson, type Route, route } from '../platform/http/route.ts';
import { timeRangeOf, timeRangeQuery } from '../platform/http/time-range.ts';
import { ServerPath, serverIdOf, serverNotFound } from '../servers/routes.ts';
import { MetricRow, type Period, periods } from './metric.ts';
import { listMetrics } from './store.ts';

const maxRows = 10_000;
const PeriodName = Type.Unsafe<Period>(Type.String({ enum: [...periods], description: 'Default 1m.' }));

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
      'one may still be filling. Without a range the newest rows are listed.',
    permission: 'fleet:read',
    params: ServerPath,
    query: Type.Object(
      {
        ...timeRangeQuery,
        period: Type.Optional(PeriodName),
        limit: Type.Optional(Type.Integer({ minimum: 1, maximum: maxRows, description: 'Default 1000.' })),
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
        },
        { title: 'MetricHistory', additionalProperties: false },
      ),
    },
    async handler(_context, { params, query }, { db }) {
      const id = serverIdOf(params);
      const { period = '1m', limit = 1_000 } = query;
      const page = await listMetrics(db, id, { ...timeRangeOf(query), period, limit });
      if (page === null) throw serverNotFound();
      return okJson(
        `{"server_id":"${id}","period":"${period}","metrics":${page.rows},"count":${page.count},"truncated":${page.truncated}}`,
      );
    },
  }),
];
