import { type Adapter, readStatus } from './adapter.ts';

/** Anything that answers HTTP: a success is healthy, and there is nothing more to know. */
export const http: Adapter = {
  healthPaths: [''],
  metricsPaths: [],
  accept: '*/*',
  maxHealthBytes: 1024 * 1024,
  maxMetricsBytes: 0,
  readHealth: reply =>
    readStatus(reply) ?? {
      kind: 'answered',
      status: 'healthy',
      reason: 'ok',
      detail: null,
      components: {},
      version: null,
    },
  readMetrics: () => ({ ok: false, reason: 'not_found', detail: 'A plain HTTP check has no metrics.' }),
};
