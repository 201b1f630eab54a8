-- The rest of what a server's health is judged by, so that a restart or another worker goes on where the last
-- one stopped, and intervals of its own.
--
-- The previous version goes on beside this one: it neither reads nor writes these columns. What it leaves behind
-- in them puts itself right with the next results (see health/evaluate.ts).
alter table managed_servers
  -- Null: as the installation does.
  add column health_interval_seconds integer
    constraint managed_servers_health_interval_check check (health_interval_seconds between 5 and 86400),
  add column metrics_interval_seconds integer
    constraint managed_servers_metrics_interval_check check (metrics_interval_seconds between 5 and 86400),

  -- Written with every check, like the other columns of polling; no index may cover them.
  -- How many of recent_results there are; rows of before begin anew.
  add column known_results smallint not null default 0
    constraint managed_servers_known_results_check check (known_results between 0 and 21),
  add column suspect_since timestamptz,
  add column recovering_since timestamptz,
  add column flapping_since timestamptz,
  add column breaker_opened_at timestamptz;
