import type { HealthCheck } from '@opsfleet/sdk';
import { expect, test } from 'vitest';
import { stretchesOf } from './transitions.ts';

const check = (minute: number, status: HealthCheck['status'], reason: string): HealthCheck => ({
  id: minute,
  server_id: 'a',
  timestamp: `2026-03-10T12:0${minute}:00.000Z`,
  status,
  reason,
  response_time_ms: 10,
  database_healthy: null,
  redis_healthy: null,
  services_healthy: null,
  error_message: reason === 'ok' ? null : `said ${reason}`,
  error_details: null,
  created_at: `2026-03-10T12:0${minute}:00.000Z`,
});

test('checks that found the same are one stretch; another reason begins a new one', () => {
  const checks = [
    check(5, 'healthy', 'ok'),
    check(4, 'unreachable', 'timeout'),
    check(3, 'unreachable', 'timeout'),
    check(2, 'unreachable', 'refused'),
    check(1, 'healthy', 'ok'),
  ];
  expect(stretchesOf(checks).map(({ reason, checks: count, message }) => [reason, count, message])).toEqual([
    ['ok', 1, null],
    ['timeout', 2, 'said timeout'],
    ['refused', 1, 'said refused'],
    ['ok', 1, null],
  ]);
  const timeout = stretchesOf(checks)[1]!;
  expect([timeout.from, timeout.to]).toEqual(['2026-03-10T12:03:00.000Z', '2026-03-10T12:04:00.000Z']);
});

test('no checks are no stretches', () => {
  expect(stretchesOf([])).toEqual([]);
});
