-- A condition that no worker tells of, but whoever finds that there is none.
--
-- The names of conditions are the program's (conditions/condition.ts). A list of them here would have to be
-- changed with each new one, and would refuse what a newer version says while this one still runs.
alter table conditions
  drop constraint conditions_name_check,
  add constraint conditions_name_check check (name ~ '^[a-z_]{1,50}$');

-- Beyond the 256 slots that workers share, one for each installation that watches its own machine: only its own
-- process may poll the agent on its loopback interface.
--
-- The previous version may lease such a slot like any other; it finds that it may not poll the server there, as
-- before, and loses the slot as soon as the process it belongs to is there.
alter table poll_slots
  -- Of the installation that alone may lease it; null where anybody may.
  add column instance text unique,
  drop constraint poll_slots_slot_check,
  add constraint poll_slots_slot_check check (slot >= 0 and (slot < 256) = (instance is null));
alter table managed_servers
  drop constraint managed_servers_slot_check,
  add constraint managed_servers_slot_check check (slot >= 0);
