import type { Server } from '@opsfleet/sdk';
import { describe, expect, test } from 'vitest';
import { createLiveStore, type LiveServer, readMessage, withLatest } from './store.ts';

const live = (changes: Partial<LiveServer> = {}): LiveServer => ({
  id: 'a',
  status: 'active',
  health_status: 'healthy',
  health_reason: 'ok',
  health_detail: null,
  health_since: '2026-03-10T12:00:00.000Z',
  suspect_since: null,
  recovering_since: null,
  flapping_since: null,
  breaker_opened_at: null,
  last_seen_at: null,
  last_health_check_at: '2026-03-10T12:00:30.000Z',
  response_time_ms: 12,
  latest_metrics: null,
  last_metrics_at: null,
  metrics_reason: null,
  revision: 1,
  ...changes,
});

const server = (changes: Partial<Server> = {}): Server => ({
  ...live(),
  organization_id: 'o',
  name: 'web-1',
  description: null,
  hostname: 'web-1',
  api_url: 'https://web-1',
  adapter: 'ops-center',
  version: null,
  region: null,
  environment: null,
  components: null,
  tags: [],
  metadata: {},
  health_interval_seconds: null,
  metrics_interval_seconds: null,
  created_at: '2026-03-10T11:00:00.000Z',
  updated_at: '2026-03-10T11:00:00.000Z',
  ...changes,
});

describe('reading messages', () => {
  test('a tick brings servers, an event its subject, and resync says to read anew', () => {
    expect(readMessage('tick', JSON.stringify({ servers: [live()] }))).toEqual({
      kind: 'tick',
      servers: [live()],
    });
    expect(readMessage('server.deleted', '{"subject":"a"}')).toEqual({
      kind: 'event',
      event: { type: 'server.deleted', subject: 'a' },
    });
    expect(readMessage('resync', '{}')).toEqual({ kind: 'resync' });
  });

  test.each([
    ['hello', '{}'],
    ['tick', '{"servers":1}'],
    ['tick', 'null'],
    ['server.updated', '{"subject":7}'],
    ['server.updated', 'not JSON'],
  ])('%s with %s says nothing', (type, data) => {
    expect(readMessage(type, data)).toBeNull();
  });
});

describe('the store', () => {
  test('tells a row of its own changes, and of no others', () => {
    const store = createLiveStore();
    const told: string[] = [];
    store.subscribe('a', () => told.push('a'));
    const stop = store.subscribe('b', () => told.push('b'));
    store.apply({ kind: 'tick', servers: [live({ id: 'a' })] });
    store.apply({ kind: 'tick', servers: [live({ id: 'b' }), live({ id: 'c' })] });
    stop();
    store.apply({ kind: 'tick', servers: [live({ id: 'b' })] });
    expect(told).toEqual(['a', 'b']);
  });

  test('keeps the newest state, and that a server was deleted', () => {
    const store = createLiveStore();
    store.apply({ kind: 'tick', servers: [live({ response_time_ms: 1 }), live({ response_time_ms: 2 })] });
    expect(store.latest('a')?.response_time_ms).toBe(2);
    expect(store.apply({ kind: 'event', event: { type: 'server.deleted', subject: 'a' } })).toEqual(['a']);
    expect([store.latest('a'), store.isDeleted('a')]).toEqual([null, true]);
  });

  test('forgets what it knew when something may have been missed', () => {
    const store = createLiveStore();
    store.apply({ kind: 'tick', servers: [live()] });
    expect(store.apply({ kind: 'resync' })).toEqual(['a']);
    expect(store.latest('a')).toBeNull();
  });
});

describe('a server with what the stream told', () => {
  test('shows the newer values and keeps the rest', () => {
    const shown = withLatest(server(), live({ health_status: 'critical' }));
    expect([shown.name, shown.health_status]).toEqual(['web-1', 'critical']);
  });

  test('is not turned back by a tick that was overtaken', () => {
    const read = server({ revision: 2, health_status: 'unknown' });
    expect(withLatest(read, live({ revision: 1 }))).toBe(read);
    const checked = server({ last_health_check_at: '2026-03-10T12:01:00.000Z' });
    expect(withLatest(checked, live())).toBe(checked);
  });
});
