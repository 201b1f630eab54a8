-- History goes by whole partitions, when it has been summed up and, where that is wanted, archived.

-- What these periods are summed up from is there as a whole from here on. Before it, what comes late is not summed up again.
alter table rollup_progress add column source_from timestamptz not null default 'epoch';

-- Partitions that are on their way out. From here on they take no rows and are nobody's any more.
create table retired_partitions (
  name text primary key,
  table_name text not null,
  span_from timestamptz not null,
  span_to timestamptz not null,
  retired_at timestamptz not null
);

-- Whether partitions must be archived before they go: said by the process that has the directory, for all of them.
create table archiving (
  singleton boolean primary key default true check (singleton),
  is_required boolean not null,
  changed_at timestamptz not null
);

-- Files that hold all rows of a partition, each read back after it was written.
create table partition_archives (
  id uuid primary key,
  partition_name text not null,
  table_name text not null,
  span_from timestamptz not null,
  span_to timestamptz not null,
  -- In the archive directory.
  file text not null unique,
  columns text[] not null,
  row_count bigint not null,
  -- The sum of the hashes of all rows, as PostgreSQL computes them: by it a partition is known to hold the same.
  row_hash numeric not null,
  bytes bigint not null,
  -- Of the file.
  sha256 text not null check (length(sha256) = 64),
  created_at timestamptz not null,
  -- The partition is gone; null: not yet.
  dropped_at timestamptz,
  -- It was brought back, for reading, until then.
  restored_until timestamptz
);
create index partition_archives_by_name on partition_archives (partition_name, created_at);
