-- Before a server is called unreachable, another worker is asked whether it answers there.
--
-- The previous version goes on beside this one: it asks nobody and answers nobody, and who asks it decides alone.

-- A queue like poll_slots: never distributed, and referring to no tenant table. A row lives for seconds.
create table witness_questions (
  organization_id uuid not null,
  -- The worker that asks, and its own count of what it has asked.
  asker uuid not null,
  number bigint not null,
  -- The server.
  subject_id uuid not null,
  -- On the database's clock. Nobody takes it later.
  deadline timestamptz not null,
  -- The worker that has taken it, and what it found: {"outcome": …, "durationMs": …}.
  witness uuid,
  answer jsonb,
  primary key (organization_id, asker, number),
  check (answer is null or witness is not null)
);
alter table witness_questions enable row level security;
alter table witness_questions force row level security;
create policy tenant on witness_questions
  using (organization_id = (select current_organization()) or (select is_system()));
