-- A condition that no worker tells of, but whoever finds that there is none.
--
-- The names of conditions are the program's (conditions/condition.ts). A list of them here would have to be
-- changed with each new one, and would refuse what a newer version says while this one still runs.
alter table conditions
  drop constraint conditions_name_check,
  add constraint conditions_name_check check (name ~ '^[a-z_]{1,50}$');
