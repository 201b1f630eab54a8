-- The spine: tenants, identity, servers, groups, time series, poll slots, events.
--
-- Rules every later migration keeps (checked by migrations.test.ts):
--   * a tenant table carries organization_id, and every primary key, unique key and foreign key on it
--     includes organization_id: foreign keys cannot cross tenants, row security has its column, and the
--     table can be distributed by it;
--   * a tenant table has row security enabled AND forced, with the policy `tenant`;
--   * a time series is partitioned by range on its time column, one level, without a default partition
--     (a default partition that holds a row of a month blocks creating that month's own).

-- ---------------------------------------------------------------------------------------------- tenancy

-- Which organization this session acts for: a uuid, or '*' for the system's own work (polling, upkeep).
-- An unset setting sees nothing at all.
create function current_organization() returns uuid language sql stable parallel safe as $$
  select case when current_setting('opsfleet.organization', true) in ('', '*') then null
              else current_setting('opsfleet.organization', true)::uuid end
$$;

create function is_system() returns boolean language sql stable parallel safe as $$
  select coalesce(current_setting('opsfleet.organization', true) = '*', false)
$$;

-- RFC 3339 in UTC with milliseconds: the one form in which an instant leaves the database as text. The odd
-- microsecond keeps the text from dropping trailing zeros, and is cut off. It relies on DateStyle ISO, which
-- every session of ours sets; to_char costs three times as much, and a page of servers has hundreds of these.
create function rfc3339(instant timestamptz) returns text language sql stable parallel safe as $$
  select replace(left((date_trunc('milliseconds', instant at time zone 'UTC') + interval '1 microsecond')::text, 23), ' ', 'T') || 'Z'
$$;

create table organizations (
  id uuid primary key,
  name text not null unique check (length(name) between 1 and 100),
  created_at timestamptz not null,
  updated_at timestamptz not null
);

-- --------------------------------------------------------------------------------------------- identity

create table api_tokens (
  organization_id uuid not null references organizations (id) on delete cascade,
  id uuid not null,
  name text not null check (length(name) between 1 and 100),
  role text not null check (role in ('viewer', 'operator', 'admin')),
  secret_hash bytea not null check (length(secret_hash) = 32),
  created_at timestamptz not null,
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz,
  primary key (organization_id, id)
);
-- A bearer token names no organization, so this one lookup crosses tenants. Equal 256-bit hashes do not
-- happen by chance, and one presented on purpose is the same token.
create index api_tokens_by_hash on api_tokens (secret_hash);

create table sessions (
  organization_id uuid not null references organizations (id) on delete cascade,
  id uuid not null,
  role text not null check (role in ('viewer', 'operator', 'admin')),
  secret_hash bytea not null check (length(secret_hash) = 32),
  -- The API token that opened it, if one did: revoking the token ends its sessions.
  token_id uuid,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  primary key (organization_id, id),
  foreign key (organization_id, token_id) references api_tokens (organization_id, id) on delete cascade
);
create index sessions_by_hash on sessions (secret_hash);

create table sign_in_links (
  organization_id uuid not null references organizations (id) on delete cascade,
  id uuid not null,
  role text not null check (role in ('viewer', 'operator', 'admin')),
  secret_hash bytea not null check (length(secret_hash) = 32),
  created_at timestamptz not null,
  expires_at timestamptz not null,
  used_at timestamptz,
  primary key (organization_id, id)
);
create index sign_in_links_by_hash on sign_in_links (secret_hash);

-- ---------------------------------------------------------------------------------------------- secrets

-- One data key per organization and version, wrapped by the master key named `master_key_id`.
create table data_keys (
  organization_id uuid not null references organizations (id) on delete cascade,
  id uuid not null,
  master_key_id text not null,
  wrapped_key bytea not null,
  state text not null default 'active' check (state in ('active', 'decrypt_only')),
  created_at timestamptz not null,
  primary key (organization_id, id)
);
create unique index data_keys_one_active on data_keys (organization_id) where state = 'active';

-- ---------------------------------------------------------------------------------------------- servers

create table managed_servers (
  organization_id uuid not null references organizations (id) on delete cascade,
  id uuid not null,
  name varchar(255) not null check (name <> ''),
  description text check (length(description) <= 2000),
  hostname varchar(255) not null check (hostname <> ''),
  api_url varchar(512) not null,
  -- A keyed fingerprint of the polling token, to recognise it by; the token itself is in server_secrets.
  api_token_hash varchar(255) not null,
  adapter text not null default 'ops-center' check (adapter in ('ops-center', 'node_exporter', 'http')),
  version varchar(50),
  region varchar(100),
  environment varchar(50),
  status varchar(50) not null default 'active' check (status in ('active', 'inactive', 'maintenance')),
  tags jsonb not null default '[]' check (jsonb_typeof(tags) = 'array'),
  metadata jsonb not null default '{}' check (jsonb_typeof(metadata) = 'object'),
  created_at timestamptz not null,
  updated_at timestamptz not null,
  -- Counts configuration changes: the entity tag of optimistic locking.
  revision bigint not null default 1,
  -- Which poll slot owns the server: the last byte of its id, which is random in a version 7 uuid.
  slot smallint not null check (slot between 0 and 255),

  -- What polling knows. Written by the worker that leases the slot and by nobody else; no index covers any
  -- of it except health_status, which changes rarely, so that nearly every write is a heap-only update.
  health_status varchar(50) not null default 'unknown'
    check (health_status in ('healthy', 'degraded', 'critical', 'unreachable', 'unknown')),
  health_reason text not null default 'not_checked',
  health_detail text,
  health_since timestamptz not null,
  -- json and not jsonb: written twice a minute, sent with every list, never looked into.
  components json,
  last_seen_at timestamptz,
  last_health_check_at timestamptz,
  response_time_ms integer,
  consecutive_failures integer not null default 0,
  consecutive_successes integer not null default 0,
  -- The last 21 results, newest in the lowest bit, 1 = failed: flap detection reads it.
  recent_results integer not null default 0,
  latest_metrics json,
  last_metrics_at timestamptz,
  metrics_reason text,
  metrics_attempted_at timestamptz,
  -- Lease epoch and result number of the last writer of health. A write with a lower epoch comes from a
  -- worker that lost its slot; one with the same pair is a repetition after a commit nobody heard of.
  poll_epoch bigint not null default 0,
  poll_seq bigint not null default 0,

  primary key (organization_id, id),
  unique (organization_id, name),
  unique (organization_id, api_url)
) with (fillfactor = 60);
create index managed_servers_newest on managed_servers (organization_id, created_at desc, id desc);
create index managed_servers_by_status on managed_servers (organization_id, status);
create index managed_servers_by_health on managed_servers (organization_id, health_status);
create index managed_servers_by_region on managed_servers (organization_id, region);
create index managed_servers_by_environment on managed_servers (organization_id, environment);
create index managed_servers_by_tags on managed_servers using gin (tags jsonb_path_ops);
-- Workers load a slot across organizations.
create index managed_servers_by_slot on managed_servers (slot);

create table server_secrets (
  organization_id uuid not null,
  server_id uuid not null,
  purpose text not null check (purpose in ('polling_token')),
  data_key_id uuid not null,
  -- scheme://host:port the secret may be sent to; part of the associated data.
  origin text not null,
  version integer not null default 1,
  nonce bytea not null check (length(nonce) = 12),
  ciphertext bytea not null,
  created_at timestamptz not null,
  primary key (organization_id, server_id, purpose),
  foreign key (organization_id, server_id) references managed_servers (organization_id, id) on delete cascade,
  -- Deferred, because deleting an organization removes its keys and its servers in no order of ours.
  foreign key (organization_id, data_key_id) references data_keys (organization_id, id)
    deferrable initially deferred
);

-- ----------------------------------------------------------------------------------------------- groups

create table server_groups (
  organization_id uuid not null references organizations (id) on delete cascade,
  id uuid not null,
  name varchar(255) not null check (name <> ''),
  description text check (length(description) <= 2000),
  color varchar(7) check (color ~ '^#[0-9A-Fa-f]{6}$'),
  tags jsonb not null default '[]' check (jsonb_typeof(tags) = 'array'),
  regions jsonb not null default '[]' check (jsonb_typeof(regions) = 'array'),
  environments jsonb not null default '[]' check (jsonb_typeof(environments) = 'array'),
  created_at timestamptz not null,
  updated_at timestamptz not null,
  revision bigint not null default 1,
  primary key (organization_id, id),
  unique (organization_id, name)
);

create table server_group_members (
  organization_id uuid not null,
  server_id uuid not null,
  group_id uuid not null,
  added_at timestamptz not null,
  primary key (organization_id, server_id, group_id),
  foreign key (organization_id, server_id) references managed_servers (organization_id, id) on delete cascade,
  foreign key (organization_id, group_id) references server_groups (organization_id, id) on delete cascade
);
create index server_group_members_by_group on server_group_members (organization_id, group_id);

-- ------------------------------------------------------------------------------------------ time series

create sequence server_health_checks_id_seq cache 500;
create table server_health_checks (
  organization_id uuid not null,
  server_id uuid not null,
  -- When the check started, by the control plane's clock. With the server it is the natural key: writing
  -- a batch again after an unknown commit changes nothing.
  timestamp timestamptz not null,
  id bigint not null default nextval('server_health_checks_id_seq'),
  status varchar(50) not null check (status in ('healthy', 'degraded', 'critical', 'unreachable', 'error')),
  reason text not null,
  response_time_ms integer,
  database_healthy boolean,
  redis_healthy boolean,
  services_healthy boolean,
  error_message text,
  error_details jsonb,
  created_at timestamptz not null default now(),
  primary key (organization_id, server_id, timestamp),
  foreign key (organization_id, server_id) references managed_servers (organization_id, id) on delete cascade
) partition by range (timestamp);

create sequence server_metrics_aggregated_id_seq cache 500;
create table server_metrics_aggregated (
  organization_id uuid not null,
  server_id uuid not null,
  timestamp timestamptz not null,
  period varchar(20) not null check (period in ('1m', '5m', '15m', '1h', '1d')),
  id bigint not null default nextval('server_metrics_aggregated_id_seq'),
  cpu_percent real check (cpu_percent between 0 and 100),
  memory_percent real check (memory_percent between 0 and 100),
  disk_percent real check (disk_percent between 0 and 100),
  -- Counters as the server reported them: they only grow, and fall back to zero when it restarts.
  network_rx_bytes bigint check (network_rx_bytes >= 0),
  network_tx_bytes bigint check (network_tx_bytes >= 0),
  active_services integer check (active_services >= 0),
  failed_services integer check (failed_services >= 0),
  total_services integer check (total_services >= 0),
  llm_requests bigint check (llm_requests >= 0),
  llm_cost_usd numeric(18, 6) check (llm_cost_usd >= 0),
  active_users integer check (active_users >= 0),
  total_users integer check (total_users >= 0),
  -- The server's own clock when it took the sample, kept beside ours: their difference is its skew.
  reported_at timestamptz,
  created_at timestamptz not null default now(),
  primary key (organization_id, server_id, period, timestamp),
  foreign key (organization_id, server_id) references managed_servers (organization_id, id) on delete cascade
) partition by range (timestamp);

-- ------------------------------------------------------------------------------------------- operations

create table fleet_operations (
  organization_id uuid not null references organizations (id) on delete cascade,
  id uuid not null,
  operation_type varchar(100) not null,
  server_ids jsonb,
  group_ids jsonb,
  filter_criteria jsonb,
  parameters jsonb not null default '{}',
  -- Who asked, as the principal was called then. Not a foreign key: principals come and go.
  initiated_by varchar(255),
  status varchar(50) not null default 'pending'
    check (status in ('pending', 'running', 'completed', 'failed', 'partial', 'cancelled')),
  total_servers integer check (total_servers >= 0),
  completed_servers integer not null default 0 check (completed_servers >= 0),
  failed_servers integer not null default 0 check (failed_servers >= 0),
  results jsonb,
  error_summary text,
  started_at timestamptz,
  completed_at timestamptz,
  created_at timestamptz not null,
  primary key (organization_id, id)
);
create index fleet_operations_by_status on fleet_operations (organization_id, status, created_at);
create index fleet_operations_by_initiator on fleet_operations (organization_id, initiated_by, created_at);
create index fleet_operations_by_type on fleet_operations (organization_id, operation_type);

-- --------------------------------------------------------------------------------------------- requests

-- A check somebody asked for. Its progress is read off the servers (who has been checked since
-- requested_at), so nothing is written per server.
create table health_check_jobs (
  organization_id uuid not null references organizations (id) on delete cascade,
  id uuid not null,
  server_ids uuid[] not null,
  requested_at timestamptz not null,
  primary key (organization_id, id)
);

-- ----------------------------------------------------------------------------------------------- events

-- One row per change of state, written in the transaction of the change. Readers order by (xid, id) and
-- stop before the oldest transaction still running (pg_snapshot_xmin): an id alone can become visible
-- after a higher one, and a reader that remembers "the last id" would skip it.
create sequence events_id_seq;
create table events (
  created_at timestamptz not null,
  xid xid8 not null default pg_current_xact_id(),
  id bigint not null default nextval('events_id_seq'),
  organization_id uuid not null,
  type text not null,
  subject_id uuid not null,
  data jsonb not null,
  primary key (organization_id, created_at, id)
) partition by range (created_at);
create index events_feed on events (xid, id);
create index events_feed_of_organization on events (organization_id, xid, id);

-- ---------------------------------------------------------------------------------------------- workers
-- Not tenant data, never distributed, and referring to no tenant table.

create table workers (
  id uuid primary key,
  name text not null,
  -- The data directory the process holds an exclusive lock on, if it does: a new process of the same
  -- instance proves that the old one is dead and may take its slots without waiting for their expiry.
  instance text,
  version text not null,
  started_at timestamptz not null,
  heartbeat_at timestamptz not null,
  -- Counters since started_at, replaced whole by each heartbeat.
  stats jsonb not null default '{}'
);

create sequence poll_epoch_seq;
create table poll_slots (
  slot smallint primary key check (slot between 0 and 255),
  owner uuid,
  epoch bigint not null default 0,
  expires_at timestamptz
);
insert into poll_slots (slot) select generate_series(0, 255);

-- ------------------------------------------------------------------------------------------------ views

create view v_fleet_summary with (security_invoker = true) as
select
  o.id as organization_id,
  count(s.id) as total_servers,
  count(s.id) filter (where s.status = 'active') as active_servers,
  count(s.id) filter (where s.status = 'inactive') as inactive_servers,
  count(s.id) filter (where s.status = 'maintenance') as maintenance_servers,
  count(s.id) filter (where s.status = 'active' and s.health_status = 'healthy') as healthy_servers,
  count(s.id) filter (where s.status = 'active' and s.health_status = 'degraded') as degraded_servers,
  count(s.id) filter (where s.status = 'active' and s.health_status = 'critical') as critical_servers,
  count(s.id) filter (where s.status = 'active' and s.health_status = 'unreachable') as unreachable_servers,
  count(s.id) filter (where s.status = 'active' and s.health_status = 'unknown') as unknown_servers,
  count(distinct s.region) as regions_count,
  count(distinct s.environment) as environments_count
from organizations o
left join managed_servers s on s.organization_id = o.id
group by o.id;

-- The latest check of every server by one index descent each, not by sorting the history.
create view v_server_health_overview with (security_invoker = true) as
select s.organization_id, s.id as server_id, c.timestamp, c.status, c.response_time_ms,
       c.database_healthy, c.redis_healthy, c.services_healthy, c.error_message
from managed_servers s
cross join lateral (
  select h.timestamp, h.status, h.response_time_ms, h.database_healthy, h.redis_healthy,
         h.services_healthy, h.error_message
  from server_health_checks h
  where h.organization_id = s.organization_id and h.server_id = s.id
  order by h.timestamp desc
  limit 1
) c;

-- ----------------------------------------------------------------------------------------- row security

-- The net under the explicit organization_id predicate of every statement. The sub-selects make the
-- planner evaluate the setting once per statement instead of once per row.
do $$
declare name text;
begin
  foreach name in array array[
    'api_tokens', 'sessions', 'sign_in_links', 'data_keys', 'managed_servers', 'server_secrets',
    'server_groups', 'server_group_members', 'server_health_checks', 'server_metrics_aggregated',
    'fleet_operations', 'health_check_jobs', 'events'
  ] loop
    execute format('alter table %I enable row level security', name);
    execute format('alter table %I force row level security', name);
    execute format(
      'create policy tenant on %I using (organization_id = (select current_organization()) or (select is_system()))',
      name);
  end loop;
  alter table organizations enable row level security;
  alter table organizations force row level security;
  create policy tenant on organizations using (id = (select current_organization()) or (select is_system()));
end
$$;
