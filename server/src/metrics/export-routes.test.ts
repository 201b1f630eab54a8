import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Client, startTestApp, type TestApp } from '../../test/app.ts';
import { addServer, sumUpMetrics } from '../../test/fleet.ts';
import type { ServerId } from '../ids.ts';
import type { Metrics } from './metric.ts';
import { insertMetrics } from './store.ts';

const query = '/api/v1/fleet/metrics/query';
const aggregated = '/api/v1/fleet/metrics/aggregated';
const minuteMs = 60_000;
// Once, so that no minute begins in between.
const nowMinutes = Math.floor(Date.now() / minuteMs);
const at = (minutesAgo: number): Date => new Date((nowMinutes - minutesAgo) * minuteMs + 100);
const begin = (minutesAgo: number): string => new Date(at(minutesAgo).getTime() - 100).toISOString();

/** As many periods as there may be, of which the 4,445th is 56 minutes ago: there ends a part of 45 servers. */
const long = { period: '1m', start_time: begin(4_500), end_time: begin(-5_499) };
const lately = { period: '5m', start_time: begin(60), end_time: begin(0) };
let test: TestApp;
let viewer: Client;
/** 45 servers, of which three told something. */
let many: Client;

beforeAll(async () => {
  test = await startTestApp();
  viewer = await test.as('viewer', 'ours');
  many = await test.as('viewer', 'many');
  const two = await server('ours', 'two');
  const one = await server('ours', 'one, "the" first');
  await server('ours', '=HYPERLINK("http://x")');
  await collect('ours', two, { 10: { cpu_percent: 50 } });
  await collect('ours', one, { 10: { cpu_percent: 10 }, 9: { cpu_percent: 30 } });
  await collect('theirs', await server('theirs', 'foreign'), { 10: { cpu_percent: 99 } });
  for (let count = 0; count < 45; count += 1) {
    const id = await server('many', `server-${String(45 - count).padStart(2, '0')}`);
    if (count % 20 > 0) continue;
    const told = [100, 58, 57, 56, 55, 54, 2].map(minutesAgo => [
      minutesAgo,
      {
        cpu_percent: minutesAgo === 54 ? 0 : count + minutesAgo / 7,
        network_rx_bytes: 1_000_000 - 77 * count - minutesAgo ** 2,
      },
    ]);
    await collect('many', id, Object.fromEntries(told));
  }
  await sumUpMetrics(test.database.db);
}, 60_000);
afterAll(() => test.close());

const server = async (organization: string, name: string): Promise<ServerId> =>
  addServer(test.database.db, await test.organization(organization), { name });

async function collect(
  organization: string,
  serverId: ServerId,
  told: Record<number, Metrics>,
): Promise<void> {
  const organizationId = await test.organization(organization);
  await insertMetrics(
    test.database.db.system,
    Object.entries(told).map(([minutesAgo, metrics]) => ({
      organizationId,
      serverId,
      at: at(Number(minutesAgo)),
      metrics,
      reportedAt: null,
    })),
  );
}

type Row = Record<string, string | number | null>;

/** The lines of a file, and that both formats say the same of them. */
async function rowsOf(ask: (format: 'csv' | 'ndjson') => ReturnType<Client['get']>): Promise<Row[]> {
  const [csv, ndjson] = [await ask('csv'), await ask('ndjson')];
  expect([csv.status, ndjson.status], csv.text.slice(0, 500)).toEqual([200, 200]);
  const rows = ndjson.text
    .split('\n')
    .slice(0, -1)
    .map(line => JSON.parse(line) as Row);
  const [header, ...lines] = csv.text.split('\r\n').slice(0, -1);
  expect(lines.length).toBe(rows.length);
  const columns = header!.split(',');
  expect(lines).toEqual(rows.map(row => columns.map(column => row[column] ?? '').join(',')));
  return rows;
}

const exported = (body: object, who = many): Promise<Row[]> =>
  rowsOf(format => who.post(`${query}/export`, { ...body, format }));

type Series = { server_id: string; name: string; values: (number | null)[] | null };
const byId = <T extends { server_id: string }>(rows: readonly T[]): T[] =>
  rows.toSorted((a, b) => (a.server_id < b.server_id ? -1 : 1));

describe('the file of a query', () => {
  it.each([
    ['of what goes up and down', { field: 'cpu_percent' }],
    ['of what only grows', { field: 'network_rx_bytes' }],
  ])('has each value of each server, %s, as the query answers them', async (_what, field) => {
    // Eight servers on a page.
    const body = { ...long, ...field, start_time: begin(1_000), end_time: begin(-199) };
    const { timestamps, series } = (await many.post(query, { ...body, limit: 1_000 })).body;
    const expected = byId(series as Series[]).flatMap(({ server_id, name, values }) =>
      timestamps.map((timestamp: string, place: number) => ({
        server_id,
        name,
        timestamp,
        value: values?.[place] ?? null,
      })),
    );
    expect(expected.length).toBe(45 * 1_200);
    expect(expected.filter(({ value }: Row) => value !== null).length).toBeGreaterThanOrEqual(15);
    expect(await exported(body)).toEqual(expected);
  });

  it.each([
    ['of what goes up and down', { field: 'cpu_percent' }],
    // Its growth over the end of a part is told by what was before it.
    ['of what only grows', { field: 'network_rx_bytes' }],
  ])('has what the servers come to in each period, %s, and of how many', async (_what, field) => {
    const body = { ...long, ...field, by: 'fleet' };
    const answer = (await many.post(query, { ...body, across: ['avg', 'p95', 'sum', 'count'] })).body;
    const [avg, p95, sum, count] = answer.series.map(({ values }: Series) => values);
    const expected = answer.timestamps.map((timestamp: string, place: number) => ({
      timestamp,
      servers: count[place],
      avg: avg[place],
      p95: p95[place],
      sum: sum[place],
    }));
    expect(expected.length).toBe(10_000);
    expect(expected.filter((row: Row) => row['avg'] !== null).length).toBeGreaterThan(5);
    expect(await exported({ ...body, across: ['avg', 'p95', 'sum'] })).toEqual(expected);
  });

  it('has the mean where nobody says what the servers shall come to', async () => {
    const [row] = await exported({ ...lately, field: 'cpu_percent', by: 'fleet' });
    expect(Object.keys(row!)).toEqual(['timestamp', 'servers', 'avg']);
  });

  it('has a value of each server over the whole range', async () => {
    const body = { ...long, field: 'network_rx_bytes', value: 'increase', by: 'total' };
    const { totals, start_time, end_time } = (await many.post(query, { ...body, limit: 1_000 })).body;
    expect(totals.length).toBe(45);
    const expected = byId<Row & { server_id: string }>(totals).map(({ server_id, name, value }) => ({
      server_id,
      name,
      start_time,
      end_time,
      value,
    }));
    expect(expected.filter(({ value }) => value !== null).length).toBe(3);
    expect(await exported(body)).toEqual(expected);
  });

  it('has a ranking in its order', async () => {
    const body = { ...lately, field: 'cpu_percent', by: 'total', top: { count: 2, order: 'asc' } };
    const { totals } = (await many.post(query, body)).body;
    const names = (await exported(body)).map(({ name }) => name);
    expect(names).toHaveLength(2);
    expect(names).toEqual(totals.map(({ name }: Series) => name));
  });

  it('has more than one answer may have', async () => {
    const body = { ...long, field: 'cpu_percent' };
    expect((await many.post(query, { ...body, limit: 1_000 })).body.errors[0].detail).toContain(
      '450000 values',
    );
    const { text } = await many.post(`${query}/export`, body);
    expect(text.split('\r\n').length).toBe(1 + 450_000 + 1);
  }, 30_000);

  it('is named after what is in it', async () => {
    const { headers } = await many.post(`${query}/export`, { field: 'cpu_percent', period: '5m' });
    expect(headers.get('content-disposition')).toBe(
      'attachment; filename="cpu_percent-avg-5m-by-server.csv"',
    );
    expect(headers.get('content-type')).toBe('text/csv; charset=utf-8; header=present');
  });

  it('runs nothing of what a name says, and keeps quotes and commas', async () => {
    const { text } = await viewer.post(`${query}/export`, { field: 'cpu_percent', by: 'total' });
    const lines = text.split('\r\n').map(line => line.replace(/^[0-9a-f-]{36},/, ''));
    const range = lines[1]!.match(/,([^,]+,[^,]+),[^,]*$/)![1]!;
    expect(lines.toSorted()).toEqual(
      [
        'server_id,name,start_time,end_time,value',
        `"'=HYPERLINK(""http://x"")",${range},`,
        `"one, ""the"" first",${range},20`,
        `two,${range},50`,
        '',
      ].toSorted(),
    );
  });

  it('is empty but for its header where there are no servers', async () => {
    const empty = await test.as('viewer', 'empty');
    const text = async (body: object) =>
      (await empty.post(`${query}/export`, { field: 'cpu_percent', ...body })).text;
    expect(await text({})).toBe('server_id,name,timestamp,value\r\n');
    expect(await text({ by: 'total' })).toBe('server_id,name,start_time,end_time,value\r\n');
    expect(await text({ by: 'total', top: {} })).toBe('server_id,name,start_time,end_time,value\r\n');
    expect(await text({ format: 'ndjson' })).toBe('');
    expect(await text({ by: 'fleet', period: '1d', start_time: '2026-11-01', end_time: '2026-11-02' })).toBe(
      'timestamp,servers,avg\r\n2026-11-01T00:00:00.000Z,0,\r\n2026-11-02T00:00:00.000Z,0,\r\n',
    );
  });

  it('is of the selected servers alone', async () => {
    const servers = { search: 'server-4' };
    const names = (await exported({ ...lately, field: 'cpu_percent', by: 'total', servers })).map(
      ({ name }) => name,
    );
    expect(new Set(names)).toEqual(new Set([40, 41, 42, 43, 44, 45].map(count => `server-${count}`)));
    expect(names).toHaveLength(6);
  });

  it('has nothing of another organization', async () => {
    const theirs = await test.as('viewer', 'theirs');
    expect(await exported({ ...lately, field: 'cpu_percent', by: 'total' }, theirs)).toMatchObject([
      { name: 'foreign', value: 99 },
    ]);
  });

  it.each([
    ['a page', { limit: 10 }, '/limit', 'is not a known field'],
    ['a cursor', { cursor: 'x' }, '/cursor', 'is not a known field'],
    [
      'what all periods come to',
      { by: 'total', across_periods: ['avg'] },
      '/across_periods',
      'is not a known field',
    ],
    ['what totals come to', { by: 'total', across: ['avg'] }, '/across', 'goes with by=fleet alone'],
    ['what series come to', { across: ['avg'] }, '/across', 'goes with by=fleet alone'],
    ['another format', { format: 'xlsx' }, '/format', 'must be one of csv, ndjson'],
    [
      'a rate of a gauge',
      { value: 'rate' },
      '/value',
      'of cpu_percent, a gauge, must be one of avg, min, max, last',
    ],
    [
      'more periods than there may be',
      { ...long, end_time: begin(-5_500) },
      '/period',
      'the range has 10001 periods of 1m, and 10000 at most are returned: choose longer periods or a shorter range',
    ],
    [
      'servers that are none',
      { servers: { ids: ['nonsense'] } },
      '/servers/ids/0',
      'is no server of this organization',
    ],
  ])('refuses %s', async (_what, more, pointer, detail) => {
    const { status, body } = await many.post(`${query}/export`, { field: 'cpu_percent', ...more });
    expect(status).toBe(422);
    expect(body.errors).toEqual([{ pointer, detail }]);
  });

  it('is not there for a group that is not', async () => {
    const body = { field: 'cpu_percent', servers: { group_id: 'nonsense' } };
    expect((await many.post(`${query}/export`, body)).body.detail).toBe('Group not found');
  });
});

describe('the file of all metrics together', () => {
  const search = (parameters: object): string => new URLSearchParams(Object.entries(parameters)).toString();
  const file = (parameters: object, who = many) =>
    rowsOf(format => who.get(`${aggregated}/export?${search({ ...parameters, format })}`));

  it('has what is answered, newest first, in however many parts it is read', async () => {
    const { metrics } = (await many.get(`${aggregated}?${search(long)}`)).body;
    expect(metrics.length).toBe(7);
    expect(await file(long)).toEqual(metrics);
    const { metrics: lastly } = (await many.get(`${aggregated}?${search(lately)}`)).body;
    expect(lastly.length).toBeGreaterThan(0);
    expect(await file(lately)).toEqual(lastly);
  });

  it('is of the selected servers of one organization', async () => {
    expect((await file({ ...long, search: 'server-45' })).map(row => row['servers'])).toEqual(
      Array(7).fill(1),
    );
    expect(await file({ ...long, search: 'foreign' })).toEqual([]);
    const { text } = await many.get(`${aggregated}/export?search=nobody`);
    expect(text).toMatch(/^timestamp,servers,cpu_percent,[a-z_,]+\r\n$/);
  });

  it('is refused by the name of what is wrong', async () => {
    const refused = async (parameters: string) =>
      (await many.get(`${aggregated}/export?${parameters}`)).body.errors[0];
    expect(await refused('format=xml')).toEqual({
      pointer: '/query/format',
      detail: 'must be one of csv, ndjson',
    });
    expect((await refused(search({ ...long, end_time: begin(-5_500) }))).pointer).toBe('/query/period');
    expect((await refused('start_time=never')).pointer).toBe('/query/start_time');
  });
});
