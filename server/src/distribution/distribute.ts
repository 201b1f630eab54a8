import type pg from 'pg';
import { advisoryLocks } from '../platform/advisory-locks.ts';
import { hasCitus } from '../platform/citus.ts';
import { type Database, type Queryable, type SystemDb, type SystemTx, sql } from '../platform/db.ts';
import { StartupError } from '../platform/errors.ts';
import { type Migration, requireCurrent } from '../platform/migrate.ts';
import { seenByWorkers } from '../polling/slots.ts';
import { faultsOf, withoutSubselects } from './faults.ts';
import { type Kind, kindsOf } from './state.ts';
import { placement as ours, type Placement } from './tables.ts';

export type DistributeOptions = {
  /** Of this version of the program: the schema that is to be distributed. */
  migrations: readonly Migration[];
  /** Says what would be done, and does nothing. */
  isDryRun: boolean;
  say(line: string): void;
  placement?: Placement;
};

/**
 * Spreads an existing schema over the machines of a Citus cluster, of which the database, through a pool of one
 * connection and without a statement timeout, is the coordinator: each table in a transaction of its own, what is done already passed over, so that a run that was killed is made again. Processes
 * that start meanwhile wait. Throws StartupError, and has changed nothing, where something is missing.
 */
export async function distribute(db: Database, options: DistributeOptions): Promise<void> {
  const client = await db.dedicated();
  try {
    await checkRole(client);
    await checkCitus(client, db.system);
    await client.query('select pg_advisory_lock($1)', [advisoryLocks.migration]);
    await checkSchema(client, db.system, options);
    if (!options.isDryRun) await checkNobodyWorks(client, db.system);
    await spread(db.system, options);
  } finally {
    // The lock ends with it.
    await client.end();
  }
}

/** Machines of the cluster know each other by the role that owns the tables, and row security must bind it. */
async function checkRole(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ role: string }>(
    'select rolname as role from pg_roles where rolname = session_user and (rolsuper or rolbypassrls)',
  );
  if (rows[0] === undefined) return;
  throw new StartupError(
    `DATABASE_URL names ${rows[0].role}, whom row security does not bind. Name an ordinary role that owns the database, ` +
      'and that may log in on every machine of the cluster',
  );
}

async function checkCitus(client: pg.Client, db: SystemDb): Promise<void> {
  if (!(await hasCitus(db))) {
    const { rows } = await client.query<{ isInstalled: boolean; database: string }>(`
      select exists (select from pg_available_extensions where name = 'citus') as "isInstalled",
        current_database() as database`);
    const { isInstalled, database } = rows[0]!;
    throw new StartupError(
      isInstalled
        ? `the extension citus is not in the database ${database}, and nothing was distributed. As a superuser, in the ` +
            'database of this name on every machine: CREATE EXTENSION citus'
        : 'the extension citus is not installed where the database is, and nothing was distributed. Install it on every ' +
            "machine, with shared_preload_libraries = 'citus' in postgresql.conf",
    );
  }
  const { rows: nodes } = await client.query<{ isCoordinator: boolean; machines: number }>(`
    select citus_is_coordinator() as "isCoordinator", (
      select count(*)::int from pg_dist_node where isactive and shouldhaveshards and noderole = 'primary') as machines`);
  if (nodes[0]!.machines === 0)
    throw new StartupError(
      `there is no machine to distribute to. As a superuser: SELECT citus_add_node('host', 5432) for each`,
    );
  if (!nodes[0]!.isCoordinator)
    throw new StartupError('DATABASE_URL names a worker of the cluster; it must name the coordinator');
}

async function checkSchema(
  client: pg.Client,
  db: SystemDb,
  { migrations, placement = ours }: DistributeOptions,
): Promise<void> {
  await requireCurrent(client, migrations);
  const faults = await faultsOf(db, placement);
  if (faults.length > 0)
    throw new StartupError(
      `the schema cannot be distributed:\n${faults.map(fault => `  ${fault}`).join('\n')}`,
    );
}

/** A process that was there before would go on as if nothing were distributed. */
async function checkNobodyWorks(client: pg.Client, db: SystemDb): Promise<void> {
  const { workers } = await seenByWorkers(db);
  if (workers.length > 0)
    throw new StartupError(`workers are running (${workers.length}); stop every opsfleet first`);
  const { pid } = await db.one(sql<{ pid: number }>`select pg_backend_pid() as pid`);
  // What the machines of the cluster ask each other is no process of ours.
  const { rows } = await client.query<{ sessions: number }>(
    `select count(*)::int as sessions from pg_stat_activity
     where datname = current_database() and usename = current_user and backend_type = 'client backend'
       and pid not in (pg_backend_pid(), $1) and application_name not like 'citus%'`,
    [pid],
  );
  if (rows[0]!.sessions > 0)
    throw new StartupError(
      `the same role has other sessions in the database (${rows[0]!.sessions}); stop every opsfleet first`,
    );
}

async function spread(db: SystemDb, { isDryRun, say, placement = ours }: DistributeOptions): Promise<void> {
  const would = isDryRun ? 'would be ' : '';
  const known = await kindsOf(db);
  const plan = [
    ...placement.reference.map(table => ({ table, kind: 'reference' as const })),
    ...placement.distributed.map(table => ({ table, kind: 'distributed' as const })),
  ];
  for (const { table, kind } of plan) {
    const is = known.get(table);
    if (is !== undefined && is !== kind && is !== 'managed')
      throw new StartupError(`${table} is ${is} already, and should be ${kind}`);
  }
  for (const name of await functionsToShare(db)) {
    say(`function ${name}: ${would}copied to every machine`);
    if (!isDryRun) await db.execute(sql`select create_distributed_function(${name})`);
  }
  const [first] = placement.distributed;
  for (const { table, kind } of plan) {
    const is = known.get(table);
    const what = kind === 'reference' ? 'a reference table' : 'distributed by organization_id';
    if (is === kind) say(`${table}: is ${what} already`);
    else say(`${table}: ${would}${kind === 'reference' ? 'made ' : ''}${what}`);
    if (isDryRun) continue;
    if (is !== kind) await db.transaction(tx => spreadTable(tx, { table, kind, first: first!, placement }));
    await forceRowSecurity(db, table);
  }
  for (const [table, why] of Object.entries(placement.local)) say(`${table}: stays local (${why})`);
  for (const table of isDryRun ? [] : await leftovers(db)) {
    say(`${table}: the coordinator's own copy is deleted`);
    await db.execute(sql`select truncate_local_data_after_distributing_table(${table}::regclass)`);
  }
}

type Step = { table: string; kind: Kind; first: string; placement: Placement };

async function spreadTable(tx: SystemTx, { table, kind, first, placement }: Step): Promise<void> {
  // Parents go first. Citus would make those that refer to them tables of its own meanwhile, which it then refuses.
  await tx.execute(sql`set local citus.enable_local_reference_table_foreign_keys to off`);
  await tx.execute(sql`set local citus.multi_shard_modify_mode to 'sequential'`);
  for (const trigger of Object.keys(placement.replacedTriggers)) {
    const [name, on] = trigger.split(' on ') as [string, string];
    if (on === table) await tx.execute(sql`drop trigger if exists ${sql.id(name)} on ${sql.id(table)}`);
  }
  const all = [table, ...(await partitionsOf(tx, table))];
  for (const each of all) {
    await simplifyPolicy(tx, each);
    // Rows are copied to the others as the owner, who would be shown none and may add none.
    await tx.execute(sql`alter table ${sql.id(each)} no force row level security`);
  }
  await tx.execute(
    kind === 'reference'
      ? sql`select create_reference_table(${table}::regclass)`
      : sql`select create_distributed_table(${table}::regclass, 'organization_id', colocate_with => ${table === first ? 'none' : first})`,
  );
}

/**
 * In a transaction of its own: in the one that has copied rows, references that are checked at its end are still open. A
 * run that is killed before it leaves the table as it is for the next run.
 */
async function forceRowSecurity(db: SystemDb, table: string): Promise<void> {
  await db.transaction(async tx => {
    await tx.execute(sql`set local citus.multi_shard_modify_mode to 'sequential'`);
    for (const each of [table, ...(await partitionsOf(tx, table))]) {
      const { isForced } = await tx.one(sql<{ isForced: boolean }>`
        select relforcerowsecurity as "isForced" from pg_class where oid = ${each}::regclass`);
      if (!isForced) await tx.execute(sql`alter table ${sql.id(each)} force row level security`);
    }
  });
}

async function simplifyPolicy(tx: SystemTx, table: string): Promise<void> {
  const policy = await tx.maybeOne(sql<{ condition: string }>`
    select pg_get_expr(polqual, polrelid) as condition from pg_policy
    where polrelid = ${table}::regclass and polname = 'tenant'`);
  if (policy === null) return;
  await tx.execute(sql`drop policy tenant on ${sql.id(table)}`);
  await tx.execute(
    sql`create policy tenant on ${sql.id(table)} using (${sql.raw(withoutSubselects(policy.condition))})`,
  );
}

async function partitionsOf(db: Queryable, table: string): Promise<string[]> {
  const rows = await db.many(sql<{ name: string }>`
    select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = ${table}::regclass order by 1`);
  return rows.map(({ name }) => name);
}

/** Functions of the schema that are called on every machine, and are not there. */
async function functionsToShare(db: Queryable): Promise<string[]> {
  const rows = await db.many(sql<{ name: string }>`
    select p.oid::regprocedure::text as name from pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.prorettype <> 'trigger'::regtype
      and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
      and not exists (select from pg_catalog.pg_dist_object o where o.classid = 'pg_proc'::regclass and o.objid = p.oid)
    order by 1`);
  return rows.map(({ name }) => name);
}

/** Distributed tables whose rows the coordinator still has, where nobody sees them any more. */
async function leftovers(db: Queryable): Promise<string[]> {
  const rows = await db.many(sql<{ name: string }>`
    select c.relname as name from pg_catalog.pg_dist_partition p join pg_class c on c.oid = p.logicalrelid
    where (p.partmethod = 'h' or p.repmodel = 't') and c.relkind = 'r' and pg_relation_size(c.oid) > 0 order by 1`);
  return rows.map(({ name }) => name);
}
