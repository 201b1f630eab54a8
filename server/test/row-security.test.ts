import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { OrganizationId } from '../src/ids.ts';
import { sqlState } from '../src/platform/database-failure.ts';
import { sql } from '../src/platform/db.ts';
import { startTestApp, type TestApp } from './app.ts';
import { fillOrganization, rowsOf, tenantTables } from './tenants.ts';

let test: TestApp;
let mine: OrganizationId;
let theirs: OrganizationId;

beforeAll(async () => {
  test = await startTestApp();
  await fillOrganization(test, 'mine');
  await fillOrganization(test, 'theirs');
  mine = await test.organization('mine');
  theirs = await test.organization('theirs');
});
afterAll(() => test.close());

describe('row security, where a statement forgets its predicate', () => {
  it('shows an organization its own rows of every table', async () => {
    const { db } = test.database;
    for (const { table, owner } of await tenantTables(test.database.db)) {
      const all = sql<{ owner: string }>`select ${sql.ref(owner)} as owner from ${sql.table(table)}`;
      const seen = new Set((await db.tenant(mine).many(all)).map(row => row.owner));
      expect([...seen], `${table} (an empty one proves nothing: let fillOrganization() add a row)`).toEqual([
        mine,
      ]);
      const existing = new Set((await db.system.many(all)).map(row => row.owner));
      expect(existing.has(theirs), `${table} has no row of the other organization`).toBe(true);
    }
  });

  it('shows it its own rows of every view', async () => {
    const views = await test.database.db.system.many<{ name: string }>(sql`
      select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind = 'v'`);
    expect(views.length).toBeGreaterThan(0);
    for (const { name } of views) {
      const all = sql<{ organization_id: string }>`select organization_id from ${sql.table(name)}`;
      const owners = new Set((await test.database.db.tenant(mine).many(all)).map(row => row.organization_id));
      expect([...owners], name).toEqual([mine]);
    }
  });

  it('deletes no row of another organization, from any table', async () => {
    const before = await rowsOf(test.database.db, theirs);
    const undone = new Error('undone');
    for (const { table } of await tenantTables(test.database.db)) {
      const deleting = test.database.db.tenant(mine).transaction(async tx => {
        expect(await tx.execute(sql`delete from ${sql.table(table)}`), table).toBeGreaterThan(0);
        throw undone;
      });
      // data_keys are still in use, and the foreign key says so: after row security had its say.
      await expect(deleting, table).rejects.toSatisfy(
        error => error === undone || sqlState(error) === '23503',
      );
    }
    expect(await rowsOf(test.database.db, theirs)).toEqual(before);
  });

  it('lets no row be given to another organization', async () => {
    for (const { table, owner } of await tenantTables(test.database.db)) {
      const giving = sql`update ${sql.table(table)} set ${sql.ref(owner)} = ${theirs}`;
      const refusal = await test.database.db.tenant(mine).execute(giving).catch(sqlState);
      expect(refusal, table).toBe('42501');
    }
  });

  it('shows nothing at all to a session that says for nobody', async () => {
    const client = await test.database.db.dedicated();
    for (const { table } of await tenantTables(test.database.db)) {
      const { rows } = await client.query<{ count: string }>(`select count(*) from ${table}`);
      expect(Number(rows[0]!.count), table).toBe(0);
    }
    await client.end();
  });
});
