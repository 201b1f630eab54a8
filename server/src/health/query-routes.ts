import { type Static, Type } from 'typebox';
import type { Context } from '../context.ts';
import { countSelected, pageOfSelected, ServerSelectionBody, selectionOf } from '../groups/selection.ts';
import { KeptFrom } from '../organizations/kept-from.ts';
import type { Horizon } from '../organizations/retention.ts';
import { readHorizons } from '../organizations/store.ts';
import type { TenantDb } from '../platform/db.ts';
import { invalidField } from '../platform/http/errors.ts';
import { ok, type Route, route } from '../platform/http/route.ts';
import { oneOf } from '../platform/http/schemas.ts';
import { timeRangeQuery } from '../platform/http/time-range.ts';
import { type RollupPeriod, rollupPeriodMs, rollupPeriods } from '../rollups/rollup.ts';
import { Instant, Uptime } from './report-schema.ts';
import { healthRangeOf } from './request-range.ts';
import { type Timeline, timelineOf, uptimeOf } from './uptime.ts';
import { type HealthRange, readTimelines, type ServerTimeline } from './uptime-store.ts';

const defaultPoints = 48;
const maxPoints = 1_000;
const defaultServers = 50;
export const maxServers = 500;
/** Servers times periods: what the strips of a long list have, ten times over. */
export const maxPeriods = 100_000;

const Lengths = Type.Array(Type.Integer(), { description: 'Milliseconds, one for each of the timestamps.' });

export const HealthQueryBody = Type.Object(
  {
    servers: Type.Optional(ServerSelectionBody),
    ...timeRangeQuery,
    period: Type.Optional(
      oneOf<RollupPeriod | 'auto'>([...rollupPeriods, 'auto'], {
        description: 'Default auto: the shortest of which the range has at most `points`.',
      }),
    ),
    points: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: maxPoints,
        description: `With period=auto alone. Default ${defaultPoints}.`,
      }),
    ),
    limit: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: maxServers,
        description: `Servers on a page, by name. Default ${defaultServers}.`,
      }),
    ),
    cursor: Type.Optional(Type.String({ maxLength: 1_000, description: 'next_cursor of the page before.' })),
  },
  { title: 'HealthQuery', additionalProperties: false },
);

/** The periods that a body asks for, and the time of them that is over. */
export async function timelineAsked(
  context: Pick<Context, 'clock' | 'settings'>,
  db: TenantDb,
  body: Omit<Static<typeof HealthQueryBody>, 'servers' | 'limit' | 'cursor'>,
): Promise<{ timeline: Timeline; range: HealthRange & Horizon }> {
  const { period = 'auto', points } = body;
  if (period !== 'auto' && points !== undefined) throw invalidField('/points', 'goes with period=auto alone');
  const horizons = await readHorizons(context, db);
  const asked = healthRangeOf(context, body, { part: 'body', horizons });
  const timeline = timelineOf(asked, period, { points: points ?? defaultPoints, horizons });
  const { from, to } = timeline;
  const now = context.clock.now();
  return { timeline, range: { ...asked, ...horizons[timeline.period], from, to: to < now ? to : now } };
}

export const healthQueryRoutes: Route[] = [
  route({
    method: 'POST',
    path: '/api/v1/fleet/health/query',
    tag: 'Health',
    summary: 'Ask for how long of each period many servers were in each state',
    description:
      'Reads only. The periods are those that the range lies in, by default the last 24 hours; the newest may still be ' +
      'filling. What of a period is in none of the four lists is unknown. A server of which nothing is known in the range ' +
      'has null for each list.',
    permission: 'fleet:read',
    body: HealthQueryBody,
    replies: {
      200: Type.Object(
        {
          period: Type.String({ enum: [...rollupPeriods] }),
          start_time: Instant,
          end_time: Type.String({ format: 'date-time', description: 'Where the last period ends.' }),
          kept_from: KeptFrom,
          timestamps: Type.Array(Type.String({ format: 'date-time' }), {
            description: 'Where each period begins.',
          }),
          servers: Type.Object(
            {
              total: Type.Integer({ description: 'Servers that are selected.' }),
              read: Type.Integer({ description: 'Those on this page.' }),
              without_data: Type.Integer({
                description: 'Those of them of which nothing is known in the range.',
              }),
            },
            { title: 'HealthQueryServers', additionalProperties: false },
          ),
          series: Type.Array(
            Type.Object(
              {
                server_id: Type.String({ format: 'uuid' }),
                name: Type.String(),
                uptime: Uptime,
                healthy_ms: Type.Union([Lengths, Type.Null()]),
                degraded_ms: Type.Union([Lengths, Type.Null()]),
                critical_ms: Type.Union([Lengths, Type.Null()]),
                unreachable_ms: Type.Union([Lengths, Type.Null()]),
              },
              { title: 'HealthSeries', additionalProperties: false },
            ),
          ),
          next_cursor: Type.Union([Type.String(), Type.Null()]),
        },
        { title: 'HealthQueryReply', additionalProperties: false },
      ),
    },
    async handler(context, { body }, { db }) {
      const { limit = defaultServers, cursor } = body;
      const { timeline, range } = await timelineAsked(context, db, body);
      if (timeline.count * limit > maxPeriods) throw tooMany(timeline, limit);
      const selection = await selectionOf(db, body.servers ?? {}, '/servers');
      const [total, { page, next }] = await Promise.all([
        countSelected(db, selection),
        pageOfSelected(db, selection, { limit, cursor, pointer: '/cursor' }),
      ]);
      const ids = page.map(({ id }) => id);
      const found = new Map((await readTimelines(db, ids, range, timeline)).map(each => [each.id, each]));
      return ok({
        period: timeline.period,
        start_time: timeline.from,
        end_time: timeline.to,
        kept_from: range.keptFrom,
        timestamps: beginsOf(timeline),
        servers: { total, read: page.length, without_data: page.length - found.size },
        series: page.map(({ id, name }) => ({ server_id: id, name, ...shown(found.get(id)) })),
        next_cursor: next,
      });
    },
  }),
];

const tooMany = ({ period, count }: Timeline, limit: number) =>
  invalidField(
    '/period',
    `${limit} servers in ${count} periods of ${period} are ${limit * count} values, and ${maxPeriods} at most are returned: choose longer periods, a shorter range or a smaller page`,
  );

/** Where each period begins. */
export const beginsOf = ({ period, from, count }: Timeline): Date[] =>
  Array.from({ length: count }, (_, place) => new Date(from.getTime() + place * rollupPeriodMs[period]));

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

function shown(timeline: ServerTimeline | undefined) {
  if (timeline === undefined) {
    const nothing = { healthy_ms: null, degraded_ms: null, critical_ms: null, unreachable_ms: null };
    return { uptime: { percent: null, up_ms: 0, known_ms: 0 }, ...nothing };
  }
  const { healthy_ms, degraded_ms, critical_ms, unreachable_ms } = timeline;
  const uptime = uptimeOf({
    healthy_ms: sum(healthy_ms),
    degraded_ms: sum(degraded_ms),
    critical_ms: sum(critical_ms),
    unreachable_ms: sum(unreachable_ms),
  });
  return { uptime, healthy_ms, degraded_ms, critical_ms, unreachable_ms };
}
