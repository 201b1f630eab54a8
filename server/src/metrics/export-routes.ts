import { Type } from 'typebox';
import { countSelected, eachOfSelected, ofLasting } from '../groups/selection.ts';
import type { TenantDb } from '../platform/db.ts';
import { invalidField } from '../platform/http/errors.ts';
import { type FileForm, FormatName, fileOf, type Row } from '../platform/http/export.ts';
import { type Route, route } from '../platform/http/route.ts';
import { AggregatedQuery, PeriodRow, type PeriodsAsked, periodsAsked } from './fleet-routes.ts';
import { fleetPeriods } from './fleet-store.ts';
import { type Across, beginsOf, partsOf, serversAtOnce } from './query.ts';
import { MetricExportBody, topOf } from './query-body.ts';
import { type Query, queryOf, readingOf } from './query-routes.ts';
import { type Reading, readFleet, readSeries, readTotals, type TotalsQuery } from './query-store.ts';

export const metricExportRoutes: Route[] = [
  route({
    method: 'POST',
    path: '/api/v1/fleet/metrics/query/export',
    tag: 'Metrics',
    summary: 'Download one metric of many servers: of each, of all together, or totals',
    description:
      'What `POST /api/v1/fleet/metrics/query` answers, of all selected servers, however many there are, and sent while it ' +
      'is read. by=server: server_id, name, timestamp, value, a line for each server and period. by=fleet: timestamp, ' +
      'servers (that told something) and what `across` names, a line for each period. by=total: server_id, name, ' +
      'start_time, end_time, value, a line for each server. Servers come in the order of their ids, and a ranking in its ' +
      'own. A period that nothing is known of, and a server that told nothing, have lines without a value. At most 10,000 ' +
      'periods, of however many servers; a ranking has the limits of a query. What fails after the first lines ends the ' +
      "connection without the file's end.",
    permission: 'fleet:read',
    body: MetricExportBody,
    replies: { 200: Type.String({ description: 'The file.' }) },
    async handler(context, { body }, { db }) {
      const { by = 'server', format = 'csv', field } = body;
      if (by !== 'fleet' && body.across !== undefined)
        throw invalidField('/across', 'goes with by=fleet alone');
      const query = await queryOf(context, db, body);
      const { reading, columns, pages } = await readers[by](query);
      const name = `${field}-${reading.value}-${reading.grid.period}-by-${by}`;
      return fileOf(ofLasting(db, query.selection, pages), { name, format, columns });
    },
  }),
  route({
    method: 'GET',
    path: '/api/v1/fleet/metrics/aggregated/export',
    tag: 'Metrics',
    summary: 'Download all metrics of many servers together, period by period, newest first',
    description:
      'What `GET /api/v1/fleet/metrics/aggregated` answers, for up to 10,000 periods of however many servers, sent while it is read.',
    permission: 'fleet:read',
    query: Type.Object(
      { ...AggregatedQuery.properties, format: FormatName },
      { additionalProperties: false },
    ),
    replies: { 200: Type.String({ description: 'The file.' }) },
    async handler(context, { query: { format = 'csv', ...query } }, { db }) {
      const asked = await periodsAsked(context, db, { ...query, inParts: true });
      return fileOf(ofLasting(db, asked.selection, aggregated(db, asked)), {
        name: `fleet-metrics-${asked.grid.period}`,
        format,
        columns: Object.keys(PeriodRow.properties),
      });
    },
  }),
];

/** What is read for a file, and how. */
type Exported = Pick<FileForm, 'columns'> & { reading: Reading; pages: AsyncIterable<Iterable<Row>> };

const readers = { server: series, fleet, total: totals } as const;

async function series(query: Query): Promise<Exported> {
  // As of one server: which period is chosen does not depend on how many others there are.
  const reading = await readingOf(query, { servers: 1, returns: 'each' });
  const { db, selection } = query;
  const timestamps = beginsOf(reading.grid);
  async function* pages(): AsyncGenerator<Iterable<Row>> {
    for await (const servers of eachOfSelected(db, selection, serversAtOnce(reading.grid, 'each'))) {
      const found = await readSeries(db, servers, reading);
      yield (function* rows() {
        for (const { id, name } of servers) {
          const values = parsed(found.get(id));
          for (const [place, timestamp] of timestamps.entries())
            yield { server_id: id, name, timestamp, value: values[place] ?? null };
        }
      })();
    }
  }
  return { reading, columns: ['server_id', 'name', 'timestamp', 'value'], pages: pages() };
}

async function fleet(query: Query): Promise<Exported> {
  const { db, body, selection } = query;
  const total = await countSelected(db, selection);
  const reading = await readingOf(query, { servers: total, returns: 'one', inParts: true });
  const across = body.across ?? ['avg'];
  const read: Across[] = [...new Set<Across>(['count', ...across])];
  async function* pages(): AsyncGenerator<Iterable<Row>> {
    for (const grid of partsOf(reading.grid, total)) {
      const found = await readFleet(db, selection, { ...reading, grid, across: read });
      const values = new Map(read.map(each => [each, parsed(found.series.get(each))]));
      yield beginsOf(grid).map((timestamp, place) => ({
        timestamp,
        servers: values.get('count')?.[place],
        ...Object.fromEntries(across.map(each => [each, values.get(each)?.[place]])),
      }));
    }
  }
  return { reading, columns: ['timestamp', 'servers', ...across], pages: pages() };
}

async function totals(query: Query): Promise<Exported> {
  const { db, body, selection } = query;
  const { top } = body;
  const servers = top === undefined ? 1 : await countSelected(db, selection);
  const reading = await readingOf(query, { servers, returns: 'one' });
  const { grid } = reading;
  const range = { start_time: grid.from.toISOString(), end_time: grid.to.toISOString() };
  const page = async (listed: TotalsQuery['listed']): Promise<Row[]> => {
    const found = await readTotals(db, selection, { ...reading, listed, across: [], acrossPeriods: [] });
    const rows = JSON.parse(found.totals) as { server_id: string; name: string; value: number | null }[];
    return rows.map(({ server_id, name, value }) => ({ server_id, name, ...range, value }));
  };
  async function* pages(): AsyncGenerator<Row[]> {
    if (top !== undefined) yield page(topOf(top));
    else
      for await (const part of eachOfSelected(db, selection, serversAtOnce(grid, 'one')))
        yield page({ servers: part });
  }
  return { reading, columns: ['server_id', 'name', 'start_time', 'end_time', 'value'], pages: pages() };
}

const parsed = (values: string | undefined): (number | null)[] =>
  values === undefined ? [] : (JSON.parse(values) as (number | null)[]);

async function* aggregated(
  db: TenantDb,
  { selection, total, grid, rolledUntil }: PeriodsAsked,
): AsyncGenerator<Row[]> {
  for (const part of partsOf(grid, total).toReversed()) {
    const { rows } = await fleetPeriods(db, selection, { grid: part, rolledUntil });
    yield JSON.parse(rows) as Row[];
  }
}
