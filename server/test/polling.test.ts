import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sql } from '../src/platform/db.ts';
import { type Client, startTestApp, type TestApp } from './app.ts';
import { type ManagedServer, metricsBody } from './fakes/managed-server.ts';
import {
  changesOf,
  checksOf,
  fleet,
  managedServer,
  register,
  stateOf,
  whenHealthIs,
} from './fakes/polled-fleet.ts';
import { until } from './fakes/until.ts';

describe('polling at its usual pace', () => {
  let test: TestApp;
  let admin: Client;
  beforeAll(async () => {
    test = await startTestApp({ settings: { role: 'all' } });
    admin = await test.as('admin');
  });
  afterAll(() => test.close());

  it('checks a new server at once, however seldom it is polled, and collects its metrics', async () => {
    const server = await managedServer();
    const seldom = { health_interval_seconds: 3_600, metrics_interval_seconds: 3_600 };
    const { id, token } = await register(admin, server, seldom);
    const state = await whenHealthIs(admin, id, 'healthy');
    const [first] = await checksOf(admin, id);
    // Its regular time may come right after its first check: the state then tells of that one already.
    const last = await until('its check', async () =>
      (await checksOf(admin, id)).find(
        (check: { timestamp: string }) => check.timestamp === state.last_health_check_at,
      ),
    );
    expect(state).toMatchObject({
      health_reason: 'ok',
      version: '1.4.2',
      last_seen_at: last.timestamp,
      health_since: first.timestamp,
      response_time_ms: last.response_time_ms,
      components: { database: { healthy: true, critical: true }, services: { healthy: true } },
    });
    expect(first).toMatchObject({
      status: 'healthy',
      reason: 'ok',
      database_healthy: true,
      redis_healthy: true,
      services_healthy: true,
    });
    expect(await changesOf(test, id)).toEqual([{ from: 'unknown', to: 'healthy', reason: 'ok' }]);

    await until('metrics', async () => (await stateOf(admin, id)).latest_metrics);
    const { metrics } = (await admin.get(`${fleet}/servers/${id}/metrics?period=1m`)).body;
    for (const row of metrics) expect(row).toMatchObject({ ...metricsBody, period: '1m' });
    const latest = await stateOf(admin, id);
    expect(latest).toMatchObject({ latest_metrics: metricsBody, metrics_reason: 'ok' });
    await until('its row', async () => {
      const { body } = await admin.get(`${fleet}/servers/${id}/metrics?period=1m`);
      return body.metrics.some((row: { timestamp: string }) => row.timestamp === latest.last_metrics_at);
    });
    expect(new Set(server.requests.map(request => request.token))).toEqual(new Set([token]));
  });

  it('watches any address by plain HTTP, which has no metrics', async () => {
    const server = await managedServer();
    const { id } = await register(admin, server, { adapter: 'http', api_url: `${server.url}/health` });
    await whenHealthIs(admin, id, 'healthy');
    const collected = await admin.post(`${fleet}/servers/${id}/metrics/collect`);
    expect(collected.status).toBe(502);
    expect(server.requests.map(request => request.path)).not.toContain('/health/api/v1/metrics/current');
    expect(test.logged()).not.toContain('a poll failed unexpectedly');
  });

  it('asks the new address with the new token, and never shows it to the old one', async () => {
    const [before, after] = [await managedServer(), await managedServer()];
    const { id, token } = await register(admin, before);
    await whenHealthIs(admin, id, 'healthy');
    const moved = await admin.patch(`${fleet}/servers/${id}`, {
      api_url: after.url,
      api_token: 'moved-token',
    });
    expect(moved.status).toBe(200);
    await until('a request at the new address', async () => after.requests.length > 0);
    await admin.post(`${fleet}/servers/${id}/health-check`);
    expect(new Set(after.requests.map(request => request.token))).toEqual(new Set(['moved-token']));
    expect(new Set(before.requests.map(request => request.token))).toEqual(new Set([token]));
  });

  it('uses a renewed token at once', async () => {
    const server = await managedServer();
    const { id } = await register(admin, server);
    await whenHealthIs(admin, id, 'healthy');
    await admin.patch(`${fleet}/servers/${id}`, { api_token: 'renewed-token' });
    await until('the renewed token', async () =>
      server.requests.some(request => request.token === 'renewed-token'),
    );
  });

  it('tells one event although a server is changed right after its first check', async () => {
    const server = await managedServer();
    const { id } = await register(admin, server);
    // Asked for, but not yet stored: what is changed now is read again while our state is ahead of the row.
    await until('the first request', async () => server.requests.length > 0);
    await admin.patch(`${fleet}/servers/${id}`, { description: 'changed' });
    await whenHealthIs(admin, id, 'healthy');
    await admin.post(`${fleet}/servers/${id}/health-check`);
    await admin.post(`${fleet}/servers/${id}/health-check`);
    expect(await changesOf(test, id)).toEqual([{ from: 'unknown', to: 'healthy', reason: 'ok' }]);
  });

  it('keeps organizations apart that watch the same address with tokens of their own', async () => {
    const server = await managedServer();
    const other = await test.as('admin', 'other');
    const [ours, theirs] = [await register(admin, server), await register(other, server)];
    await whenHealthIs(admin, ours.id, 'healthy');
    await whenHealthIs(other, theirs.id, 'healthy');
    expect(new Set(server.requests.map(request => request.token))).toEqual(
      new Set([ours.token, theirs.token]),
    );
    expect((await admin.get(`${fleet}/servers/${theirs.id}/health-history`)).status).toBe(404);
    expect((await admin.post(`${fleet}/servers/${theirs.id}/health-check`)).status).toBe(404);
    const checked = await other.post(`${fleet}/health-check/all`);
    expect(checked.body.results.map((each: { server_id: string }) => each.server_id)).toEqual([theirs.id]);
  });
});

describe('polling without pause', () => {
  const healthIntervalMs = 300;
  let test: TestApp;
  let admin: Client;
  beforeAll(async () => {
    test = await startTestApp({ settings: { role: 'all', healthIntervalMs, metricsIntervalMs: 300 } });
    admin = await test.as('admin');
  });
  afterAll(() => test.close());

  it('calls a server down after three failures and up after two successes; history, state and events agree', async () => {
    const server = await managedServer();
    const { id } = await register(admin, server);
    await whenHealthIs(admin, id, 'healthy');
    await server.die();
    const down = await whenHealthIs(admin, id, 'unreachable');
    expect(down).toMatchObject({ health_reason: 'refused' });
    await server.revive();
    const up = await whenHealthIs(admin, id, 'healthy');

    expect(await changesOf(test, id)).toEqual([
      { from: 'unknown', to: 'healthy', reason: 'ok' },
      { from: 'healthy', to: 'unreachable', reason: 'refused' },
      { from: 'unreachable', to: 'healthy', reason: 'ok' },
    ]);
    const checks: { timestamp: string; status: string }[] = await checksOf(admin, id);
    const firstFailure = checks.findIndex(check => check.status === 'unreachable');
    expect(checks[firstFailure + 2]!.timestamp).toBe(down.health_since);
    const firstSuccess = checks.findIndex(
      (check, index) => index > firstFailure && check.status === 'healthy',
    );
    // Or a later one: at this pace two checks may lie too near each other to count as two.
    const cameUp = checks.findIndex(check => check.timestamp === up.health_since);
    expect(cameUp).toBeGreaterThan(firstSuccess);
    expect(new Set(checks.slice(firstSuccess, cameUp).map(check => check.status))).toEqual(
      new Set(['healthy']),
    );
    const seen = checks.filter(check => check.status === 'healthy').map(check => check.timestamp);
    expect(seen).toContain(down.last_seen_at);
  });

  it('leaves a server alone that was deleted or paused, and comes back to one that is resumed', async () => {
    const [gone, paused] = [await managedServer(), await managedServer()];
    const [goneId, pausedId] = [(await register(admin, gone)).id, (await register(admin, paused)).id];
    await whenHealthIs(admin, goneId, 'healthy');
    await whenHealthIs(admin, pausedId, 'healthy');
    await admin.delete(`${fleet}/servers/${goneId}`);
    await admin.patch(`${fleet}/servers/${pausedId}`, { status: 'inactive' });
    await until('both to leave the schedule', async () => test.app.poller!.stats().servers === 1);

    const counts = () => [gone.requests.length, paused.requests.length];
    const before = counts();
    // Another server's checks show that time goes by: several intervals of it, and not one request.
    const witness = await managedServer();
    await register(admin, witness);
    await until('ten requests to another server', async () => witness.requests.length >= 10);
    expect(counts()).toEqual(before);
    expect(await stateOf(admin, pausedId)).toMatchObject({
      health_status: 'unknown',
      health_reason: 'paused',
    });

    await admin.patch(`${fleet}/servers/${pausedId}`, { status: 'active' });
    await whenHealthIs(admin, pausedId, 'healthy');
  });

  it('stores everything it has found before it stops', async () => {
    const server = await managedServer();
    const other = await startTestApp({ settings: { role: 'all', healthIntervalMs, metricsIntervalMs: 300 } });
    try {
      const { id } = await register(await other.as('admin'), server);
      await until('some requests', async () => server.requests.length >= 8);
      await other.app.stop();
      const asked = server.requests.filter(request => request.path === '/health').length;
      const stored = async (table: string) =>
        (
          await other.database.db.system.one<{ count: number }>(sql`
            select count(*)::int as count from ${sql.table(table)} where server_id = ${id}`)
        ).count;
      expect(await stored('server_health_checks')).toBe(asked);
      expect(await stored('server_metrics_aggregated')).toBe(server.requests.length - asked);
      const { leased, workers } = await other.database.db.system.one<{ leased: number; workers: number }>(sql`
        select (select count(*)::int from poll_slots where owner is not null) as leased,
               (select count(*)::int from workers) as workers`);
      expect([leased, workers]).toEqual([0, 0]);
    } finally {
      await other.close();
    }
  });
});

describe('several workers on one database', () => {
  it('share the servers, and one takes over when another stops: every server is polled all the time', async () => {
    const settings = { healthIntervalMs: 300, metricsIntervalMs: 60_000 };
    const first = await startTestApp({ settings: { ...settings, role: 'all' } });
    const second = await startTestApp({
      database: first.database,
      settings: { ...settings, role: 'worker' },
    });
    try {
      const admin = await first.as('admin');
      const servers: ManagedServer[] = [];
      for (let index = 0; index < 12; index += 1) {
        servers.push(await managedServer());
        await register(admin, servers[index]!);
      }
      const slots = (test: TestApp) => test.app.poller!.stats().slots;
      await until('an even share', async () => slots(first) === 128 && slots(second) === 128);
      expect((await admin.get(`${fleet}/workers/status`)).body.polling).toMatchObject({
        workers: 2,
        slots_leased: 256,
      });
      await second.app.stop();
      await until('the first to have everything', async () => slots(first) === 256);
      const before = servers.map(server => server.requests.length);
      await until('three more polls of every server', async () =>
        servers.every((server, index) => server.requests.length >= before[index]! + 3),
      );
      // Every server tells its change once, whoever polled it before and after. A check that was under way when
      // its worker stopped is forgotten, and its successor tells what it finds.
      const changes = await until('a change of every server', async () => {
        const rows = await first.database.db.system.many<{ count: number }>(sql`
          select count(*)::int as count from events where type = 'server.health_changed' group by subject_id`);
        return rows.length === servers.length && rows;
      });
      expect(changes.map(change => change.count)).toEqual(servers.map(() => 1));
    } finally {
      await second.close();
      await first.close();
    }
  });
});
