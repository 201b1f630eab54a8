import { Type } from 'typebox';
import {
  eachOfSelected,
  type NamedServer,
  ofLasting,
  type ServerSelection,
  selectionOf,
} from '../groups/selection.ts';
import type { TenantDb } from '../platform/db.ts';
import { invalidField } from '../platform/http/errors.ts';
import { FormatName, fileOf, linesAtOnce, type Row } from '../platform/http/export.ts';
import { type Route, route } from '../platform/http/route.ts';
import { beginsOf, HealthQueryBody, maxPeriods, maxServers, timelineAsked } from './query-routes.ts';
import type { Timeline } from './uptime.ts';
import { type HealthRange, readTimelines, type ServerTimeline } from './uptime-store.ts';

const { limit: _limit, cursor: _cursor, ...asked } = HealthQueryBody.properties;

export const healthExportRoutes: Route[] = [
  route({
    method: 'POST',
    path: '/api/v1/fleet/health/query/export',
    tag: 'Health',
    summary: 'Download for how long of each period many servers were in each state',
    description:
      'What `POST /api/v1/fleet/health/query` answers, of all selected servers, however many there are, and sent while it is ' +
      'read: server_id, name, timestamp and the milliseconds of four states, a line for each server and period. Servers come ' +
      'in the order of their ids; one of which nothing is known in the range has lines without numbers. At most ' +
      `${maxPeriods.toLocaleString('en')} periods. What fails after the first lines ends the connection without the file's end.`,
    permission: 'fleet:read',
    body: Type.Object(
      { ...asked, format: FormatName },
      { title: 'HealthExport', additionalProperties: false },
    ),
    replies: { 200: Type.String({ description: 'The file.' }) },
    async handler(context, { body }, { db }) {
      const { timeline, range } = await timelineAsked(context, db, body);
      const { period, count } = timeline;
      if (count > maxPeriods)
        throw invalidField(
          '/period',
          `the range has ${count} periods of ${period}, and ${maxPeriods} at most are returned: choose longer periods or a shorter range`,
        );
      const selection = await selectionOf(db, body.servers ?? {}, '/servers');
      return fileOf(ofLasting(db, selection, pagesOf(db, selection, { timeline, range })), {
        name: `health-${period}`,
        format: body.format ?? 'csv',
        columns: ['server_id', 'name', 'timestamp', ...states],
      });
    },
  }),
];

const states = ['healthy_ms', 'degraded_ms', 'critical_ms', 'unreachable_ms'] as const;

async function* pagesOf(
  db: TenantDb,
  selection: ServerSelection,
  { timeline, range }: { timeline: Timeline; range: HealthRange },
): AsyncGenerator<Iterable<Row>> {
  const timestamps = beginsOf(timeline).map(each => each.toISOString());
  const atOnce = Math.min(maxServers, Math.max(1, Math.floor(linesAtOnce / timeline.count)));
  for await (const servers of eachOfSelected(db, selection, atOnce)) {
    const ids = servers.map(({ id }) => id);
    const found = await readTimelines(db, ids, range, timeline);
    yield rowsOf(servers, timestamps, new Map(found.map(each => [each.id, each])));
  }
}

function* rowsOf(
  servers: readonly NamedServer[],
  timestamps: readonly string[],
  found: ReadonlyMap<string, ServerTimeline>,
): Generator<Row> {
  for (const { id, name } of servers) {
    const known = found.get(id);
    for (const [place, timestamp] of timestamps.entries())
      yield {
        server_id: id,
        name,
        timestamp,
        ...Object.fromEntries(states.map(state => [state, known?.[state][place] ?? null])),
      };
  }
}
