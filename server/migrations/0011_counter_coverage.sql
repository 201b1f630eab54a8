-- Of each counter, over how much time it grew by its increase: from the collection before each to it. Where a server was
-- silent for an hour, what it grew by is counted where it told again, and is no rate of that period alone. Sums from
-- before this have none: there the whole period counts.
do $$
declare name text; counter text;
begin
  foreach name in array array['server_metrics_5m', 'server_metrics_15m', 'server_metrics_1h', 'server_metrics_1d'] loop
    foreach counter in array array['network_rx_bytes', 'network_tx_bytes', 'llm_requests', 'llm_cost_usd'] loop
      execute format('alter table %I add column %I integer', name, counter || '_covered_ms');
    end loop;
  end loop;
end
$$;
