-- What is wrong with the installation itself: told once however many workers see it, and ended by whoever
-- sees last that it is over. Not tenant data.

-- What each worker sees now, by name: {"since": …, "detail": …}. A worker that is dead sees nothing.
alter table workers add column conditions jsonb not null default '{}';

create table conditions (
  name text primary key check (name in ('polling_late', 'polling_blind')),
  since timestamptz not null,
  detail text not null
);
