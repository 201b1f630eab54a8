import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { EgressStats } from './egress/client.ts';

/**
 * Everything `/metrics` shows, in Prometheus' exposition format. No label names a server or an organization:
 * their number has no bound, and a time series each would outgrow what it measures.
 */
export type Instruments = ReturnType<typeof createInstruments>;

export function createInstruments() {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry, prefix: 'opsfleet_' });
  return {
    registry,
    requests: new Histogram({
      name: 'opsfleet_http_request_duration_seconds',
      help: 'Time to answer an API request.',
      labelNames: ['method', 'route', 'status'] as const,
      buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
      registers,
    }),
    checks: new Counter({
      name: 'opsfleet_polls_total',
      help: 'Polls finished, by kind and by the named reason of their outcome.',
      labelNames: ['kind', 'reason'] as const,
      registers,
    }),
    lateness: new Histogram({
      name: 'opsfleet_poll_lateness_seconds',
      help: 'How long after its due time a poll started.',
      labelNames: ['kind'] as const,
      buckets: [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60],
      registers,
    }),
    witnessed: new Counter({
      name: 'opsfleet_polls_witnessed_total',
      help: 'Checks that could have called a server unreachable, by what came of asking another worker.',
      labelNames: ['because'] as const,
      registers,
    }),
    referenceUp: new Gauge({
      name: 'opsfleet_reference_up',
      help: 'Whether a target of OPSFLEET_REFERENCES answered when it was last asked: when servers were in doubt.',
      labelNames: ['target'] as const,
      registers,
    }),
    skipped: new Counter({
      name: 'opsfleet_polls_skipped_total',
      help: 'Polls not started because the previous one of the same server and kind was still running.',
      labelNames: ['kind'] as const,
      registers,
    }),
    scheduled: new Gauge({
      name: 'opsfleet_scheduled_servers',
      help: 'Servers this worker polls.',
      registers,
    }),
    slots: new Gauge({
      name: 'opsfleet_poll_slots_held',
      help: 'Poll slots this worker leases, of 256.',
      registers,
    }),
    flushed: new Counter({
      name: 'opsfleet_rows_stored_total',
      help: 'History rows stored, by kind.',
      labelNames: ['kind'] as const,
      registers,
    }),
    flushFailures: new Counter({
      name: 'opsfleet_store_failures_total',
      help: 'Batches that the database did not take and that wait for the next try.',
      registers,
    }),
    waiting: new Gauge({
      name: 'opsfleet_results_waiting',
      help: 'Results in memory that are not stored yet.',
      registers,
    }),
    quarantined: new Counter({
      name: 'opsfleet_results_quarantined_total',
      help: 'Results that the database will never take; their neighbours were stored.',
      labelNames: ['queue'] as const,
      registers,
    }),
    overflowed: new Counter({
      name: 'opsfleet_results_overflowed_total',
      help: 'Results lost because the database was away for longer than disk and memory could hold them.',
      labelNames: ['queue'] as const,
      registers,
    }),
    unreadable: new Counter({
      name: 'opsfleet_spool_unreadable_total',
      help: 'Batches lost because what came back from disk was not what this version writes.',
      labelNames: ['queue'] as const,
      registers,
    }),
    spoolBytes: new Gauge({
      name: 'opsfleet_spool_bytes',
      help: 'Disk that results wait on for the database.',
      registers,
    }),
    spoolRecords: new Gauge({
      name: 'opsfleet_spool_records',
      help: 'Batches of results that wait on disk for the database.',
      registers,
    }),
    spoolAge: new Gauge({
      name: 'opsfleet_spool_oldest_age_seconds',
      help: 'How long the oldest results have waited on disk, at most; 0 where none do.',
      registers,
    }),
    spoolCorrupt: new Gauge({
      name: 'opsfleet_spool_corrupt',
      help: 'Times that spooled results could not be read back since this process started; some were lost each time.',
      registers,
    }),
    partitionsAhead: new Gauge({
      name: 'opsfleet_partitions_ahead',
      help: 'Whole partition intervals after the current one whose rows have their place already, as upkeep last saw it.',
      labelNames: ['table'] as const,
      registers,
    }),
    tableBytes: new Gauge({
      name: 'opsfleet_table_bytes',
      help: 'What a partitioned table takes on disk with its indexes, as upkeep last saw it: once an hour.',
      labelNames: ['table'] as const,
      registers,
    }),
    partitionsOverdue: new Gauge({
      name: 'opsfleet_partitions_overdue',
      help: 'Partitions that are older than what is kept and still there: they wait to be summed up or archived.',
      labelNames: ['table'] as const,
      registers,
    }),
    rolledUntil: new Gauge({
      name: 'opsfleet_rolled_up_until_seconds',
      help: 'Until when history has been summed up to periods of this length, as Unix time: late is more than two of them.',
      labelNames: ['kind', 'period'] as const,
      registers,
    }),
    streams: new Gauge({ name: 'opsfleet_live_streams', help: 'Open live streams.', registers }),
  };
}

type EgressInstrument = { name: string; help: string; stat: keyof EgressStats };

const egressGauges: readonly EgressInstrument[] = [
  { name: 'opsfleet_egress_open_sockets', help: 'Sockets to servers.', stat: 'openSockets' },
  {
    name: 'opsfleet_egress_idle_connections',
    help: 'Connections to servers that are kept for their next request.',
    stat: 'idleConnections',
  },
  {
    name: 'opsfleet_egress_descriptors_waiting',
    help: 'Requests that wait for a descriptor.',
    stat: 'descriptorsWaiting',
  },
  {
    name: 'opsfleet_egress_handshakes_waiting',
    help: 'Connections that wait for their turn to shake hands over TLS.',
    stat: 'handshakesWaiting',
  },
  { name: 'opsfleet_egress_dns_entries', help: 'Names in the DNS cache.', stat: 'namesKnown' },
];

const egressCounters: readonly EgressInstrument[] = [
  {
    name: 'opsfleet_egress_connections_opened_total',
    help: 'Connections opened to servers.',
    stat: 'connectionsOpened',
  },
  {
    name: 'opsfleet_egress_closed_for_descriptors_total',
    help: 'Connections closed that could have been kept, for want of descriptors.',
    stat: 'closedForDescriptors',
  },
  {
    name: 'opsfleet_egress_stale_retries_total',
    help: 'Requests sent again because a kept connection had just been closed.',
    stat: 'staleRetries',
  },
];

/** Has `/metrics` show how the outbound calls are, read when somebody looks. Once for each registry. */
export function exposeEgress({ registry }: Instruments, stats: () => EgressStats): void {
  for (const { name, help, stat } of egressGauges) {
    const collect = () => gauge.set(stats()[stat]);
    const gauge: Gauge = new Gauge({ name, help, registers: [], collect });
    registry.registerMetric(gauge);
  }
  for (const { name, help, stat } of egressCounters) {
    const collect = () => {
      counter.reset();
      counter.inc(stats()[stat]);
    };
    const counter: Counter = new Counter({ name, help, registers: [], collect });
    registry.registerMetric(counter);
  }
}

/** Has `/metrics` show how many polls run in each lane, read when somebody looks. Once for each registry. */
export function exposePolls(
  { registry }: Instruments,
  inFlight: () => Readonly<Record<string, number>>,
): void {
  const collect = () => {
    for (const [lane, count] of Object.entries(inFlight())) gauge.set({ lane }, count);
  };
  const gauge: Gauge<'lane'> = new Gauge({
    name: 'opsfleet_polls_in_flight',
    help: 'Polls running now, by lane.',
    labelNames: ['lane'],
    registers: [],
    collect,
  });
  registry.registerMetric(gauge);
}
