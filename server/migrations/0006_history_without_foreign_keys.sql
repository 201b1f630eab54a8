-- History names its server and does not refer to it. The foreign key was over a quarter of what a row cost, locked
-- every server's row against the state write beside it, and made whoever deleted a server wait for all of its history.
-- What is left of a deleted server is deleted a little later, in small parts, from the queue below.

alter table server_health_checks drop constraint server_health_checks_organization_id_server_id_fkey;
alter table server_metrics_aggregated drop constraint server_metrics_aggregated_organization_id_server_id_fkey;

-- A queue like poll_slots: never distributed, on the database's clock, and referring to no tenant table.
create table deleted_servers (
  organization_id uuid not null,
  server_id uuid not null,
  deleted_at timestamptz not null,
  -- When all of its history had been deleted. A statement that had begun before the server was deleted may add to it
  -- even then, so that it is looked at once more, when no such statement can be running.
  cleared_at timestamptz,
  primary key (organization_id, server_id)
);
create index deleted_servers_by_time on deleted_servers (deleted_at);
alter table deleted_servers enable row level security;
alter table deleted_servers force row level security;
create policy tenant on deleted_servers
  using (organization_id = (select current_organization()) or (select is_system()));

-- Whoever deletes servers, and however: an organization takes its servers along.
create function remember_deleted_servers() returns trigger language plpgsql as $$
begin
  insert into deleted_servers (organization_id, server_id, deleted_at)
  select organization_id, id, now() from gone
  on conflict (organization_id, server_id) do update set deleted_at = excluded.deleted_at, cleared_at = null;
  return null;
end $$;
create trigger remember_deleted after delete on managed_servers
  referencing old table as gone for each statement execute function remember_deleted_servers();
