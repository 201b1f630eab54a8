import { Type } from 'typebox';
import { healthStatuses } from '../events/event.ts';
import { pageOfSelected, selectionOf, serverSelectionQuery } from '../groups/selection.ts';
import { readHorizons } from '../organizations/store.ts';
import { okJson, type Route, route } from '../platform/http/route.ts';
import { Instant, nullable } from '../platform/http/schemas.ts';
import { ServerPath, serverIdOf, serverNotFound } from '../servers/routes.ts';
import { healthDoubts } from '../servers/server.ts';
import { currentHealth, currentHealthOf } from './current-store.ts';
import { HealthCheck } from './history-routes.ts';

const maxServers = 1_000;

const {
  id: _id,
  server_id: _serverId,
  error_details: _details,
  created_at: _createdAt,
  ...short
} = HealthCheck.properties;
const ShortCheck = Type.Object(short, { title: 'ShortHealthCheck', additionalProperties: false });

const HealthNow = Type.Object(
  {
    server_id: Type.String({ format: 'uuid' }),
    name: Type.String(),
    health_status: Type.String({ enum: [...healthStatuses] }),
    reason: Type.String(),
    since: Instant,
    latest_check: nullable(ShortCheck),
  },
  { title: 'HealthNow', additionalProperties: false },
);

export const currentHealthRoutes: Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/fleet/health',
    tag: 'Health',
    summary: 'List what is known of the health of many servers now, by name',
    description:
      'What a wall of servers shows, a thousand at once. health_status is what is believed after several checks; ' +
      'latest_check is what the newest one alone found, null where a server was never checked.',
    permission: 'fleet:read',
    query: Type.Object(
      {
        ...serverSelectionQuery,
        limit: Type.Optional(
          Type.Integer({ minimum: 1, maximum: maxServers, description: `Default ${maxServers}.` }),
        ),
        cursor: Type.Optional(
          Type.String({ maxLength: 1_000, description: 'next_cursor of the page before.' }),
        ),
      },
      { additionalProperties: false },
    ),
    replies: {
      200: Type.Object(
        { servers: Type.Array(HealthNow), count: Type.Integer(), next_cursor: nullable(Type.String()) },
        { title: 'FleetHealth', additionalProperties: false },
      ),
    },
    async handler(context, { query }, { db }) {
      const { limit = maxServers, cursor, ...selected } = query;
      const selection = await selectionOf(db, selected);
      const [horizons, { page, next }] = await Promise.all([
        readHorizons(context, db),
        pageOfSelected(db, selection, { limit, cursor, pointer: '/query/cursor' }),
      ]);
      const ids = page.map(({ id }) => id);
      const servers = await currentHealthOf(db, ids, horizons.checks.readFrom);
      return okJson(`{"servers":${servers},"count":${page.length},"next_cursor":${JSON.stringify(next)}}`);
    },
  }),
  route({
    method: 'GET',
    path: '/api/v1/fleet/servers/:id/health',
    tag: 'Health',
    summary: 'Get what is known of the health of a server now',
    description:
      'The status is what is believed after several checks; latest_check is what the last one alone found.',
    permission: 'fleet:read',
    params: ServerPath,
    replies: {
      200: Type.Object(
        {
          server_id: Type.String({ format: 'uuid' }),
          health_status: Type.String({ enum: [...healthStatuses] }),
          reason: Type.String(),
          detail: nullable(Type.String()),
          since: Instant,
          ...healthDoubts,
          components: nullable(Type.Record(Type.String(), Type.Unknown())),
          last_seen_at: nullable(Instant),
          last_health_check_at: nullable(Instant),
          response_time_ms: nullable(Type.Integer()),
          latest_check: nullable(HealthCheck),
        },
        { title: 'ServerHealth', additionalProperties: false },
      ),
    },
    async handler(context, { params }, { db }) {
      const id = serverIdOf(params);
      const { readFrom } = (await readHorizons(context, db)).checks;
      const health = await currentHealth(db, id, readFrom);
      if (health === null) throw serverNotFound();
      return okJson(health);
    },
  }),
];
