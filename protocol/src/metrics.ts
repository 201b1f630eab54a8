const percent = { type: 'number', minimum: 0, maximum: 100 } as const;
const count = { type: 'integer', minimum: 0, maximum: 2_147_483_647 } as const;
// JSON numbers are doubles to most readers: beyond 2^53 - 1 a counter would silently lose its last digits.
const counter = { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER } as const;

/**
 * The answer of `GET {api_url}/api/v1/metrics/current`: one flat object.
 *
 * Every field is optional, and absent means not known. A zero is a measurement: it must never stand for
 * missing data. Counters only grow while the machine is up; the reader derives rates and notices resets.
 */
export const metricsSchema = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  $id: 'urn:opsfleet:managed-server:metrics:1',
  title: 'Current metrics of a managed server',
  type: 'object',
  properties: {
    cpu_percent: { ...percent, description: 'Share of all processors in use over the last seconds.' },
    memory_percent: { ...percent, description: 'Memory that new programs could not get without swapping.' },
    disk_percent: {
      ...percent,
      description: 'Use of the fullest local file system, of what unprivileged users may fill.',
    },
    network_rx_bytes: {
      ...counter,
      description: 'Bytes received by the network cards since they came up. Cumulative.',
    },
    network_tx_bytes: {
      ...counter,
      description: 'Bytes sent by the network cards since they came up. Cumulative.',
    },
    active_services: { ...count, description: 'Services that run.' },
    failed_services: { ...count, description: 'Services that have failed.' },
    total_services: { ...count, description: 'Services that are watched.' },
    llm_requests: { ...counter, description: 'Requests made to language models so far. Cumulative.' },
    llm_cost_usd: {
      type: 'number',
      minimum: 0,
      maximum: 999_999_999_999,
      description:
        'What those requests have cost so far, in US dollars. Cumulative; at most 6 decimals are kept.',
    },
    active_users: { ...count, description: 'Different people logged in now.' },
    total_users: { ...count, description: 'Accounts of people.' },
    timestamp: {
      type: 'string',
      format: 'date-time',
      description: 'When the values were read, RFC 3339, by the clock of the server.',
      maxLength: 64,
    },
  },
  additionalProperties: true,
} as const;

/** The names of the twelve numbers. */
export type MetricName = Exclude<keyof typeof metricsSchema.properties, 'timestamp'>;

/** The metrics answer: the numbers that are known, and when they were read. */
export type MetricsReport = { [Name in MetricName]?: number } & { timestamp?: string };
