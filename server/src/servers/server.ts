import { type Static, Type } from 'typebox';
import { healthStatuses } from '../events/event.ts';
import type { ServerId } from '../ids.ts';
import { Instant, line, nullable, oneOf } from '../platform/http/schemas.ts';

export const serverStatuses = ['active', 'inactive', 'maintenance'] as const;
export type ServerStatus = (typeof serverStatuses)[number];

/** How a server is asked: the seed's contract, Prometheus' node_exporter, or any HTTP address. */
export const adapters = ['ops-center', 'node_exporter', 'http'] as const;
export type AdapterName = (typeof adapters)[number];

/** Poll slots that workers share. A server belongs to one for life, unless it is pinned to an installation's own. */
export const slotCount = 256;

/** The slot of a server that is not pinned: the last byte of its id, which is random in a version 7 uuid. */
export const slotOf = (id: ServerId): number => Number.parseInt(id.slice(-2), 16);

const Text = Type.String();

export const Metrics = Type.Object(
  {
    cpu_percent: Type.Optional(Type.Number()),
    memory_percent: Type.Optional(Type.Number()),
    disk_percent: Type.Optional(Type.Number()),
    network_rx_bytes: Type.Optional(Type.Integer()),
    network_tx_bytes: Type.Optional(Type.Integer()),
    active_services: Type.Optional(Type.Integer()),
    failed_services: Type.Optional(Type.Integer()),
    total_services: Type.Optional(Type.Integer()),
    llm_requests: Type.Optional(Type.Integer()),
    llm_cost_usd: Type.Optional(Type.Number()),
    active_users: Type.Optional(Type.Integer()),
    total_users: Type.Optional(Type.Integer()),
  },
  {
    title: 'LatestMetrics',
    additionalProperties: false,
    description: 'A field that the server did not report is absent.',
  },
);

const sinceWhen = (description: string) =>
  nullable(Type.String({ format: 'date-time', description: `Since when ${description}` }));

/** How firm a server's health is; each null where it does not apply. docs/states.md has the rules. */
export const healthDoubts = {
  suspect_since: sinceWhen('its checks fail without it being called down yet: that takes three.'),
  recovering_since: sinceWhen('it answers again without being believed yet: that takes two answers.'),
  flapping_since: sinceWhen('its checks change between success and failure all the time.'),
  breaker_opened_at: sinceWhen('it is spared because its checks fail: no metrics, and in time fewer checks.'),
};

/** A managed server as the API shows it. Its token and everything derived from it stay inside. */
export const Server = Type.Object(
  {
    id: Type.String({ format: 'uuid' }),
    organization_id: Type.String({ format: 'uuid' }),
    name: Text,
    description: nullable(Text),
    hostname: Text,
    api_url: Text,
    adapter: oneOf(adapters),
    version: nullable(Text),
    region: nullable(Text),
    environment: nullable(Text),
    status: oneOf(serverStatuses),
    health_status: oneOf(healthStatuses),
    health_reason: Type.String({
      description: 'Why, as a stable name: ok, component_failed, timeout, refused, auth_failed, …',
    }),
    health_detail: nullable(Text),
    health_since: Instant,
    ...healthDoubts,
    last_seen_at: nullable(Instant),
    last_health_check_at: nullable(Instant),
    response_time_ms: nullable(Type.Integer()),
    components: Type.Union([Type.Record(Text, Type.Unknown()), Type.Null()]),
    latest_metrics: Type.Union([Metrics, Type.Null()]),
    last_metrics_at: nullable(Instant),
    metrics_reason: nullable(Text),
    tags: Type.Array(Text),
    metadata: Type.Record(Text, Type.Unknown()),
    health_interval_seconds: nullable(
      Type.Integer({ description: "Between two health checks; null: as the installation's." }),
    ),
    metrics_interval_seconds: nullable(
      Type.Integer({ description: "Between two collections of metrics; null: as the installation's." }),
    ),
    revision: Type.Integer({
      description: 'Counts configuration changes; send it as If-Match to refuse overwriting others.',
    }),
    created_at: Instant,
    updated_at: Instant,
  },
  { title: 'Server', additionalProperties: false },
);
export type Server = Static<typeof Server>;

export const maxTags = 50;
export const Tags = Type.Array(line(64), { maxItems: maxTags });
const Metadata = Type.Record(Type.String({ maxLength: 100 }), Type.Unknown(), { maxProperties: 100 });
const Description = Type.String({ maxLength: 2000 });
const Region = line(100);
const Environment = line(50);
const Name = line(255);
const Hostname = Type.String({
  minLength: 1,
  maxLength: 255,
  pattern: '^[A-Za-z0-9._:\\[\\]-]+$',
  description: 'must be a host name or address of at most 255 characters',
});
const ApiUrl = Type.String({
  minLength: 1,
  maxLength: 512,
  description: 'must be an https address of at most 512 characters',
});
const ApiToken = Type.String({
  writeOnly: true,
  minLength: 1,
  maxLength: 4096,
  pattern: '^[\\x21-\\x7e]+$',
  description: 'must be printable ASCII without spaces',
});

/** The longest interval between two checks, or two collections, of a server. */
export const longestIntervalMs = 86_400_000;

const IntervalSeconds = Type.Integer({
  minimum: 5,
  maximum: longestIntervalMs / 1000,
  description: 'must be a whole number of seconds from 5 to 86400 (a day)',
});

export const ServerRegistration = Type.Object(
  {
    name: Name,
    hostname: Hostname,
    api_url: ApiUrl,
    api_token: ApiToken,
    description: Type.Optional(nullable(Description)),
    region: Type.Optional(nullable(Region)),
    environment: Type.Optional(nullable(Environment)),
    tags: Type.Optional(Tags),
    metadata: Type.Optional(Metadata),
    adapter: Type.Optional(oneOf(adapters)),
    health_interval_seconds: Type.Optional(nullable(IntervalSeconds)),
    metrics_interval_seconds: Type.Optional(nullable(IntervalSeconds)),
  },
  { title: 'ServerRegistration', additionalProperties: false },
);
export type ServerRegistration = Static<typeof ServerRegistration>;

export const ServerUpdate = Type.Object(
  {
    name: Type.Optional(Name),
    hostname: Type.Optional(Hostname),
    api_url: Type.Optional(ApiUrl),
    api_token: Type.Optional(ApiToken),
    description: Type.Optional(nullable(Description)),
    region: Type.Optional(nullable(Region)),
    environment: Type.Optional(nullable(Environment)),
    tags: Type.Optional(Tags),
    metadata: Type.Optional(Metadata),
    adapter: Type.Optional(oneOf(adapters)),
    health_interval_seconds: Type.Optional(nullable(IntervalSeconds)),
    metrics_interval_seconds: Type.Optional(nullable(IntervalSeconds)),
    status: Type.Optional(oneOf(serverStatuses)),
  },
  {
    title: 'ServerUpdate',
    additionalProperties: false,
    minProperties: 1,
    description: 'A field left out stays; null clears. An api_url of another origin needs the token again.',
  },
);
export type ServerUpdate = Static<typeof ServerUpdate>;

/** Tags as they are stored: trimmed, without repetitions, in the order given. */
export const normalTags = (tags: readonly string[]): string[] => [...new Set(tags.map(tag => tag.trim()))];
