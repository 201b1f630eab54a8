const status = {
  type: 'string',
  description:
    '`ok` is the only good word. The agent says `ok`, `degraded` or `failed`; any other word reads as not ok.',
  minLength: 1,
  maxLength: 64,
} as const;

const message = {
  type: 'string',
  description: 'For a person: why it is not ok, or what could not be looked at.',
  maxLength: 1024,
} as const;

const latencyMs = {
  type: 'number',
  description: 'How long the check took, in milliseconds.',
  minimum: 0,
} as const;

/** One part of a managed server that can fail by itself. Other fields are allowed and ignored. */
export const componentSchema = {
  type: 'object',
  required: ['status'],
  properties: {
    status,
    critical: {
      type: 'boolean',
      description:
        'Whether the whole server is critical when this part is not ok, rather than degraded. ' +
        'Where it is absent: true for `database` and `redis`, false for all others.',
    },
    message,
    latency_ms: latencyMs,
  },
  additionalProperties: true,
} as const;

const count = { type: 'integer', minimum: 0, maximum: 1_000_000 } as const;

/**
 * The answer of `GET {api_url}/health`: status 200 and this object, whatever the state of the parts.
 *
 * Absent means not configured, not found or not known, and is never a failure: a part that should be
 * there and is not has to be reported as `failed`. Every further top-level object with a `status` is read
 * as one more component; every other further field is ignored.
 */
export const healthSchema = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  $id: 'urn:opsfleet:managed-server:health:1',
  title: 'Health of a managed server',
  type: 'object',
  properties: {
    status: {
      enum: ['healthy', 'degraded', 'critical'],
      description:
        "The server's own summary, for people. The control plane derives its own from the components.",
    },
    version: { type: 'string', description: 'Version of the program that answers.', maxLength: 64 },
    hostname: { type: 'string', description: 'Host name as the kernel knows it.', maxLength: 255 },
    uptime_seconds: { type: 'number', description: 'Seconds since the machine started.', minimum: 0 },
    timestamp: {
      type: 'string',
      format: 'date-time',
      description: 'When the components were checked, RFC 3339, by the clock of the server.',
      maxLength: 64,
    },
    database: { ...componentSchema, title: 'PostgreSQL: whether it accepts connections' },
    redis: { ...componentSchema, title: 'Redis: whether it answers commands' },
    services: {
      title: 'System services',
      type: 'object',
      required: ['healthy'],
      properties: {
        healthy: { type: 'boolean', description: 'False as soon as one watched service has failed.' },
        active: { ...count, description: 'Services that run.' },
        failed: { ...count, description: 'Services that have failed.' },
        total: { ...count, description: 'Services that are watched.' },
        message,
      },
      additionalProperties: true,
    },
  },
  additionalProperties: true,
} as const;

export type ComponentStatus = 'ok' | 'degraded' | 'failed';

/** A component as the agent reports it. */
export type ComponentReport = {
  status: ComponentStatus;
  critical?: boolean;
  message?: string;
  latency_ms?: number;
};

/** The `services` component: counted, not checked one by one. */
export type ServicesReport = {
  healthy: boolean;
  active?: number;
  failed?: number;
  total?: number;
  message?: string;
};

/** The health answer as the agent gives it; what others may add is in `healthSchema`. */
export type HealthReport = {
  status: (typeof healthSchema.properties.status.enum)[number];
  version: string;
  hostname: string;
  uptime_seconds: number;
  timestamp: string;
  database?: ComponentReport;
  redis?: ComponentReport;
  services?: ServicesReport;
};
