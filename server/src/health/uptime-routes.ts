import { Type } from 'typebox';
import type { Horizon } from '../organizations/retention.ts';
import { readHorizons } from '../organizations/store.ts';
import { okUnlessKnown } from '../platform/http/if-none-match.ts';
import { type Route, route } from '../platform/http/route.ts';
import { timeRangeQuery } from '../platform/http/time-range.ts';
import { ServerPath, serverIdOf, serverNotFound } from '../servers/routes.ts';
import { Count, report as reportFields, Uptime } from './report-schema.ts';
import { healthRangeOf } from './request-range.ts';
import { reportOf, uptimeOf } from './uptime.ts';
import { type HealthRange, readFleetHealth, readServerHealth } from './uptime-store.ts';

const maxWorst = 100;
const defaultWorst = 10;

const rangeNote =
  'Without a range, the last 24 hours. Where checks are no longer kept, the range is widened to whole periods of what is ' +
  'kept of them; start_time and end_time tell what was answered.';

export const uptimeRoutes: Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/fleet/servers/:id/uptime',
    tag: 'Health',
    summary: 'Tell how long a server was in each state, and how fast it answered',
    description: rangeNote,
    permission: 'fleet:read',
    params: ServerPath,
    query: Type.Object({ ...timeRangeQuery }, { additionalProperties: false }),
    replies: {
      200: Type.Object(
        { server_id: Type.String({ format: 'uuid' }), ...reportFields },
        { title: 'ServerUptime', additionalProperties: false },
      ),
      304: null,
    },
    async handler(context, { params, query, headers }, { db }) {
      const id = serverIdOf(params);
      const horizons = await readHorizons(context, db);
      const range = healthRangeOf(context, query, { part: 'query', horizons });
      const sums = await readServerHealth(db, id, range);
      if (sums === null) throw serverNotFound();
      const report = reportOf(sums, { lengthMs: lengthOf(range), servers: 1 });
      return okUnlessKnown(headers, JSON.stringify({ server_id: id, ...shown(range), ...report }));
    },
  }),
  route({
    method: 'GET',
    path: '/api/v1/fleet/health/overview',
    tag: 'Health',
    summary: 'Tell how the servers were together, and which were worst',
    description: rangeNote,
    permission: 'fleet:read',
    query: Type.Object(
      {
        ...timeRangeQuery,
        worst: Type.Optional(
          Type.Integer({
            minimum: 0,
            maximum: maxWorst,
            description: `How many to name. Default ${defaultWorst}.`,
          }),
        ),
      },
      { additionalProperties: false },
    ),
    replies: {
      200: Type.Object(
        {
          servers: Type.Object(
            {
              total: Count,
              without_data: Type.Integer({ description: 'Of these nothing is known in the whole range.' }),
            },
            { title: 'OverviewServers', additionalProperties: false },
          ),
          ...reportFields,
          worst: Type.Array(
            Type.Object(
              {
                server_id: Type.String({ format: 'uuid' }),
                name: Type.String(),
                uptime: Uptime,
              },
              { title: 'WorstServer', additionalProperties: false },
            ),
            { description: 'Those that were down for some of the time, the least uptime first.' },
          ),
        },
        { title: 'HealthOverview', additionalProperties: false },
      ),
      304: null,
    },
    async handler(context, { query, headers }, { db }) {
      const horizons = await readHorizons(context, db);
      const range = healthRangeOf(context, query, { part: 'query', horizons });
      const fleet = await readFleetHealth(db, range, query.worst ?? defaultWorst);
      const body = {
        servers: { total: fleet.servers, without_data: fleet.servers - fleet.known },
        ...shown(range),
        ...reportOf(fleet.sums, { lengthMs: lengthOf(range), servers: fleet.servers }),
        worst: fleet.worst.map(({ id, name, ...held }) => ({ server_id: id, name, uptime: uptimeOf(held) })),
      };
      return okUnlessKnown(headers, JSON.stringify(body));
    },
  }),
];

const shown = ({ from, to, keptFrom }: HealthRange & Horizon) => ({
  start_time: from,
  end_time: to,
  kept_from: keptFrom,
});
const lengthOf = ({ from, to }: HealthRange): number => to.getTime() - from.getTime();
