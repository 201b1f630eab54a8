import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/database.ts';
import { type CitusStandIn, standInForCitus } from '../../test/fakes/citus-stand-in.ts';
import { addOrganization, addServer } from '../../test/fleet.ts';
import { type Database, openDatabase, type Sql, sql } from '../platform/db.ts';
import { createLog } from '../platform/log.ts';
import { readOwnMigrations } from '../platform/migrate.ts';
import { deleteServer } from '../servers/store.ts';
import { distribute } from './distribute.ts';
import { isDistributed } from './state.ts';
import { placement } from './tables.ts';

const migrations = await readOwnMigrations();

let database: TestDatabase;

beforeEach(async () => {
  database = await createTestDatabase();
});
afterEach(() => database.close());

/** Connected as the command is, and gone afterwards: it refuses to begin while others are there. */
async function connected<T>(work: (db: Database) => Promise<T>, user = database.connection.user): Promise<T> {
  const db = openDatabase({
    connection: { ...database.connection, user },
    poolSize: 1,
    statementTimeoutMs: 0,
    log: createLog({ level: 'silent' }),
  });
  try {
    return await work(db);
  } finally {
    await db.close();
  }
}

/** What it says. */
async function run({ isDryRun = false, user = database.connection.user } = {}): Promise<string[]> {
  const lines: string[] = [];
  await connected(db => distribute(db, { migrations, isDryRun, say: line => lines.push(line) }), user);
  return lines;
}

const look = <Row>(query: Sql<Row>): Promise<Row[]> => connected(db => db.system.many(query));
const isDone = (): Promise<boolean> => connected(db => isDistributed(db.system));

describe('refuses, and says what to do,', () => {
  it('where there is no Citus', async () => {
    await expect(run()).rejects.toThrow('the extension citus is not installed where the database is');
  });

  it('a role that row security does not bind', async () => {
    await expect(run({ user: inject('postgres').superuser })).rejects.toThrow(
      'whom row security does not bind',
    );
  });

  describe('beside a stand-in for Citus,', () => {
    let citus: CitusStandIn;
    beforeEach(async () => {
      citus = await standInForCitus(database);
    });

    const refusals: [what: string, statement: string, refusal: string][] = [
      [
        'an extension that is installed and not in the database',
        `drop table pg_catalog.pg_dist_partition cascade;
         create or replace view pg_catalog.pg_available_extensions as
           select 'citus'::name as name, null::text as default_version, null::text collate "C" as installed_version, null::text as comment`,
        'CREATE EXTENSION citus',
      ],
      [
        'a worker of the cluster',
        "create or replace function pg_catalog.citus_is_coordinator() returns bool language sql as 'select false'",
        'it must name the coordinator',
      ],
      ['a cluster of nobody', 'update pg_catalog.pg_dist_node set isactive = false', 'SELECT citus_add_node'],
      [
        'a schema of an older version',
        'delete from schema_migrations where name = (select max(name) from schema_migrations)',
        `the schema is not of this version yet (${migrations.at(-1)!.name} is next)`,
      ],
      ['no schema', 'drop table schema_migrations', '0001_spine.sql is next'],
      [
        'a schema of a newer version',
        "insert into schema_migrations (name, checksum) values ('9999_later.sql', '')",
        'migrated by a newer opsfleet (9999_later.sql)',
      ],
      [
        'a schema with something of the operator that cannot be distributed',
        'create unique index one_url on managed_servers (api_url)',
        'managed_servers: unique index one_url (api_url) must contain organization_id',
      ],
      [
        'workers that live',
        `insert into workers (id, name, version, started_at, heartbeat_at)
         values (gen_random_uuid(), 'w', '1', now(), now())`,
        'workers are running (1); stop every opsfleet first',
      ],
      [
        'a table that lies otherwise already',
        "insert into pg_catalog.pg_dist_partition values ('sessions', 'n', 't')",
        'sessions is reference already, and should be distributed',
      ],
    ];
    it.each(refusals)('%s', async (_what, statement, refusal) => {
      await citus.run(statement);
      await expect(run()).rejects.toThrow(refusal);
      expect(await citus.calls()).toEqual([]);
    });

    it('processes that only answer requests', async () => {
      await database.db.system.many(sql`select 1`);
      await expect(run()).rejects.toThrow('the same role has other sessions in the database (1)');
      expect(await citus.calls()).toEqual([]);
    });
  });
});

describe('beside a stand-in for Citus', () => {
  let citus: CitusStandIn;
  beforeEach(async () => {
    citus = await standInForCitus(database);
  });

  const [first, ...others] = placement.distributed;
  const asked = [
    'function current_organization()',
    'function is_system()',
    'function rfc3339(timestamp with time zone)',
    'reference organizations',
    `distributed ${first} by organization_id with none`,
    ...others.map(table => `distributed ${table} by organization_id with ${first}`),
  ];

  const security = sql<{ table: string; condition: string; isForced: boolean }>`
    select c.relname as table, pg_get_expr(polqual, polrelid) as condition, relforcerowsecurity as "isForced"
    from pg_policy p join pg_class c on c.oid = p.polrelid order by 1`;

  it('says on a dry run what becomes of each table, and does nothing', async () => {
    const before = await look(security);
    const lines = await run({ isDryRun: true });
    expect(lines.slice(0, asked.length)).toEqual([
      ...asked.slice(0, 3).map(call => `${call}: would be copied to every machine`),
      'organizations: would be made a reference table',
      ...placement.distributed.map(table => `${table}: would be distributed by organization_id`),
    ]);
    expect(lines.slice(asked.length).map(line => line.split(':')[0])).toEqual(Object.keys(placement.local));
    expect(await citus.calls()).toEqual([]);
    expect(await look(security)).toEqual(before);
    expect(await isDone()).toBe(false);
  });

  it('distributes each table after those it refers to, under conditions that Citus takes', async () => {
    await run();
    expect(await citus.calls()).toEqual(asked);
    const policies = await look(security);
    const isSpread = (table: string): boolean =>
      [...placement.reference, ...placement.distributed].some(each => table.startsWith(each));
    for (const { table, condition, isForced } of policies) {
      expect({ table, isForced }).toEqual({ table, isForced: true });
      expect(/select/i.test(condition), `${table}: ${condition}`).toBe(!isSpread(table));
    }
    const triggers = await look(sql`
      select from pg_trigger where not tgisinternal and tgrelid = 'managed_servers'::regclass`);
    expect(triggers).toEqual([]);
    expect(await isDone()).toBe(true);
  });

  it('done again it changes nothing, and leaves the rows where they are', async () => {
    await run();
    const lines = await run();
    expect(lines.slice(0, 2)).toEqual([
      'organizations: is a reference table already',
      'managed_servers: is distributed by organization_id already',
    ]);
    expect(await citus.calls()).toEqual(asked);
  });

  it('broken off at any table it goes on from there, and no opsfleet starts before', async () => {
    await citus.refuse('server_groups');
    await expect(run()).rejects.toThrow('the stand-in refuses server_groups');
    const until = asked.findIndex(call => call.includes(' server_groups '));
    expect(await citus.calls()).toEqual(asked.slice(0, until));
    const [group] = (await look(security)).filter(({ table }) => table === 'server_groups');
    expect(group).toMatchObject({ isForced: true, condition: expect.stringContaining('SELECT') });
    await expect(isDone()).rejects.toThrow(
      'the database is distributed in part (server_groups is not yet); run: npm run opsfleet -- db distribute',
    );
    await citus.refuse(null);
    await run();
    expect(await citus.calls()).toEqual(asked);
  });

  it('broken off between a table and its row security, it forces that', async () => {
    await run();
    await citus.run('alter table sessions no force row level security');
    await expect(isDone()).rejects.toThrow('sessions is not yet');
    await run();
    expect(await isDone()).toBe(true);
  });

  it('deletes what the coordinator itself still has of the tables that are distributed', async () => {
    await connected(async db => addServer(db, await addOrganization(db)));
    await run();
    expect((await citus.calls()).slice(asked.length)).toEqual([
      'truncated managed_servers',
      'truncated organizations',
    ]);
  });

  it('a deleted server is queued where no trigger does it', async () => {
    await run();
    const organizationId = await addOrganization(database.db);
    const server = await addServer(database.db, organizationId);
    await database.db.tenant(organizationId).transaction(tx => deleteServer(tx, server));
    const queued = await database.db.system.many(sql`
      select organization_id, server_id, cleared_at from deleted_servers`);
    expect(queued).toEqual([{ organization_id: organizationId, server_id: server, cleared_at: null }]);
  });
});
