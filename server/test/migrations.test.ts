import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeSchema } from '../../scripts/schema.ts';
import { healthRollupTable } from '../src/health/rollup.ts';
import { newId, type OrganizationId } from '../src/ids.ts';
import { metricRollupTable } from '../src/metrics/rollup.ts';
import { sql } from '../src/platform/db.ts';
import { ensurePartitions } from '../src/retention/maintain.ts';
import { partitionedTables } from '../src/retention/partitions.ts';
import { rollupPeriods } from '../src/rollups/rollup.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';
import { addServer } from './fleet.ts';

describe('the schema', () => {
  let database: TestDatabase;

  beforeAll(async () => {
    database = await createTestDatabase();
  });
  afterAll(() => database.close());

  const many = <Row>(query: ReturnType<typeof sql<Row>>): Promise<Row[]> => database.db.system.many(query);

  it('is the committed page', async () => {
    const page = await readFile(join(import.meta.dirname, '../schema.sql'), 'utf8');
    expect(await describeSchema(database.db.system), 'run: node scripts/schema.ts').toBe(page);
  });

  // organizations is the tenant itself; the others belong to nobody.
  const withoutTenant = [
    'archiving',
    'conditions',
    'organizations',
    'partition_archives',
    'poll_slots',
    'retired_partitions',
    'rollup_progress',
    'rollup_turns',
    'schema_migrations',
    'workers',
  ];

  it('says of every table whose rows it holds', async () => {
    const tables = await many(sql<{ name: string }>`
      select relname as name from pg_class c
      where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition
        and not exists (select from pg_attribute where attrelid = c.oid and attname = 'organization_id' and attnotnull)
      order by relname`);
    expect(tables.map(table => table.name)).toEqual(withoutTenant);
  });

  it('has organization_id in every key of a tenant table, and in every reference to one', async () => {
    const keys = await many(sql<{ key: string; columns: string[] }>`
      select i.indexrelid::regclass::text as key, array_agg(a.attname::text) as columns
      from pg_index i
      join pg_class c on c.oid = i.indrelid and c.relnamespace = 'public'::regnamespace and not c.relispartition
      join pg_attribute a on a.attrelid = i.indexrelid
      where i.indisunique and c.relname <> all(${withoutTenant}::text[])
      group by i.indexrelid`);
    expect(keys.length).toBeGreaterThan(10);
    expect(keys.filter(({ columns }) => !columns.includes('organization_id'))).toEqual([]);

    const references = await many(sql<{ name: string; columns: string[] }>`
      select k.conrelid::regclass || '.' || k.conname as name, array_agg(a.attname::text) as columns
      from pg_constraint k
      join pg_class c on c.oid = k.conrelid and not c.relispartition
      join pg_attribute a on a.attrelid = k.conrelid and a.attnum = any(k.conkey)
      where k.contype = 'f' group by k.oid`);
    expect(references.length).toBeGreaterThan(10);
    expect(references.filter(({ columns }) => !columns.includes('organization_id'))).toEqual([]);
  });

  it('has row security, forced, with the policy `tenant` on every table of tenants', async () => {
    const tables = await many(sql<{ name: string; policies: string[] | null; on: boolean }>`
      select c.relname as name, relrowsecurity and relforcerowsecurity as on,
             (select array_agg(polname::text) from pg_policy where polrelid = c.oid) as policies
      from pg_class c
      where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition
        and (relname = 'organizations' or relname <> all(${withoutTenant}::text[]))`);
    expect(tables.length).toBeGreaterThan(10);
    for (const { name, policies, on } of tables)
      expect({ name, policies, on }).toEqual({ name, policies: ['tenant'], on: true });
  });

  it('looks through every view with the rights of the one who asks', async () => {
    const views = await many(sql<{ name: string; options: string[] | null }>`
      select relname as name, reloptions as options from pg_class
      where relnamespace = 'public'::regnamespace and relkind = 'v'`);
    expect(views.length).toBeGreaterThan(0);
    for (const { name, options } of views) expect(options, name).toContain('security_invoker=true');
  });

  it('partitions every time series by one range, without a default partition', async () => {
    const tables = await many(sql<{ name: string; key: string; isDefault: boolean }>`
      select c.relname as name, pg_get_partkeydef(c.oid) as key, p.partdefid <> 0 as "isDefault"
      from pg_partitioned_table p join pg_class c on c.oid = p.partrelid order by c.relname`);
    expect(tables.map(({ name }) => name)).toEqual([...partitionedTables].toSorted());
    for (const { key, isDefault } of tables) {
      expect(key).toMatch(/^RANGE \((timestamp|"timestamp"|created_at)\)$/);
      expect(isDefault).toBe(false);
    }
    const { created } = await ensurePartitions(database.db.system, { now: new Date(), interval: 'month' });
    expect(created).toEqual([]);
  });

  const seed = {
    managed_servers:
      'id name description hostname api_url api_token_hash version region environment status health_status last_seen_at ' +
      'last_health_check_at tags metadata organization_id created_at updated_at',
    server_groups:
      'id name description color tags regions environments organization_id created_at updated_at',
    server_group_members: 'server_id group_id added_at',
    server_metrics_aggregated:
      'id server_id timestamp period cpu_percent memory_percent disk_percent network_rx_bytes network_tx_bytes ' +
      'active_services failed_services total_services llm_requests llm_cost_usd active_users total_users created_at',
    server_health_checks:
      'id server_id timestamp status response_time_ms database_healthy redis_healthy services_healthy error_message ' +
      'error_details created_at',
    fleet_operations:
      'id operation_type server_ids group_ids filter_criteria parameters initiated_by status total_servers ' +
      'completed_servers failed_servers results error_summary started_at completed_at created_at',
    v_server_health_overview:
      'server_id timestamp status response_time_ms database_healthy redis_healthy services_healthy error_message',
  };
  const columnsOf = async (relation: string): Promise<string[]> => {
    const rows = await many(sql<{ name: string }>`
      select attname as name from pg_attribute
      where attrelid = ${relation}::regclass and attnum > 0 and not attisdropped order by attnum`);
    return rows.map(row => row.name);
  };

  it.each(Object.entries(seed))(
    'keeps the columns that clients of the seed know of %s',
    async (relation, columns) => {
      expect(await columnsOf(relation)).toEqual(expect.arrayContaining(columns.split(' ')));
    },
  );

  it('keeps the columns of v_fleet_summary in order', async () => {
    expect(await columnsOf('v_fleet_summary')).toEqual([
      'organization_id',
      'total_servers',
      'active_servers',
      'inactive_servers',
      'maintenance_servers',
      'healthy_servers',
      'degraded_servers',
      'critical_servers',
      'unreachable_servers',
      'unknown_servers',
      'regions_count',
      'environments_count',
    ]);
  });

  it('keeps money exact', async () => {
    const [cost] = await many(sql<{ type: string }>`
      select format_type(atttypid, atttypmod) as type from pg_attribute
      where attrelid = 'server_metrics_aggregated'::regclass and attname = 'llm_cost_usd'`);
    expect(cost).toEqual({ type: 'numeric(18,6)' });
  });
});

describe('deleting', () => {
  let database: TestDatabase;
  let organizationId: OrganizationId;

  beforeAll(async () => {
    database = await createTestDatabase();
    organizationId = newId<OrganizationId>(Date.now());
    await database.db.system.execute(sql`
      insert into organizations (id, name, created_at, updated_at) values (${organizationId}, 'one', now(), now())`);
  });
  afterAll(() => database.close());

  /** A server with a row in every table that refers to servers. Returns its id. */
  async function serverWithRows(): Promise<string> {
    const id = await addServer(database.db, organizationId);
    const [key, group] = [randomUUID(), randomUUID()];
    const { system } = database.db;
    await system.execute(sql`
      insert into data_keys (organization_id, id, master_key_id, wrapped_key, state, created_at)
      values (${organizationId}, ${key}, 'k', '', 'decrypt_only', now())`);
    await system.execute(sql`
      insert into server_secrets (organization_id, server_id, purpose, data_key_id, origin, nonce, ciphertext, created_at)
      values (${organizationId}, ${id}, 'polling_token', ${key}, 'https://h:443', ${Buffer.alloc(12)}, '', now())`);
    await system.execute(sql`
      insert into server_groups (organization_id, id, name, created_at, updated_at)
      values (${organizationId}, ${group}, ${group}, now(), now())`);
    await system.execute(sql`
      insert into server_group_members (organization_id, server_id, group_id, added_at)
      values (${organizationId}, ${id}, ${group}, now())`);
    return id;
  }

  /** History, and the queue in which the servers wait whose history is to be deleted (servers/deletion-store.ts). */
  const clearedLater = [
    'server_health_checks',
    'server_metrics_aggregated',
    ...rollupPeriods.flatMap(period => [healthRollupTable(period), metricRollupTable(period)]),
    'rollup_late',
    'deleted_servers',
  ];

  const rowsIn = async (
    column: 'server_id' | 'organization_id',
    id: string,
  ): Promise<Record<string, number>> => {
    const tables = await database.db.system.many<{ name: string }>(sql`
      select c.relname as name from pg_class c
      join pg_attribute a on a.attrelid = c.oid and a.attname = ${column} and not a.attisdropped
      where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
      order by c.relname`);
    const counts: Record<string, number> = {};
    for (const { name } of tables.filter(each => !clearedLater.includes(each.name))) {
      const { rows } = await database.db.system.one<{ rows: number }>(sql`
        select count(*) as rows from ${sql.table(name)} where ${sql.ref(column)} = ${id}`);
      counts[name] = rows;
    }
    return counts;
  };

  it('a server takes its memberships and its token along, and nothing of another one', async () => {
    const [gone, stays] = [await serverWithRows(), await serverWithRows()];
    const before = await rowsIn('server_id', gone);
    expect(Object.values(before), JSON.stringify(before)).not.toContain(0);
    await database.db.tenant(organizationId).execute(sql`delete from managed_servers where id = ${gone}`);
    expect(new Set(Object.values(await rowsIn('server_id', gone)))).toEqual(new Set([0]));
    expect(await rowsIn('server_id', stays)).toEqual(before);
  });

  it('an organization takes everything along but history, which is cleared, and events, which go with their month', async () => {
    await serverWithRows();
    await database.db.system.execute(sql`
      insert into events (created_at, organization_id, type, subject_id, data)
      values (now(), ${organizationId}, 'server.registered', ${randomUUID()}, '{}')`);
    await database.db.system.execute(sql`delete from organizations where id = ${organizationId}`);
    const { events, ...others } = await rowsIn('organization_id', organizationId);
    expect(events).toBe(1);
    expect(new Set(Object.values(others))).toEqual(new Set([0]));
  });
});
