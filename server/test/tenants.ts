import { createHash, randomUUID } from 'node:crypto';
import { insertSignInLink } from '../src/auth/store.ts';
import { healthRollupTable } from '../src/health/rollup.ts';
import { newId, type OrganizationId, type SignInLinkId } from '../src/ids.ts';
import { metricEntries } from '../src/metrics/metric.ts';
import { metricRollupTable } from '../src/metrics/rollup.ts';
import { type Database, type Queryable, sql } from '../src/platform/db.ts';
import { periodStart, rollupPeriods } from '../src/rollups/rollup.ts';
import { hashCredential, mintCredential } from '../src/tokens/token.ts';
import type { TestApp } from './app.ts';
import { type Ids, registration } from './route-examples.ts';

/** Gives an organization at least one row in every table there is. */
export async function fillOrganization(test: TestApp, name: string): Promise<Ids> {
  const admin = await test.as('admin', name);
  const organizationId = await test.organization(name);
  const api = '/api/v1/fleet';
  const server = (
    await admin.post(`${api}/servers`, { ...registration, name, api_url: `https://${name}.example.com` })
  ).body.server.id;
  const group = (await admin.post(`${api}/groups`, { name })).body.group.id;
  await admin.post(`${api}/groups/members`, { server_id: server, group_id: group });
  const { body } = await admin.post(`${api}/health-check/all`, undefined, { prefer: 'respond-async' });
  const { token, api_token } = (await admin.post('/api/v1/tokens', { name, role: 'viewer' })).body;
  await admin.post('/api/v1/session', { token });
  const at = new Date();
  const expiresAt = new Date(at.getTime() + 60_000);
  const link = {
    id: newId<SignInLinkId>(at.getTime()),
    organizationId,
    role: 'viewer' as const,
    at,
    expiresAt,
  };
  await insertSignInLink(test.database.db.system, { ...link, hash: hashCredential(mintCredential()) });
  const db = test.database.db.tenant(organizationId);
  // History of a time to come: what is over would be summed up meanwhile.
  const later = new Date(at.getTime() + 2 * 86_400_000);
  await db.execute(sql`
    insert into server_health_checks (organization_id, server_id, timestamp, status, reason)
    values (${organizationId}, ${server}, ${later}, 'healthy', 'ok')`);
  await db.execute(sql`
    insert into server_metrics_aggregated (organization_id, server_id, timestamp, period, cpu_percent)
    values (${organizationId}, ${server}, ${later}, '1m', 50)`);
  for (const period of rollupPeriods) {
    const counts = metricEntries.map(([field]) => sql.ref(`${field}_count`));
    await db.execute(sql`
      insert into ${sql.table(metricRollupTable(period))} (organization_id, server_id, timestamp, newest_id,
        newest_created_at, samples, ${sql.join(counts)})
      values (${organizationId}, ${server}, ${periodStart(later, period)}, 1, ${later}, 1, ${sql.join(counts.map(() => sql`0`))})`);
    await db.execute(sql`
      insert into ${sql.table(healthRollupTable(period))} values (
        ${organizationId}, ${server}, ${periodStart(later, period)}, 1, 0, 0, 0, 0, 30000, 0, 0, 0, 0, 0, null, null, '{}', '{}')`);
  }
  // Of no kind that anybody sums up, or it would be gone soon.
  await db.execute(sql`
    insert into rollup_late (kind, period, organization_id, server_id, timestamp)
    values ('example', '5m', ${organizationId}, ${server}, ${periodStart(at, '5m')})`);
  await db.execute(sql`
    insert into fleet_operations (organization_id, id, operation_type, created_at)
    values (${organizationId}, ${randomUUID()}, 'restart', ${at})`);
  await db.execute(sql`
    insert into deleted_servers (organization_id, server_id, deleted_at)
    values (${organizationId}, ${randomUUID()}, ${at})`);
  await db.execute(sql`
    insert into witness_questions (organization_id, asker, number, subject_id, deadline)
    values (${organizationId}, ${randomUUID()}, 1, ${server}, ${expiresAt})`);
  return { server, group, token: api_token.id, job: body.job.id };
}

/** Every table that holds rows of tenants, and the column that says whose. */
export async function tenantTables(db: Database): Promise<{ table: string; owner: string }[]> {
  const rows = await db.system.many<{ table: string }>(sql`
    select c.relname as table from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attname = 'organization_id' and not a.attisdropped
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
    order by c.relname`);
  return [
    ...rows.map(({ table }) => ({ table, owner: 'organization_id' })),
    { table: 'organizations', owner: 'id' },
  ];
}

/** A checksum of all that the organization has in each table. */
export async function rowsOf(db: Database, organizationId: OrganizationId): Promise<Record<string, string>> {
  const sums: Record<string, string> = {};
  for (const { table, owner } of await tenantTables(db)) {
    const { rows } = await db.system.one<{ rows: string | null }>(sql`
      select string_agg(t::text, e'\n' order by t::text) as rows from ${sql.table(table)} t
      where ${sql.ref(owner)} = ${organizationId}`);
    sums[table] = createHash('sha256')
      .update(rows ?? '')
      .digest('hex');
  }
  return sums;
}

/** In which tables, partitions by themselves, some row has this text anywhere. */
export async function tablesThatMention(db: Queryable, text: string): Promise<string[]> {
  const tables = await db.many(sql<{ name: string }>`
    select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' order by relname`);
  const found: string[] = [];
  for (const { name } of tables) {
    const { rows } = await db.one(sql<{ rows: number }>`
      select count(*)::int as rows from ${sql.table(name)} t where t::text like ${`%${text}%`}`);
    if (rows > 0) found.push(name.replace(/_\d{4}_\d\d$/, ''));
  }
  return [...new Set(found)];
}
