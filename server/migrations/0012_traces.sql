-- By what a server that has been deleted left traces in the events: of itself, and of the groups that it was in.
create index events_by_subject on events (organization_id, subject_id);
create index events_of_members on events (organization_id) where type = 'group.members_changed';
