import type { Context } from '../context.ts';
import { countSelected, pageOfSelected, type ServerSelection, selectionOf } from '../groups/selection.ts';
import type { Horizons } from '../organizations/retention.ts';
import { readHorizons } from '../organizations/store.ts';
import type { TenantDb } from '../platform/db.ts';
import { okJson, type Reply, type Route, route } from '../platform/http/route.ts';
import { closedRangeOf } from '../platform/http/time-range.ts';
import { metricsRolledUntil } from './period-sums.ts';
import { beginsOf, type GridRequest, gridOf, unitOf, valueOf } from './query.ts';
import {
  checkTogether,
  defaultPoints,
  defaultServers,
  MetricQueryBody,
  MetricQueryReply,
  topOf,
} from './query-body.ts';
import { type Reading, readFleet, readSeries, readTotals } from './query-store.ts';

const hourMs = 3_600_000;

export const metricQueryRoutes: Route[] = [
  route({
    method: 'POST',
    path: '/api/v1/fleet/metrics/query',
    tag: 'Metrics',
    summary: 'Ask for one metric of many servers: a series of each, one over all, or totals',
    description:
      'Reads only. The range, by default the last hour, chooses the periods that begin in it, and those are whole; the ' +
      'newest may still be filling. A period that nothing is known of is null, and a server that told nothing in the ' +
      'range is listed and counted. Period 1m is what was collected in each minute. A mean is that of all that was ' +
      'collected, not of means. What a counter grew by counts in the period in which its next value was told; where it ' +
      'fell it began again at zero; over more than 25 hours without a value nothing is known. Its rate is that growth ' +
      'by the time in which it came about, from the value before, so that neither a gap nor a period that is not over ' +
      'changes it. Values across servers count each server once, whatever its interval; percentiles are exact. At most ' +
      '200,000 values are returned, 10,000 periods, and 1,000,000 values of servers and periods read.',
    permission: 'fleet:read',
    body: MetricQueryBody,
    replies: { 200: MetricQueryReply },
    async handler(context, { body }, { db }) {
      const query = await queryOf(context, db, body);
      switch (body.by ?? 'server') {
        case 'server':
          return series(query);
        case 'fleet':
          return fleet(query);
        case 'total':
          return totals(query);
      }
    },
  }),
];

/** What a body asks for, of the servers of an organization. */
export type Query = {
  db: TenantDb;
  body: MetricQueryBody;
  selection: ServerSelection;
  value: Reading['value'];
  range: { from: Date; to: Date };
  horizons: Horizons;
};

/** The same as it was asked for, or `invalid`, naming what is wrong. */
export async function queryOf(
  context: Pick<Context, 'clock' | 'settings'>,
  db: TenantDb,
  body: MetricQueryBody,
): Promise<Query> {
  checkTogether(body);
  const value = valueOf(body.field, body.value);
  const range = closedRangeOf(body, { part: 'body', now: context.clock.now(), lengthMs: hourMs });
  const selection = await selectionOf(db, body.servers ?? {}, '/servers');
  return { db, body, selection, value, range, horizons: await readHorizons(context, db) };
}

/** What is read for a query, of so many servers. */
export async function readingOf(
  { db, body, value, range, horizons }: Query,
  counted: Pick<GridRequest, 'servers' | 'returns' | 'inParts'>,
): Promise<Reading> {
  const { field, by = 'server', period = 'auto', points = defaultPoints[by] } = body;
  const grid = gridOf({ ...range, period, points, horizons, pointer: name => `/${name}`, ...counted });
  return { field, value, grid, rolledUntil: await metricsRolledUntil(db) };
}

const pageOf = ({ db, body, selection }: Query) =>
  pageOfSelected(db, selection, {
    limit: body.limit ?? defaultServers,
    cursor: body.cursor,
    pointer: '/cursor',
  });

async function series(query: Query): Promise<Reply> {
  const { db, selection } = query;
  const [total, { page, next }] = await Promise.all([countSelected(db, selection), pageOf(query)]);
  const reading = await readingOf(query, { servers: page.length, returns: 'each' });
  const values = await readSeries(db, page, reading);
  const listed = page.map(
    ({ id, name }) =>
      `{"server_id":"${id}","name":${JSON.stringify(name)},"values":${values.get(id) ?? 'null'}}`,
  );
  const servers = { total, read: page.length, without_data: page.length - values.size };
  return answer(
    'server',
    { reading, servers },
    `"timestamps":${JSON.stringify(beginsOf(reading.grid))},"series":[${listed.join(',')}],"next_cursor":${JSON.stringify(next)}`,
  );
}

async function fleet(query: Query): Promise<Reply> {
  const { db, body, selection } = query;
  const total = await countSelected(db, selection);
  const reading = await readingOf(query, { servers: total, returns: 'one' });
  const found = await readFleet(db, selection, { ...reading, across: body.across ?? ['avg'] });
  const listed = [...found.series].map(([across, values]) => `{"across":"${across}","values":${values}}`);
  const servers = { total, read: total, without_data: total - found.withData };
  return answer(
    'fleet',
    { reading, servers },
    `"timestamps":${JSON.stringify(beginsOf(reading.grid))},"series":[${listed.join(',')}]`,
  );
}

async function totals(query: Query): Promise<Reply> {
  const { db, body, selection } = query;
  const { top, across = [], across_periods: acrossPeriods = [] } = body;
  const [total, { page, next }] = await Promise.all([
    countSelected(db, selection),
    top === undefined ? pageOf(query) : { page: [], next: null },
  ]);
  const isOfAll = top !== undefined || across.length + acrossPeriods.length > 0;
  const read = isOfAll ? total : page.length;
  const reading = await readingOf(query, { servers: read, returns: 'one' });
  const listed = top === undefined ? { servers: page } : topOf(top);
  const found = await readTotals(db, selection, { ...reading, listed, across, acrossPeriods });
  return answer(
    'total',
    { reading, servers: { total, read, without_data: read - found.withData } },
    `"totals":${found.totals},"across":${found.across},"across_periods":${found.acrossPeriods},"next_cursor":${JSON.stringify(next)}`,
  );
}

type Answered = { reading: Reading; servers: { total: number; read: number; without_data: number } };

function answer(by: string, { reading, servers }: Answered, rest: string): Reply {
  const { field, value, grid } = reading;
  const head = {
    by,
    field,
    value,
    unit: unitOf(field, value),
    period: grid.period,
    start_time: grid.from.toISOString(),
    end_time: grid.to.toISOString(),
    servers,
    kept_from: grid.keptFrom,
  };
  return okJson(`${JSON.stringify(head).slice(0, -1)},${rest}}`);
}
