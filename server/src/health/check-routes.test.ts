import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Client, startTestApp, type TestApp } from '../../test/app.ts';
import { type ManagedServer, metricsBody } from '../../test/fakes/managed-server.ts';
import {
  checksOf,
  fleet,
  managedServer,
  register,
  stateOf,
  whenHealthIs,
} from '../../test/fakes/polled-fleet.ts';
import { until } from '../../test/fakes/until.ts';
import { systemClock } from '../platform/clock.ts';

describe('checking one server', () => {
  let test: TestApp;
  let admin: Client;
  beforeAll(async () => {
    test = await startTestApp({ settings: { role: 'all' } });
    admin = await test.as('admin');
  });
  afterAll(() => test.close());

  it('checks on demand, answers with what that check found, and writes it down', async () => {
    const server = await managedServer();
    const { id } = await register(admin, server);
    await whenHealthIs(admin, id, 'healthy');
    server.answer('health', { database: { status: 'down', message: 'disk full' } });
    const { status, body } = await admin.post(`${fleet}/servers/${id}/health-check`);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      server_id: id,
      status: 'critical',
      reason: 'component_failed',
      error: 'database: disk full',
    });
    expect((await checksOf(admin, id)).at(-1)).toMatchObject({
      timestamp: body.timestamp,
      database_healthy: false,
      error_message: 'database: disk full',
      error_details: { database: { healthy: false, message: 'disk full' } },
    });
    expect(await whenHealthIs(admin, id, 'critical')).toMatchObject({
      health_reason: 'component_failed',
      health_detail: 'database: disk full',
    });
  });

  it('tells of a check that failed, although one alone changes nothing', async () => {
    const server = await managedServer();
    const { id } = await register(admin, server);
    await whenHealthIs(admin, id, 'healthy');
    await server.die();
    const { body } = await admin.post(`${fleet}/servers/${id}/health-check`);
    expect(body).toMatchObject({ status: 'unreachable', reason: 'refused' });
    expect(body.response_time_ms).toBeUndefined();
    expect(await stateOf(admin, id)).toMatchObject({ health_status: 'healthy' });
  });

  it('answers although the server hangs, and a check of it hangs already', async () => {
    const server = await managedServer();
    server.answer('health', null);
    const { id } = await register(admin, server);
    await until('the first check to begin', async () => server.requests.length > 0);
    const { status, body } = await admin.post(`${fleet}/servers/${id}/health-check`);
    expect(status).toBe(200);
    expect(body).toMatchObject({ status: 'unreachable', reason: 'timeout' });
    const checks = await checksOf(admin, id);
    expect(checks.map((check: { reason: string }) => check.reason)).toEqual(['timeout', 'timeout']);
    expect(checks[1].timestamp).toBe(body.timestamp);
  });

  it('collects on demand, and says why where there is nothing to collect', async () => {
    const server = await managedServer();
    const { id } = await register(admin, server);
    server.answer('metrics', { ...metricsBody, cpu_percent: 99 });
    expect((await admin.post(`${fleet}/servers/${id}/metrics/collect`)).body).toEqual({
      status: 'success',
      server_id: id,
    });
    await until(
      'the collected value',
      async () => (await stateOf(admin, id)).latest_metrics?.cpu_percent === 99,
    );
    server.answer('metrics', 500);
    const failed = await admin.post(`${fleet}/servers/${id}/metrics/collect`);
    expect(failed.status).toBe(502);
    expect(failed.body.detail).toContain('http_500');
    expect((await stateOf(admin, id)).latest_metrics).toMatchObject({ cpu_percent: 99 });
  });

  it('does not check what is paused, and refuses to when asked', async () => {
    const server = await managedServer();
    const { id } = await register(admin, server);
    await whenHealthIs(admin, id, 'healthy');
    await admin.patch(`${fleet}/servers/${id}`, { status: 'maintenance' });
    expect(await stateOf(admin, id)).toMatchObject({ health_status: 'unknown', health_reason: 'paused' });
    for (const path of ['health-check', 'metrics/collect']) {
      const refused = await admin.post(`${fleet}/servers/${id}/${path}`);
      expect(refused.status).toBe(409);
      expect(refused.body.detail).toContain('maintenance');
    }
    await admin.patch(`${fleet}/servers/${id}`, { status: 'active' });
    expect(await whenHealthIs(admin, id, 'healthy')).toMatchObject({ health_reason: 'ok' });
  });
});

describe('checking a whole fleet', () => {
  let test: TestApp;
  let admin: Client;
  beforeAll(async () => {
    test = await startTestApp({ settings: { role: 'all' } });
    admin = await test.as('admin');
  });
  afterAll(() => test.close());

  it('answers an empty one at once', async () => {
    const { status, body } = await admin.post(`${fleet}/health-check/all`);
    expect(status).toBe(200);
    expect(body).toEqual({
      results: [],
      total: 0,
      healthy: 0,
      degraded: 0,
      critical: 0,
      unreachable: 0,
      error: 0,
    });
  });

  it('answers a small one with all results, and leaves out what is paused', async () => {
    const servers = [
      await managedServer(),
      await managedServer(),
      await managedServer(),
      await managedServer(),
    ];
    const [well, sick, dead, paused] = servers as [
      ManagedServer,
      ManagedServer,
      ManagedServer,
      ManagedServer,
    ];
    sick.answer('health', { services: { healthy: false } });
    await dead.die();
    const ids = [];
    for (const server of [well, sick, dead, paused]) ids.push((await register(admin, server)).id);
    await admin.patch(`${fleet}/servers/${ids[3]}`, { status: 'inactive' });

    const { status, body } = await admin.post(`${fleet}/health-check/all`);
    expect(status).toBe(200);
    expect(body).toMatchObject({ total: 3, healthy: 1, degraded: 1, critical: 0, unreachable: 1, error: 0 });
    const found = Object.fromEntries(
      body.results.map((each: { server_id: string; status: string }) => [each.server_id, each.status]),
    );
    expect(found).toEqual({ [ids[0]!]: 'healthy', [ids[1]!]: 'degraded', [ids[2]!]: 'unreachable' });
  });

  it('gives a job to follow to whoever prefers it', async () => {
    const accepted = await admin.post(`${fleet}/health-check/all`, undefined, { prefer: 'respond-async' });
    expect(accepted.status).toBe(202);
    const location = accepted.headers.get('location')!;
    const job = await until('the end of the job', async () => {
      const { body } = await admin.get(location);
      return body.job.status === 'completed' && body;
    });
    expect(job.job).toMatchObject({ id: accepted.body.job.id, total: 3, checked: 3 });
    expect(job.results).toHaveLength(3);
    expect((await (await test.as('admin', 'other')).get(location)).status).toBe(404);
  });
});

describe('without a worker', () => {
  it('a check asked for is answered by 503, which says when to try again', async () => {
    // Nobody comes, so time may go twenty times as fast.
    const clock = { ...systemClock, monotonicMs: () => 20 * systemClock.monotonicMs() };
    const test = await startTestApp({ settings: { role: 'api' }, app: { clock } });
    try {
      const admin = await test.as('admin');
      const { id } = await register(admin, { url: 'http://127.0.0.1:9999' });
      const { status, headers, body } = await admin.post(`${fleet}/servers/${id}/health-check`);
      expect(status).toBe(503);
      expect(headers.get('retry-after')).toBe('10');
      expect(body.detail).toContain('worker');
    } finally {
      await test.close();
    }
  });
});
