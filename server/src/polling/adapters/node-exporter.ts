import type { CheckOutcome } from '../../health/check.ts';
import { type MetricField, type ParsedMetrics, parseMetrics } from '../../metrics/metric.ts';
import type { EgressReply } from '../../platform/egress/client.ts';
import { type Adapter, type AdapterMemory, badPayload, readStatus, text } from './adapter.ts';

/** A host that runs Prometheus' node_exporter: https://github.com/prometheus/node_exporter */
export const nodeExporter: Adapter = {
  healthPaths: ['/metrics'],
  metricsPaths: ['/metrics'],
  accept: 'text/plain;version=0.0.4',
  maxHealthBytes: 4 * 1024 * 1024,
  maxMetricsBytes: 4 * 1024 * 1024,
  readHealth(reply): CheckOutcome {
    const failed = readStatus(reply);
    if (failed !== null) return failed;
    const samples = parseExposition(reply.body.toString('utf8'));
    if (!samples.has('node_memory_MemTotal_bytes') && !samples.has('node_cpu_seconds_total')) {
      return badPayload('The answer has no node_exporter metrics.');
    }
    const failedUnits = (samples.get('node_systemd_unit_state') ?? []).filter(
      ({ labels, value }) => labels.get('state') === 'failed' && value === 1,
    );
    const build = samples.get('node_exporter_build_info')?.[0]?.labels.get('version');
    const version = build === undefined ? null : text(`node_exporter ${build}`, 50);
    if (failedUnits.length === 0) {
      return { kind: 'answered', status: 'healthy', reason: 'ok', detail: null, components: {}, version };
    }
    const names = failedUnits.slice(0, 5).map(({ labels }) => text(labels.get('name') ?? '?', 100));
    const message = names.join(', ');
    const status = `${failedUnits.length} failed`;
    return {
      kind: 'answered',
      status: 'degraded',
      reason: 'component_failed',
      detail: `services: ${message}`,
      components: { services: { healthy: false, critical: false, status, message } },
      version,
    };
  },
  readMetrics: (reply: EgressReply, memory: AdapterMemory): ParsedMetrics => {
    const failed = readStatus(reply);
    if (failed !== null) return { ok: false, reason: failed.reason, detail: failed.detail };
    return parseMetrics(readHost(parseExposition(reply.body.toString('utf8')), memory));
  },
};

type Sample = { labels: ReadonlyMap<string, string>; value: number };
type Samples = ReadonlyMap<string, readonly Sample[]>;

/** The names we read; everything else is passed over before it costs anything. */
const wanted: ReadonlySet<string> = new Set([
  'node_cpu_seconds_total',
  'node_memory_MemTotal_bytes',
  'node_memory_MemAvailable_bytes',
  'node_filesystem_size_bytes',
  'node_filesystem_free_bytes',
  'node_filesystem_avail_bytes',
  'node_network_receive_bytes_total',
  'node_network_transmit_bytes_total',
  'node_systemd_unit_state',
  'node_exporter_build_info',
]);

/** Of the samples we read, none comes near it; the limit bounds what one hostile line can cost. */
const maxLineLength = 8 * 1024;

/**
 * The samples of Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats/) that
 * we have a use for. Lines that are not of the format are passed over.
 */
export function parseExposition(exposition: string): Samples {
  const samples = new Map<string, Sample[]>();
  for (let start = 0, end = 0; start < exposition.length; start = end + 1) {
    end = exposition.indexOf('\n', start);
    if (end === -1) end = exposition.length;
    if (end - start > maxLineLength) continue;
    const line = exposition.slice(start, end);
    const name = /^[a-zA-Z_:][a-zA-Z0-9_:]*/.exec(line)?.[0];
    if (name === undefined || !wanted.has(name)) continue;
    const rest = line.slice(name.length);
    const labelsEnd = rest.startsWith('{') ? rest.lastIndexOf('}') : -1;
    const value = Number(/^[ \t]*(\S+)/.exec(rest.slice(labelsEnd + 1))?.[1]);
    if (!Number.isFinite(value)) continue;
    const sample = { labels: readLabels(rest.slice(1, Math.max(1, labelsEnd))), value };
    const known = samples.get(name);
    if (known === undefined) samples.set(name, [sample]);
    else known.push(sample);
  }
  return samples;
}

/**
 * `a="1",b="2"`. Each match begins where the last one ended, and the first that fails ends it: a pattern that
 * may begin anywhere takes the square of the time on a long line, and the line is somebody else's.
 */
function readLabels(list: string): Sample['labels'] {
  const labels = new Map<string, string>();
  for (const [, key, quoted] of list.matchAll(
    /[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\]|\\.)*)"[ \t]*(?:,|$)/gy,
  )) {
    labels.set(
      key!,
      quoted!.replaceAll(/\\(.)/g, (_all, escaped: string) => (escaped === 'n' ? '\n' : escaped)),
    );
  }
  return labels;
}

const virtualFilesystem = /^(tmpfs|ramfs|devtmpfs|squashfs|overlay|iso9660|autofs|nfs4?|cifs|fuse\..*)$/;
const virtualInterface = /^(lo|veth.*|docker.*|br-.*|virbr.*|tun.*|tap.*|cni.*|flannel.*|cali.*)$/;

/** The contract's fields out of a host's samples; what the host does not report is left out. */
export function readHost(samples: Samples, memory: AdapterMemory): Partial<Record<MetricField, number>> {
  const fields: Partial<Record<MetricField, number>> = {};
  const cpu = cpuPercent(samples, memory);
  if (cpu !== null) fields.cpu_percent = cpu;
  const total = samples.get('node_memory_MemTotal_bytes')?.[0]?.value;
  const available = samples.get('node_memory_MemAvailable_bytes')?.[0]?.value;
  if (total !== undefined && available !== undefined && total > 0) {
    fields.memory_percent = (100 * (total - available)) / total;
  }
  const disk = fullestDiskPercent(samples);
  if (disk !== null) fields.disk_percent = disk;
  const received = sumOfInterfaces(samples, 'node_network_receive_bytes_total');
  if (received !== null) fields.network_rx_bytes = received;
  const sent = sumOfInterfaces(samples, 'node_network_transmit_bytes_total');
  if (sent !== null) fields.network_tx_bytes = sent;
  const units = samples
    .get('node_systemd_unit_state')
    ?.filter(({ labels }) => (labels.get('name') ?? '').endsWith('.service'));
  if (units !== undefined && units.length > 0) {
    const count = (state: string): number =>
      units.filter(({ labels, value }) => labels.get('state') === state && value === 1).length;
    fields.active_services = count('active');
    fields.failed_services = count('failed');
    fields.total_services = new Set(units.map(({ labels }) => labels.get('name'))).size;
  }
  return fields;
}

/** Share of the CPU time since the scrape before that was not idle; null on the first scrape and after a reset. */
function cpuPercent(samples: Samples, memory: AdapterMemory): number | null {
  const cpus = samples.get('node_cpu_seconds_total');
  if (cpus === undefined) return null;
  let idle = 0;
  let total = 0;
  for (const { labels, value } of cpus) {
    total += value;
    if (labels.get('mode') === 'idle' || labels.get('mode') === 'iowait') idle += value;
  }
  const before = memory.cpu;
  memory.cpu = { idle, total };
  if (before === undefined || total <= before.total || idle < before.idle) return null;
  return 100 * (1 - (idle - before.idle) / (total - before.total));
}

/** As `df` counts: used / (used + available to ordinary users), of the fullest filesystem on a device. */
function fullestDiskPercent(samples: Samples): number | null {
  const free = byMountpoint(samples, 'node_filesystem_free_bytes');
  const avail = byMountpoint(samples, 'node_filesystem_avail_bytes');
  let fullest: number | null = null;
  for (const { labels, value: size } of samples.get('node_filesystem_size_bytes') ?? []) {
    const mountpoint = labels.get('mountpoint') ?? '';
    const available = avail.get(mountpoint);
    if (available === undefined || virtualFilesystem.test(labels.get('fstype') ?? '')) continue;
    const used = size - (free.get(mountpoint) ?? available);
    const percent = (100 * used) / (used + available);
    // What does not add up is no filesystem's percentage, and must not hide the others'.
    if (percent >= 0 && percent <= 100) fullest = Math.max(fullest ?? 0, percent);
  }
  return fullest;
}

const byMountpoint = (samples: Samples, name: string): ReadonlyMap<string, number> =>
  new Map((samples.get(name) ?? []).map(({ labels, value }) => [labels.get('mountpoint') ?? '', value]));

function sumOfInterfaces(samples: Samples, name: string): number | null {
  const physical = samples
    .get(name)
    ?.filter(({ labels }) => !virtualInterface.test(labels.get('device') ?? ''));
  return physical === undefined || physical.length === 0
    ? null
    : Math.trunc(physical.reduce((sum, { value }) => sum + value, 0));
}
