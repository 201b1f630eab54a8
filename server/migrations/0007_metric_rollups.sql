-- What was collected, summed up per server: 5 and 15 minutes, hours, days (UTC). A table for each, because each is kept
-- for a time of its own, and what is old goes by partitions alone.

create table server_metrics_5m (
  organization_id uuid not null,
  server_id uuid not null,
  -- Where the period begins: a multiple of its length since 1970.
  timestamp timestamptz not null,
  -- Of the newest collection in the period.
  newest_id bigint not null,
  newest_created_at timestamptz not null,
  -- Collections in the period, and of each field those that told it.
  samples integer not null check (samples > 0),
  cpu_percent_count integer not null,
  cpu_percent_min real,
  cpu_percent_max real,
  cpu_percent_last real,
  memory_percent_count integer not null,
  memory_percent_min real,
  memory_percent_max real,
  memory_percent_last real,
  disk_percent_count integer not null,
  disk_percent_min real,
  disk_percent_max real,
  disk_percent_last real,
  active_services_count integer not null,
  active_services_min integer,
  active_services_max integer,
  active_services_last integer,
  failed_services_count integer not null,
  failed_services_min integer,
  failed_services_max integer,
  failed_services_last integer,
  total_services_count integer not null,
  total_services_min integer,
  total_services_max integer,
  total_services_last integer,
  active_users_count integer not null,
  active_users_min integer,
  active_users_max integer,
  active_users_last integer,
  total_users_count integer not null,
  total_users_min integer,
  total_users_max integer,
  total_users_last integer,
  network_rx_bytes_count integer not null,
  network_tx_bytes_count integer not null,
  llm_requests_count integer not null,
  llm_cost_usd_count integer not null,
  network_rx_bytes_last bigint,
  network_tx_bytes_last bigint,
  llm_requests_last bigint,
  llm_cost_usd_last numeric(18, 6),
  -- Sums, so that longer periods and many servers add up exactly; the mean is sum / count.
  cpu_percent_sum numeric,
  memory_percent_sum numeric,
  disk_percent_sum numeric,
  active_services_sum numeric,
  failed_services_sum numeric,
  total_services_sum numeric,
  active_users_sum numeric,
  total_users_sum numeric,
  -- By how much a counter grew from the collection before each to it; where it fell it began again at zero. Numeric: a
  -- server that makes its counters up could otherwise make the sum overflow.
  network_rx_bytes_increase numeric,
  network_tx_bytes_increase numeric,
  llm_requests_increase numeric,
  llm_cost_usd_increase numeric,
  primary key (organization_id, server_id, timestamp)
) partition by range (timestamp);

create table server_metrics_15m (like server_metrics_5m including all) partition by range (timestamp);
create table server_metrics_1h (like server_metrics_5m including all) partition by range (timestamp);
create table server_metrics_1d (like server_metrics_5m including all) partition by range (timestamp);

do $$
declare name text;
begin
  foreach name in array array['server_metrics_5m', 'server_metrics_15m', 'server_metrics_1h', 'server_metrics_1d'] loop
    execute format('alter table %I enable row level security', name);
    execute format('alter table %I force row level security', name);
    execute format(
      'create policy tenant on %I using (organization_id = (select current_organization()) or (select is_system()))',
      name);
  end loop;
end
$$;

-- How far each kind of rollup has come, by period. Never distributed, and referring to no tenant table, as are the next two.
create table rollup_progress (
  -- 'metrics', and what else there will be.
  kind text not null,
  period text not null,
  -- What comes of a period that began before this is late, and noted in rollup_late by whoever brings it. Who stores what
  -- was collected holds a share lock on this row of the shortest period until the commit: once it has moved, all that is
  -- not noted can be seen.
  closed_until timestamptz not null,
  -- All periods that ended by then have been summed up, but for what is noted.
  rolled_until timestamptz not null check (rolled_until <= closed_until),
  primary key (kind, period)
);

-- Whoever sums up has its row locked.
create table rollup_turns (kind text primary key);

create table rollup_late (
  kind text not null,
  period text not null,
  organization_id uuid not null,
  server_id uuid not null,
  -- Where the period begins.
  timestamp timestamptz not null,
  primary key (kind, period, organization_id, server_id, timestamp)
);
alter table rollup_late enable row level security;
alter table rollup_late force row level security;
create policy tenant on rollup_late
  using (organization_id = (select current_organization()) or (select is_system()));

-- What is there already is summed up, as far back as it is usually kept.
insert into rollup_turns values ('metrics');
insert into rollup_progress
select 'metrics', period, since, since
from unnest(array['5m', '15m', '1h', '1d']) as period,
  date_bin('1 day', now() - case when exists (select from server_metrics_aggregated) then interval '31 days' else interval '0' end,
           'epoch'::timestamptz) as since;
