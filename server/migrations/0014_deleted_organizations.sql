-- A deleted organization is hidden by its mark, from the commit on: no token, session or sign-in link of it is recognised.
-- What it had is deleted after that, in small parts; then its row goes, which is its place in the queue too.
alter table organizations add column deleted_at timestamptz;
-- When all had been deleted but its events, which others have to read, and what a statement may have added since that had
-- begun before. So it is looked at once more, when no such statement can be running.
alter table organizations add column cleared_at timestamptz;
create index organizations_deleted on organizations (deleted_at) where deleted_at is not null;

-- Its name is free at once.
create unique index organizations_name on organizations (name) where deleted_at is null;
alter table organizations drop constraint organizations_name_key;
