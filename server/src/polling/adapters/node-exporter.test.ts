import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { EgressReply } from '../../platform/egress/client.ts';
import { isStorableText } from '../../platform/egress/json.ts';
import type { AdapterMemory } from './adapter.ts';
import { nodeExporter, parseExposition } from './node-exporter.ts';

const host = readFileSync(join(import.meta.dirname, 'testdata/node-exporter.txt'), 'utf8');
const reply = (text: string, status = 200): EgressReply => ({
  ok: true,
  status,
  headers: {},
  body: Buffer.from(text),
  durationMs: 1,
  remoteAddress: '192.0.2.1',
});
const metrics = (text: string, memory: AdapterMemory = {}) => {
  const parsed = nodeExporter.readMetrics(reply(text), memory);
  return parsed.ok ? parsed.metrics : parsed.reason;
};
/** The same host later: per CPU so many more seconds idle and busy. */
const later = (idle: number, busy: number): string =>
  host
    .replaceAll('mode="idle"} 1000', `mode="idle"} ${1_000 + idle}`)
    .replaceAll('mode="user"} 100', `mode="user"} ${100 + busy}`);

describe('the metrics of a host', () => {
  it('are what free, df and ip would show, the CPU only from the second scrape on', () => {
    expect(metrics(host)).toEqual({
      memory_percent: 25,
      // Of 80 GB in use and 20 GB available. The other one has 60 of 90.
      disk_percent: 80,
      network_rx_bytes: 2_000_000_000,
      network_tx_bytes: 1_000_000_000,
      active_services: 1,
      failed_services: 1,
      total_services: 2,
    });
  });

  it('have the share of CPU time that was not idle since the scrape before', () => {
    const memory: AdapterMemory = {};
    metrics(host, memory);
    expect(metrics(later(45, 15), memory)).toMatchObject({ cpu_percent: 25 });
    expect(metrics(later(45, 75), memory)).toMatchObject({ cpu_percent: 100 });
  });

  it('leave the CPU out after a restart of the host, and have it again after that', () => {
    const memory: AdapterMemory = {};
    metrics(later(500, 500), memory);
    expect(metrics(host, memory)).not.toHaveProperty('cpu_percent');
    expect(metrics(later(30, 30), memory)).toMatchObject({ cpu_percent: 50 });
  });

  it('are not spoilt by a filesystem that reports nonsense', () => {
    const odd = ['size', 'avail', 'free'].map(
      (name, n) => `node_filesystem_${name}_bytes{fstype="ext4",mountpoint="/odd"} ${n * 1e9}\n`,
    );
    expect(metrics(host + odd.join(''))).toMatchObject({ disk_percent: 80 });
    const empty = ['size', 'avail', 'free'].map(
      name => `node_filesystem_${name}_bytes{fstype="ext4",mountpoint="/odd"} 0\n`,
    );
    expect(metrics(host + empty.join(''))).toMatchObject({ disk_percent: 80 });
  });

  it('are a named failure where there are none', () => {
    expect(metrics('go_goroutines 8\n')).toBe('bad_payload');
    expect(nodeExporter.readMetrics(reply(host, 401), {})).toMatchObject({
      ok: false,
      reason: 'auth_failed',
    });
  });
});

describe('the health of a host', () => {
  it('is degraded by failed units, which it names', () => {
    expect(nodeExporter.readHealth(reply(host))).toEqual({
      kind: 'answered',
      status: 'degraded',
      reason: 'component_failed',
      detail: 'services: nginx.service',
      components: {
        services: { healthy: false, critical: false, status: '1 failed', message: 'nginx.service' },
      },
      version: 'node_exporter 1.9.1',
    });
  });

  it('is good where no unit has failed, or none is reported', () => {
    const recovered = host.replace('state="failed",type="forking"} 1', 'state="failed",type="forking"} 0');
    expect(nodeExporter.readHealth(reply(recovered))).toMatchObject({ status: 'healthy', reason: 'ok' });
    expect(nodeExporter.readHealth(reply('node_memory_MemTotal_bytes 8e+09'))).toMatchObject({
      status: 'healthy',
    });
  });

  it.each([
    ['another exporter', 'go_goroutines 8', 200, 'bad_payload'],
    ['HTML', '<html></html>', 200, 'bad_payload'],
    ['HTTP 404', host, 404, 'not_found'],
  ])('%s is no answer', (_name, text, status, reason) => {
    expect(nodeExporter.readHealth(reply(text, status))).toMatchObject({
      kind: 'failed',
      reason,
      reached: true,
    });
  });
});

describe('the text format', () => {
  it('keeps what is escaped in a label, and passes over timestamps and lines that are not of the format', () => {
    const samples = parseExposition(
      'node_cpu_seconds_total{mode="a\\"b\\\\c\\nd", cpu = "}" ,} 1.5 1395066363000\n' +
        'node_cpu_seconds_total{mode="idle"}\nnode_cpu_seconds_total NaN\nnode_cpu_seconds_total{mode= 3',
    );
    const [sample, ...others] = samples.get('node_cpu_seconds_total')!;
    expect(others).toEqual([]);
    expect(sample!.value).toBe(1.5);
    expect([...sample!.labels]).toEqual([
      ['mode', 'a"b\\c\nd'],
      ['cpu', '}'],
    ]);
  });

  it.each([
    ['a label name without end', `node_cpu_seconds_total{${'a'.repeat(4_000_000)}} 1`],
    ['a label without end', `node_cpu_seconds_total{a="${'a'.repeat(4_000_000)}} 1`],
    ['many long label names', `node_cpu_seconds_total{${'a'.repeat(8_000)}} 1\n`.repeat(500)],
    [
      'many filesystems',
      Array.from(
        { length: 40_000 },
        (_, n) =>
          `node_filesystem_size_bytes{mountpoint="/${n}"} 9\nnode_filesystem_avail_bytes{mountpoint="/${n}"} 1\n`,
      ).join(''),
    ],
    ['four million lines', '\n'.repeat(4_000_000)],
  ])('%s costs no more than its length', (_name, text) => {
    // The square of any of these lengths would not come back within the time a test has.
    nodeExporter.readMetrics(reply(text), {});
    expect(nodeExporter.readHealth(reply(text)).kind).toMatch(/answered|failed/);
  });

  it('has an outcome whatever the bytes, fit to be stored', () => {
    const line = fc.tuple(
      fc.constantFrom(
        'node_systemd_unit_state',
        'node_cpu_seconds_total',
        'node_exporter_build_info',
        'node_filesystem_size_bytes',
        'x',
      ),
      fc.string({ unit: 'binary', maxLength: 20 }),
      fc.oneof(fc.double().map(String), fc.string()),
    );
    const text = fc.array(
      fc.oneof(
        line.map(
          ([name, label, value]) =>
            `${name}{name="${label}",state="failed",version="${label}",mountpoint="/"} ${value}`,
        ),
        fc.string({ unit: 'binary' }),
        fc.constant('node_systemd_unit_state{name="a\u0000\u001b[31mb",state="failed"} 1'),
      ),
      { maxLength: 20 },
    );
    fc.assert(
      fc.property(text, lines => {
        const answer = reply(`node_memory_MemTotal_bytes 1\n${lines.join('\n')}`);
        const outcome = nodeExporter.readHealth(answer);
        expect(
          isStorableText(JSON.stringify(outcome)) && !/\\u0000|\\ud[89a-f]/.test(JSON.stringify(outcome)),
        ).toBe(true);
        const parsed = nodeExporter.readMetrics(answer, {});
        for (const value of Object.values(parsed.ok ? parsed.metrics : {}))
          expect(Number.isFinite(value)).toBe(true);
      }),
    );
  });
});
