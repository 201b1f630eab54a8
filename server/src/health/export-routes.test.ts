import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Client, startTestApp, type TestApp } from '../../test/app.ts';
import { addServer, healthCheck, sumUpHealth } from '../../test/fleet.ts';
import type { OrganizationId, ServerId } from '../ids.ts';
import { ensurePartitionsFor } from '../retention/maintain.ts';
import { type CheckStatus, insertHealthChecks } from './history.ts';

const minuteMs = 60_000;
const dayMs = 86_400_000;
const query = '/api/v1/fleet/health/query';
// Ten in the morning of the day before yesterday.
const start = new Date(Math.floor(Date.now() / dayMs) * dayMs - 2 * dayMs + 10 * 60 * minuteMs);
const at = (ms: number): string => new Date(start.getTime() + ms).toISOString();
const tenMinutes = { start_time: at(0), end_time: at(10 * minuteMs), period: '5m' };
let test: TestApp;
let viewer: Client;
let organizationId: OrganizationId;
let down: ServerId;

beforeAll(async () => {
  test = await startTestApp({ settings: { role: 'api' } });
  viewer = await test.as('viewer');
  organizationId = await test.organization('default');
  const { db } = test.database;
  const policy = { interval: 'month', retention: test.app.context.settings.retention } as const;
  await ensurePartitionsFor(db.system, {
    table: 'server_health_checks',
    instants: [start],
    now: new Date(),
    policy,
  });
  const add = (name: string) => addServer(db, organizationId, { name });
  const check = (serverId: ServerId, ms: number, status: CheckStatus) =>
    healthCheck({ organizationId, serverId }, new Date(at(ms)), { status });
  down = await add('=1+1');
  const up = await add('up');
  await add('new');
  const others: ServerId[] = [];
  for (let count = 0; count < 12; count += 1) others.push(await add(`other-${count}`));
  await addServer(db, await test.organization('other'), { name: 'foreign' });
  await insertHealthChecks(db.system, [
    check(up, 0, 'healthy'),
    check(up, 60_000, 'degraded'),
    check(down, 6 * minuteMs, 'critical'),
    check(down, 6 * minuteMs + 10_000, 'unreachable'),
    ...others.map((id, place) => check(id, place * 40_000, 'healthy')),
  ]);
  await sumUpHealth(db);
});
afterAll(() => test.close());

const ask = (body: object, who = viewer) => who.post(`${query}/export`, body);

type Row = Record<string, string | number | null>;
const states = ['healthy_ms', 'degraded_ms', 'critical_ms', 'unreachable_ms'] as const;
type Series = { server_id: string; name: string } & Record<(typeof states)[number], number[] | null>;

it('a file has for how long of each period each server was in each state, as the query answers it', async () => {
  // Three servers on a page.
  const body = { ...tenMinutes, start_time: at(-9 * dayMs), end_time: at(dayMs) };
  const pages: Series[] = [];
  let timestamps: string[] = [];
  for (let cursor: string | undefined; ; ) {
    const page = (await viewer.post(query, { ...body, limit: 10, cursor })).body;
    pages.push(...page.series);
    timestamps = page.timestamps;
    if (page.next_cursor === null) break;
    cursor = page.next_cursor;
  }
  const expected = pages
    .toSorted((a, b) => (a.server_id < b.server_id ? -1 : 1))
    .flatMap(series =>
      timestamps.map((timestamp, place) => ({
        server_id: series.server_id,
        name: series.name,
        timestamp,
        ...Object.fromEntries(states.map(state => [state, series[state]?.[place] ?? null])),
      })),
    );
  expect(expected.length).toBe(15 * 2_880);
  const { text } = await ask({ ...body, format: 'ndjson' });
  const rows = text
    .split('\n')
    .slice(0, -1)
    .map(line => JSON.parse(line) as Row);
  expect(rows).toEqual(expected);
  expect(rows.filter(row => Number(row['healthy_ms']) > 0).length).toBeGreaterThanOrEqual(13);
});

it('as CSV, nothing is the empty field, and no name is a formula', async () => {
  const { status, headers, text } = await ask({ ...tenMinutes, servers: { search: '1+1' } });
  expect(status).toBe(200);
  expect(headers.get('content-disposition')).toBe('attachment; filename="health-5m.csv"');
  expect(text).toBe(
    [
      'server_id,name,timestamp,healthy_ms,degraded_ms,critical_ms,unreachable_ms',
      `${down},'=1+1,${at(0)},0,0,0,0`,
      `${down},'=1+1,${at(5 * minuteMs)},0,0,10000,90000`,
      '',
    ].join('\r\n'),
  );
  const lines = (await ask({ ...tenMinutes, servers: { search: 'new' } })).text.split('\r\n');
  expect(lines.slice(1).map(line => line.replace(/^[^,]+,/, ''))).toEqual([
    `new,${at(0)},,,,`,
    `new,${at(5 * minuteMs)},,,,`,
    '',
  ]);
});

it('without servers there is a header alone', async () => {
  const empty = await test.as('viewer', 'empty');
  expect((await ask(tenMinutes, empty)).text).toBe(
    'server_id,name,timestamp,healthy_ms,degraded_ms,critical_ms,unreachable_ms\r\n',
  );
  expect((await ask({ ...tenMinutes, format: 'ndjson' }, empty)).text).toBe('');
});

it('of another organization there is nothing, and its groups and servers are missing ones', async () => {
  const other = await test.as('viewer', 'other');
  const { text } = await ask(tenMinutes, other);
  expect(
    new Set(
      text
        .split('\r\n')
        .slice(1, -1)
        .map(line => line.split(',')[1]),
    ),
  ).toEqual(new Set(['foreign']));
  expect((await ask({ ...tenMinutes, servers: { ids: [down] } }, other)).body.errors).toEqual([
    { pointer: '/servers/ids/0', detail: 'is no server of this organization' },
  ]);
  expect((await ask({ ...tenMinutes, servers: { group_id: down } })).body.detail).toBe('Group not found');
});

it.each([
  [{ limit: 5 }, '/limit', 'is not a known field'],
  [{ cursor: 'x' }, '/cursor', 'is not a known field'],
  [{ format: 'json' }, '/format', 'must be one of csv, ndjson'],
  [{ period: '1m' }, '/period', 'must be one of 5m, 15m, 1h, 1d, auto'],
  [{ points: 5 }, '/points', 'goes with period=auto alone'],
  [{ start_time: '2999-01-01', end_time: '2999-01-02' }, '/start_time', 'must lie in the past'],
  [{ start_time: at(0), end_time: at(0) }, '/start_time', 'must be before end_time'],
  [
    { start_time: at(-400 * dayMs), end_time: at(0) },
    '/period',
    'the range has 115320 periods of 5m, and 100000 at most are returned: choose longer periods or a shorter range',
  ],
])('refuses %j', async (more, pointer, detail) => {
  const { status, body } = await ask({ ...tenMinutes, ...more });
  expect([status, body.errors]).toEqual([422, [{ pointer, detail }]]);
});
