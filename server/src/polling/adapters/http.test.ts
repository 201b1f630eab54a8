import { expect, it } from 'vitest';
import type { EgressReply } from '../../platform/egress/client.ts';
import { http } from './http.ts';

const reply = (status: number): EgressReply => ({
  ok: true,
  status,
  headers: {},
  body: Buffer.from('<html>'),
  durationMs: 1,
  remoteAddress: '192.0.2.1',
});

it.each([
  [200, 'ok'],
  [204, 'ok'],
  [401, 'auth_failed'],
  [404, 'not_found'],
  [502, 'http_502'],
])('HTTP %i is %s', (status, reason) => {
  expect(http.readHealth(reply(status)).reason).toBe(reason);
});

it('has no metrics', () => {
  expect(http.metricsPaths).toEqual([]);
  expect(http.readMetrics(reply(200), {})).toMatchObject({ ok: false, reason: 'not_found' });
});
