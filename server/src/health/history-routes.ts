import { Type } from 'typebox';
import { KeptFrom, keptFromJson } from '../organizations/kept-from.ts';
import { toldOf } from '../organizations/retention.ts';
import { readHorizons } from '../organizations/store.ts';
import { exportOf, FormatName } from '../platform/http/export.ts';
import { okUnlessKnown } from '../platform/http/if-none-match.ts';
import { type Route, route } from '../platform/http/route.ts';
import { timeRangeOf, timeRangeQuery } from '../platform/http/time-range.ts';
import { ServerPath, serverIdOf, serverNotFound } from '../servers/routes.ts';
import { checkStatuses, listHealthChecks } from './history.ts';

const Instant = Type.String({ format: 'date-time' });
const MaybeInteger = Type.Union([Type.Integer(), Type.Null()]);
const MaybeText = Type.Union([Type.String(), Type.Null()]);
const MaybeHealthy = Type.Union([Type.Boolean(), Type.Null()], {
  description: 'Null: the check did not tell.',
});
const MaybeObject = Type.Union([Type.Record(Type.String(), Type.Unknown()), Type.Null()]);

export const HealthCheck = Type.Object(
  {
    id: Type.Integer(),
    server_id: Type.String({ format: 'uuid' }),
    timestamp: Type.String({ format: 'date-time', description: 'When the check started.' }),
    status: Type.String({ enum: [...checkStatuses] }),
    reason: Type.String({ description: 'Why, as a stable name: ok, component_failed, timeout, refused, …' }),
    response_time_ms: MaybeInteger,
    database_healthy: MaybeHealthy,
    redis_healthy: MaybeHealthy,
    services_healthy: MaybeHealthy,
    error_message: MaybeText,
    error_details: MaybeObject,
    created_at: Instant,
  },
  { title: 'HealthCheck', additionalProperties: false },
);

const maxChecks = 1_000;

export const healthHistoryRoutes: Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/fleet/servers/:id/health-history',
    tag: 'Health',
    summary: 'List the health checks of a server, newest first',
    permission: 'fleet:read',
    params: ServerPath,
    query: Type.Object(
      {
        ...timeRangeQuery,
        limit: Type.Optional(Type.Integer({ minimum: 1, maximum: maxChecks, description: 'Default 100.' })),
      },
      { additionalProperties: false },
    ),
    replies: {
      200: Type.Object(
        {
          server_id: Type.String({ format: 'uuid' }),
          health_checks: Type.Array(HealthCheck),
          count: Type.Integer(),
          truncated: Type.Boolean({ description: 'Whether the range holds more checks than limit.' }),
          kept_from: KeptFrom,
        },
        { title: 'HealthHistory', additionalProperties: false },
      ),
      304: null,
    },
    async handler(context, { params, query, headers }, { db }) {
      const id = serverIdOf(params);
      const range = timeRangeOf(query);
      const { checks } = await readHorizons(context, db);
      const page = await listHealthChecks(db, id, { ...toldOf(range, checks), limit: query.limit ?? 100 });
      if (page === null) throw serverNotFound();
      return okUnlessKnown(
        headers,
        `{"server_id":"${id}","health_checks":${page.rows},"count":${page.count},"truncated":${page.truncated},${keptFromJson(checks)}}`,
      );
    },
  }),
  route({
    method: 'GET',
    path: '/api/v1/fleet/servers/:id/health-history/export',
    tag: 'Health',
    summary: 'Download all health checks of a range, newest first',
    description: 'However many there are. Without a range, all that is kept.',
    permission: 'fleet:read',
    params: ServerPath,
    query: Type.Object({ ...timeRangeQuery, format: FormatName }, { additionalProperties: false }),
    replies: { 200: Type.String({ description: 'The file.' }) },
    async handler(context, { params, query }, { db }) {
      const id = serverIdOf(params);
      const asked = timeRangeOf(query);
      const range = toldOf(asked, (await readHorizons(context, db)).checks);
      const file = await exportOf(
        to => listHealthChecks(db, id, { from: range.from, to: to ?? range.to, limit: maxChecks }),
        {
          name: `health-${id}`,
          format: query.format ?? 'csv',
          columns: Object.keys(HealthCheck.properties),
        },
      );
      if (file === null) throw serverNotFound();
      return file;
    },
  }),
];
