-- For how many days an organization wants its history to be told, by kind; what is not named, for as long as the
-- installation keeps it. Two statements, as Citus takes no constraint with a column.
alter table organizations add column retention jsonb not null default '{}';
alter table organizations
  add constraint organizations_retention_check check (jsonb_typeof(retention) = 'object');
