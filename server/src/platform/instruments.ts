import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

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
    skipped: new Counter({
      name: 'opsfleet_polls_skipped_total',
      help: 'Polls not started because the previous one of the same server and kind was still running.',
      labelNames: ['kind'] as const,
      registers,
    }),
    inFlight: new Gauge({
      name: 'opsfleet_polls_in_flight',
      help: 'Polls running now, by lane.',
      labelNames: ['lane'] as const,
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
      help: 'Results not stored yet.',
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
      help: 'Results lost because the database was away for longer than memory could hold them.',
      labelNames: ['queue'] as const,
      registers,
    }),
    streams: new Gauge({ name: 'opsfleet_live_streams', help: 'Open live streams.', registers }),
  };
}
