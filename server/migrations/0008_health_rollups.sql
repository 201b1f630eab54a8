-- What health checks found, summed up per server: 5 and 15 minutes, hours, days (UTC). As of metrics, a table for each.

create table server_health_5m (
  organization_id uuid not null,
  server_id uuid not null,
  -- Where the period begins: a multiple of its length since 1970.
  timestamp timestamptz not null,
  -- Checks in the period by what they found; error: we could not check.
  healthy_checks integer not null,
  degraded_checks integer not null,
  critical_checks integer not null,
  unreachable_checks integer not null,
  error_checks integer not null,
  -- For how much of the period each was so (health/rollup.ts); of the rest nothing is known.
  healthy_ms integer not null,
  degraded_ms integer not null,
  critical_ms integer not null,
  unreachable_ms integer not null,
  -- Of the checks that were answered. Sums and classes add up; the classes are those of health/response-times.ts, in
  -- order, and of each how many checks there were.
  response_count integer not null,
  response_ms_sum bigint not null,
  response_ms_min integer,
  response_ms_max integer,
  response_classes smallint[] not null,
  response_class_counts integer[] not null,
  primary key (organization_id, server_id, timestamp)
) partition by range (timestamp);

create table server_health_15m (like server_health_5m including all) partition by range (timestamp);
create table server_health_1h (like server_health_5m including all) partition by range (timestamp);
create table server_health_1d (like server_health_5m including all) partition by range (timestamp);

do $$
declare name text;
begin
  foreach name in array array['server_health_5m', 'server_health_15m', 'server_health_1h', 'server_health_1d'] loop
    execute format('alter table %I enable row level security', name);
    execute format('alter table %I force row level security', name);
    execute format(
      'create policy tenant on %I using (organization_id = (select current_organization()) or (select is_system()))',
      name);
  end loop;
end
$$;

insert into rollup_turns values ('health');
insert into rollup_progress
select 'health', period, since, since
from unnest(array['5m', '15m', '1h', '1d']) as period,
  date_bin('1 day', now() - case when exists (select from server_health_checks) then interval '31 days' else interval '0' end,
           'epoch'::timestamptz) as since;
