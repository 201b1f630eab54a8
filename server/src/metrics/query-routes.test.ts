import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Client, startTestApp, type TestApp } from '../../test/app.ts';
import { addServer, sumUpMetrics } from '../../test/fleet.ts';
import type { OrganizationId, ServerId } from '../ids.ts';
import { insertMetrics } from './store.ts';

const path = '/api/v1/fleet/metrics/query';
const minuteMs = 60_000;
let test: TestApp;
let viewer: Client;
let theirs: Client;
let ids: Record<'alpha' | 'beta' | 'gamma' | 'silent' | 'foreign', ServerId>;
let group: string;

// Once, so that no minute begins in between.
const nowMinutes = Math.floor(Date.now() / minuteMs);
const at = (minutesAgo: number): Date => new Date((nowMinutes - minutesAgo) * minuteMs + 100);

beforeAll(async () => {
  test = await startTestApp();
  viewer = await test.as('viewer', 'ours');
  theirs = await test.as('viewer', 'theirs');
  const ours = await test.organization('ours');
  const add = (name: string, facts: Parameters<typeof addServer>[2] = {}, organization = ours) =>
    addServer(test.database.db, organization, { name, ...facts });
  ids = {
    alpha: await add('alpha', { region: 'eu', environment: 'production', tags: ['web', 'linux'] }),
    beta: await add('beta', { region: 'eu', tags: ['web'] }),
    gamma: await add('gamma', { region: 'us', tags: ['db'] }),
    silent: await add('silent', { region: 'us' }),
    foreign: await add('foreign', { region: 'eu', tags: ['web'] }, await test.organization('theirs')),
  };
  const admin = await test.as('admin', 'ours');
  group = (await admin.post('/api/v1/fleet/groups', { name: 'web', tags: ['web'] })).body.group.id;
  await admin.post(`/api/v1/fleet/groups/${group}/servers`, { server_id: ids.gamma });
  await collect('alpha', { 10: 10, 9: 30 });
  await collect('beta', { 10: 50 });
  await collect('gamma', { 10: 90, 8: 70 });
  await collect('foreign', { 10: 99 });
  await sumUpMetrics(test.database.db);
});
afterAll(() => test.close());

async function collect(name: keyof typeof ids, cpu: Record<number, number>): Promise<void> {
  const organizationId: OrganizationId = await test.organization(name === 'foreign' ? 'theirs' : 'ours');
  const rows = Object.entries(cpu).map(([minutesAgo, cpu_percent]) => ({
    organizationId,
    serverId: ids[name],
    at: at(Number(minutesAgo)),
    metrics: { cpu_percent, network_rx_bytes: 1_000 * cpu_percent },
    reportedAt: null,
  }));
  await insertMetrics(test.database.db.system, rows);
}

const cpu = { field: 'cpu_percent', period: '1m' };
const namesOf = (answer: { body: { series: { name: string }[] } }): string[] =>
  answer.body.series.map(({ name }) => name);

describe('the series of servers', () => {
  it('come by name over the last hour, and who told nothing is there without values', async () => {
    const { status, body } = await viewer.post(path, cpu);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      by: 'server',
      value: 'avg',
      unit: 'percent',
      period: '1m',
      servers: { total: 4, read: 4, without_data: 1 },
      next_cursor: null,
    });
    expect(body.timestamps.length).toBeGreaterThanOrEqual(60);
    const place = body.timestamps.indexOf(new Date(at(10).getTime() - 100).toISOString());
    expect(
      body.series.map((each: { values: number[] | null }) => each.values?.slice(place, place + 3) ?? null),
    ).toEqual([[10, 30, null], [50, null, null], [90, null, 70], null]);
  });

  it('come in pages, and every server is on one of them', async () => {
    const first = await viewer.post(path, { ...cpu, limit: 3 });
    expect(namesOf(first)).toEqual(['alpha', 'beta', 'gamma']);
    expect(first.body.servers).toEqual({ total: 4, read: 3, without_data: 0 });
    const second = await viewer.post(path, { ...cpu, limit: 3, cursor: first.body.next_cursor });
    expect(namesOf(second)).toEqual(['silent']);
    expect(second.body).toMatchObject({ servers: { total: 4, read: 1, without_data: 1 }, next_cursor: null });
  });

  it('choose their period by themselves', async () => {
    const day = {
      field: 'cpu_percent',
      start_time: at(24 * 60).toISOString(),
      end_time: at(0).toISOString(),
    };
    expect((await viewer.post(path, day)).body.period).toBe('5m');
    expect((await viewer.post(path, { ...day, points: 100 })).body.period).toBe('15m');
    expect((await viewer.post(path, { field: 'cpu_percent' })).body.period).toBe('1m');
  });

  it.each([
    ['a region', { region: 'eu' }, ['alpha', 'beta']],
    ['an environment', { environment: 'production' }, ['alpha']],
    ['all tags', { tags: ['web', 'linux'] }, ['alpha']],
    ['any tag', { tags: ['linux', 'db'], tags_match: 'any' }, ['alpha', 'gamma']],
    ['part of a name', { search: 'MM' }, ['gamma']],
    ['the health that nobody has', { health_status: 'healthy' }, []],
    ['all of it together', { region: 'us', tags: ['db'] }, ['gamma']],
  ])('can be of %s', async (_what, servers, names) => {
    expect(namesOf(await viewer.post(path, { ...cpu, servers }))).toEqual(names);
  });

  it('can be of ids, each once, and of a group with its fixed and its matching members', async () => {
    const servers = { ids: [ids.silent, ids.alpha, ids.alpha] };
    expect(namesOf(await viewer.post(path, { ...cpu, servers }))).toEqual(['alpha', 'silent']);
    expect(namesOf(await viewer.post(path, { ...cpu, servers: { group_id: group } }))).toEqual([
      'alpha',
      'beta',
      'gamma',
    ]);
    expect(
      namesOf(
        await viewer.post(path, { ...cpu, servers: { group_id: group, ids: [ids.alpha, ids.silent] } }),
      ),
    ).toEqual(['alpha']);
  });
});

describe('one series over all', () => {
  it('has what the servers come to in each period, and 0 or null where nobody told anything', async () => {
    const { body } = await viewer.post(path, { ...cpu, by: 'fleet', across: ['avg', 'p50', 'max', 'count'] });
    const place = body.timestamps.indexOf(new Date(at(10).getTime() - 100).toISOString());
    expect(
      body.series.map(({ across, values }: { across: string; values: number[] }) => [
        across,
        values[place],
        values[place - 1],
      ]),
    ).toEqual([
      ['avg', 50, null],
      ['p50', 50, null],
      ['max', 90, null],
      ['count', 3, 0],
    ]);
    expect(body.servers).toEqual({ total: 4, read: 4, without_data: 1 });
  });

  it('is empty where there are no servers', async () => {
    const empty = await test.as('viewer', 'empty');
    const { body } = await empty.post(path, { ...cpu, by: 'fleet' });
    expect(body.servers).toEqual({ total: 0, read: 0, without_data: 0 });
    expect(new Set(body.series[0].values)).toEqual(new Set([null]));
    expect(
      (await empty.post(path, { ...cpu, by: 'total', top: {}, across: ['avg', 'count'] })).body,
    ).toMatchObject({
      totals: [],
      across: { avg: null, count: 0 },
    });
    expect((await empty.post(path, cpu)).body.series).toEqual([]);
  });
});

describe('totals', () => {
  it('are one value of each server over the range, null where it told nothing', async () => {
    const { body } = await viewer.post(path, { ...cpu, by: 'total' });
    expect(body.totals).toEqual([
      { server_id: ids.alpha, name: 'alpha', value: 20 },
      { server_id: ids.beta, name: 'beta', value: 50 },
      { server_id: ids.gamma, name: 'gamma', value: 80 },
      { server_id: ids.silent, name: 'silent', value: null },
    ]);
    expect(body).toMatchObject({ across: null, across_periods: null, servers: { without_data: 1 } });
  });

  it('come in pages, while what they come to is of all', async () => {
    const { body } = await viewer.post(path, { ...cpu, by: 'total', limit: 1, across: ['sum'] });
    expect(body).toMatchObject({ totals: [{ name: 'alpha' }], across: { sum: 150 }, servers: { read: 4 } });
    const next = await viewer.post(path, { ...cpu, by: 'total', limit: 1, cursor: body.next_cursor });
    expect(next.body.totals).toMatchObject([{ name: 'beta' }]);
  });

  it('can be ranked', async () => {
    const ranked = async (top: object) =>
      (await viewer.post(path, { ...cpu, by: 'total', top })).body.totals.map(
        ({ name }: { name: string }) => name,
      );
    expect(await ranked({})).toEqual(['gamma', 'beta', 'alpha']);
    expect(await ranked({ count: 1, order: 'asc' })).toEqual(['alpha']);
  });

  it('tell the totals of servers from the values of all their periods', async () => {
    const across = ['p50', 'count'];
    const { body } = await viewer.post(path, { ...cpu, by: 'total', across, across_periods: across });
    expect(body.across).toEqual({ p50: 50, count: 3 });
    expect(body.across_periods).toEqual({ p50: 50, count: 5 });
  });
});

describe('a counter', () => {
  const rx = { field: 'network_rx_bytes', period: '5m', by: 'total' };

  it('shows its rate over the time in which it grew', async () => {
    const servers = { ids: [ids.alpha, ids.beta, ids.gamma] };
    const rate = await viewer.post(path, { ...rx, servers });
    expect(rate.body).toMatchObject({ value: 'rate', unit: 'bytes per second' });
    expect(rate.body.totals.map(({ value }: { value: number }) => value)).toEqual([
      Number((20_000 / 60).toFixed(6)),
      null,
      // From 90,000 it fell: it began again, and grew to 70,000 in two minutes at most.
      Number((70_000 / 120).toFixed(6)),
    ]);
    const increase = await viewer.post(path, { ...rx, servers, value: 'increase' });
    expect(increase.body.totals.map(({ value }: { value: number }) => value)).toEqual([20_000, null, 70_000]);
  });
});

describe('is refused', () => {
  const morning = { start_time: '2026-11-05T01:00:00Z', end_time: '2026-11-05T02:00:00Z' };
  const far = { start_time: '2026-01-01', end_time: '2026-03-01' };
  it.each([
    [
      'a rate of a gauge',
      { value: 'rate' },
      '/value',
      /cpu_percent, a gauge, must be one of avg, min, max, last/,
    ],
    ['a mean of a counter', { field: 'llm_requests', value: 'avg' }, '/value', /one of rate, increase, last/],
    ['an unknown field', { field: 'cpu' }, '/field', /must be one of cpu_percent/],
    ['across without a fleet', { across: ['avg'] }, '/across', /goes with by=fleet and total alone/],
    ['a ranking of series', { top: {} }, '/top', /by=total/],
    ['a page of one series', { by: 'fleet', limit: 1 }, '/limit', /by=server and total/],
    ['a page of a ranking', { by: 'total', top: {}, limit: 1 }, '/limit', /does not go with top/],
    ['more than a hundred ranked', { by: 'total', top: { count: 101 } }, '/top/count', /<= 100/],
    ['points of a chosen period', { points: 5 }, '/points', /period=auto/],
    [
      'a range that ends before it starts',
      { start_time: '2026-02-02', end_time: '2026-02-01' },
      '/start_time',
      /after/,
    ],
    ['a time that is none', { start_time: 'yesterday' }, '/start_time', /ISO 8601/],
    ['no ids at all', { servers: { ids: [] } }, '/servers/ids', /fewer than 1/],
    ['more periods than there may be', far, '/period', /84961 periods of 1m, and 10000 at most/],
    ['a period longer than the range', { ...morning, period: '1d' }, '/start_time', /no period of 1d begins/],
    ['a forged cursor', { cursor: 'e30' }, '/cursor', /not a cursor/],
    [
      'a cursor of another list',
      {
        cursor: Buffer.from(
          '{"sort":"newest","key":"x","id":"01900000-0000-7000-8000-000000000000"}',
        ).toString('base64url'),
      },
      '/cursor',
      /another order/,
    ],
  ])('%s', async (_what, more, pointer, detail) => {
    const { status, body } = await viewer.post(path, { ...cpu, ...more });
    expect(status).toBe(422);
    expect(body.errors[0]).toMatchObject({ pointer, detail: expect.stringMatching(detail) });
  });

  it('a body without a field', async () => {
    expect((await viewer.post(path, {})).body.errors).toEqual([{ pointer: '/field', detail: 'is required' }]);
  });

  it('more values than may be returned, by how many there are', async () => {
    const organization = await test.organization('large');
    for (let count = 0; count < 30; count += 1) await addServer(test.database.db, organization);
    const large = await test.as('viewer', 'large');
    const week = {
      field: 'cpu_percent',
      period: '1m',
      start_time: '2026-11-01T00:00:00Z',
      end_time: '2026-11-06T00:00:00Z',
    };
    const { status, body } = await large.post(path, week);
    expect(status).toBe(422);
    expect(body.errors).toEqual([
      {
        pointer: '/period',
        detail:
          '30 servers in 7201 periods of 1m are 216030 values, and 200000 at most are returned: choose fewer servers, longer periods or a shorter range',
      },
    ]);
    expect((await large.post(path, { ...week, limit: 20 })).status).toBe(200);
    expect((await large.post(path, { ...week, period: 'auto', points: 10_000 })).body.period).toBe('5m');
    expect((await large.post(path, { ...week, by: 'fleet' })).status).toBe(200);
  });
});

describe('of another organization', () => {
  it('servers and groups are answered like missing ones, and a list is refused as a whole', async () => {
    for (const id of [ids.foreign, randomUUID(), 'nonsense']) {
      const { status, body } = await viewer.post(path, { ...cpu, servers: { ids: [ids.alpha, id] } });
      expect(status).toBe(422);
      expect(body.errors).toEqual([
        { pointer: '/servers/ids/1', detail: 'is no server of this organization' },
      ]);
    }
    for (const id of [group, randomUUID(), 'nonsense']) {
      const { status, body } = await theirs.post(path, { ...cpu, servers: { group_id: id } });
      expect([status, body.detail]).toEqual([404, 'Group not found']);
    }
  });

  it('nothing is in any number', async () => {
    const { body } = await theirs.post(path, { ...cpu, by: 'total', across: ['sum', 'count'] });
    expect(body).toMatchObject({ totals: [{ name: 'foreign', value: 99 }], across: { sum: 99, count: 1 } });
  });
});
