import { describe, expect, it } from 'vitest';
import { healthBody, metricsBody, ResponseWriter } from './answers.ts';

const PERCENTAGES = ['cpu_percent', 'memory_percent', 'disk_percent'];
const COUNTERS = ['network_rx_bytes', 'network_tx_bytes', 'llm_requests', 'llm_cost_usd'];
const GAUGES = ['active_services', 'failed_services', 'total_services', 'active_users', 'total_users'];

function metricsAt(index: number, upSeconds: number): Record<string, number> {
  return JSON.parse(metricsBody(index, upSeconds, false));
}

describe('healthBody', () => {
  it('has two components and the services', () => {
    const database = { status: 'ok' };
    expect(JSON.parse(healthBody(false))).toEqual({ database, redis: database, services: { healthy: true } });
    expect(JSON.parse(healthBody(true))).toEqual({ database, redis: database, services: { healthy: false } });
  });
});

describe('metricsBody', () => {
  it('has exactly the twelve fields', () => {
    expect(Object.keys(metricsAt(0, 0)).toSorted()).toEqual(
      [...PERCENTAGES, ...COUNTERS, ...GAUGES].toSorted(),
    );
  });

  it('stays within 0 and 100 percent, and moves', () => {
    for (let index = 0; index < 120; index++) {
      const seen = new Set<number>();
      for (let upSeconds = 0; upSeconds < 400 * 86_400; upSeconds += 4_000_037) {
        const metrics = metricsAt(index, upSeconds);
        for (const field of PERCENTAGES) {
          expect(metrics[field]).toBeGreaterThanOrEqual(0);
          expect(metrics[field]).toBeLessThanOrEqual(100);
        }
        seen.add(metrics['cpu_percent']!);
      }
      expect(seen.size).toBeGreaterThan(1);
    }
  });

  it('never lets a counter shrink', () => {
    for (let index = 0; index < 120; index += 7) {
      let before = metricsAt(index, 86_400);
      for (let upSeconds = 86_401; upSeconds < 86_400 + 900; upSeconds++) {
        const now = metricsAt(index, upSeconds);
        for (const counter of COUNTERS) expect(now[counter]).toBeGreaterThanOrEqual(before[counter]!);
        before = now;
      }
    }
  });

  it('counts a failed service on a degraded server', () => {
    expect(JSON.parse(metricsBody(0, 1, true))).toMatchObject({ active_services: 11, failed_services: 1 });
  });
});

describe('ResponseWriter', () => {
  it('writes a whole response with its length and date', () => {
    const writer = new ResponseWriter(() => Date.UTC(2026, 0, 2, 3, 4, 5, 678));
    expect(writer.write(200, '{}', true)).toBe(
      'HTTP/1.1 200 OK\r\nDate: Fri, 02 Jan 2026 03:04:05 GMT\r\n' +
        'Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}',
    );
    expect(writer.write(500, '{}', false)).toMatch(
      /^HTTP\/1\.1 500 Internal Server Error\r\n.*Connection: close\r\n/s,
    );
  });

  it('moves the date on with the clock', () => {
    let nowMs = 0;
    const writer = new ResponseWriter(() => nowMs);
    expect(writer.write(200, '{}', true)).toContain('00:00:00 GMT');
    nowMs = 1_000;
    expect(writer.write(200, '{}', true)).toContain('00:00:01 GMT');
  });
});
