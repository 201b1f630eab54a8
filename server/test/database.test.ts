import { Client } from 'pg';
import { expect, test } from 'vitest';
import { sql } from '../src/platform/db.ts';
import { createTestDatabase } from './database.ts';

test('every caller gets a migrated database of its own', async () => {
  const [a, b] = await Promise.all([createTestDatabase(), createTestDatabase()]);
  try {
    expect(a.connection.database).not.toBe(b.connection.database);
    await a.db.system.execute(sql`
      insert into organizations (id, name, created_at, updated_at) values (gen_random_uuid(), 'a', now(), now())`);
    const count = sql<{ organizations: number }>`select count(*) as organizations from organizations`;
    expect(await a.db.system.one(count)).toEqual({ organizations: 1 });
    expect(await b.db.system.one(count)).toEqual({ organizations: 0 });
  } finally {
    await Promise.all([a.close(), b.close()]);
  }
});

test('the role is bound by row security', async () => {
  const database = await createTestDatabase();
  const role = await database.db.system.one(
    sql<{ rolsuper: boolean; rolbypassrls: boolean }>`
      select rolsuper, rolbypassrls from pg_roles where rolname = current_user`,
  );
  expect(role).toEqual({ rolsuper: false, rolbypassrls: false });
  await database.close();
});

test('closing names the connection that was left open', async () => {
  const database = await createTestDatabase();
  const forgotten = new Client(database.connection);
  await forgotten.connect();
  await forgotten.query('select 42 as forgotten');
  await expect(database.close()).rejects.toThrow(/1 connections were never closed.*42 as forgotten/);
  await forgotten.end();
});
