import { partitionedTables } from '../retention/partitions.ts';

/** Where the rows of each table lie in a database that is spread over several machines. */
export type Placement = {
  /**
   * Spread by `organization_id`, all rows of an organization on one machine. Each after the tables that it refers to;
   * partitions go with their table.
   */
  distributed: readonly string[];
  /** Whole on every machine: what distributed tables refer to, and is no row of a tenant. */
  reference: readonly string[];
  /** On the coordinator alone, and why. */
  local: Readonly<Record<string, string>>;
  /** `trigger on table`: taken off when the table is distributed, as Citus has no triggers there, and what does its work then. */
  replacedTriggers: Readonly<Record<string, string>>;
};

/** The one list: `opsfleet db distribute` goes by it, and a test holds the schema to it. */
export const placement: Placement = {
  distributed: [
    'managed_servers',
    'api_tokens',
    'sessions',
    'sign_in_links',
    'data_keys',
    'server_secrets',
    'server_groups',
    'server_group_members',
    ...partitionedTables.filter(table => table !== 'events'),
    'fleet_operations',
    'health_check_jobs',
  ],
  reference: ['organizations'],
  local: {
    archiving: 'of the installation',
    conditions: 'of the installation',
    deleted_servers: 'a queue: Citus has no SKIP LOCKED over several machines',
    events: 'its readers go by transaction numbers, and each machine has its own',
    partition_archives: 'of the installation; each has the rows of all organizations',
    poll_slots: 'leases, claimed with SKIP LOCKED',
    retired_partitions: 'of the installation',
    rollup_late: 'a queue over all organizations',
    rollup_progress: 'of the installation; those who store rows lock it',
    rollup_turns: 'of the installation; a lock',
    schema_migrations: 'of the installation',
    witness_questions: 'a queue over all organizations',
    workers: 'of the installation',
  },
  replacedTriggers: {
    'remember_deleted on managed_servers': 'deleteServer puts the server into the queue itself',
  },
};
