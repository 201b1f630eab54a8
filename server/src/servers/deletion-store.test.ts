import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/database.ts';
import { addOrganization, addServer } from '../../test/fleet.ts';
import { deleteHealthChecks } from '../health/history.ts';
import type { OrganizationId, ServerId } from '../ids.ts';
import { deleteMetrics } from '../metrics/store.ts';
import { sql } from '../platform/db.ts';
import { ensurePartitionsFor } from '../retention/maintain.ts';
import { defaultRetention } from '../retention/retention.ts';
import { clearHistory } from './deletion-store.ts';
import { deleteServer } from './store.ts';

const at = new Date();

let database: TestDatabase;
let organizationId: OrganizationId;
let server: ServerId;
let neighbour: ServerId;
beforeAll(async () => {
  database = await createTestDatabase();
  for (const table of ['server_health_checks', 'server_metrics_aggregated'] as const)
    for (const instant of [at, new Date(at.getTime() - 21 * 86_400_000)])
      await ensurePartitionsFor(database.db.system, {
        table,
        instants: [instant],
        policy: { interval: 'month', retention: defaultRetention },
        now: at,
      });
});
afterAll(() => database.close());
beforeEach(async () => {
  await database.db.system.execute(sql`delete from deleted_servers`);
  organizationId = await addOrganization(database.db);
  server = await addServer(database.db, organizationId);
  neighbour = await addServer(database.db, organizationId);
});

/** So many checks and half as many collections: 3,000 of them lie in two months. */
async function addHistory(of: ServerId, checks: number): Promise<void> {
  await database.db.system.execute(sql`
    insert into server_health_checks (organization_id, server_id, timestamp, status, reason)
    select ${organizationId}, ${of}, ${at}::timestamptz - i * interval '10 minutes', 'healthy', 'ok' from generate_series(1, ${checks}::int) i`);
  await database.db.system.execute(sql`
    insert into server_metrics_aggregated (organization_id, server_id, timestamp, period)
    select ${organizationId}, ${of}, ${at}::timestamptz - i * interval '20 minutes', '1m' from generate_series(1, ${checks / 2}::int) i`);
}

const remove = (id: ServerId): Promise<string | null> =>
  database.db.tenant(organizationId).transaction(tx => deleteServer(tx, id));

const clear = (): Promise<number | null> =>
  clearHistory(database.db.system, [deleteHealthChecks, deleteMetrics]);

const pass = (minutes: number): Promise<number> =>
  database.db.system.execute(sql`
    update deleted_servers set deleted_at = deleted_at - ${minutes}::int * interval '1 minute'`);

/** Until nothing is left to do. Returns what each part deleted. */
async function clearAll(): Promise<number[]> {
  const parts: number[] = [];
  for (let rows = await clear(); rows !== null; rows = await clear()) parts.push(rows);
  return parts;
}

async function rowsOf(id: ServerId): Promise<number> {
  const { count } = await database.db.system.one(sql<{ count: number }>`
    select ((select count(*) from server_health_checks where server_id = ${id})
          + (select count(*) from server_metrics_aggregated where server_id = ${id})
          + (select count(*) from deleted_servers where server_id = ${id}))::int as count`);
  return count;
}

test('the whole history of a deleted server goes, in parts, and that of nobody else', async () => {
  for (const each of [server, neighbour]) await addHistory(each, 3_000);
  await remove(server);
  expect(await clearAll()).toEqual([2_000, 2_000, 500]);
  expect([await rowsOf(server), await rowsOf(neighbour)]).toEqual([1, 4_500]);
});

test('what a statement adds that had begun before is found an hour later, and then nothing is left', async () => {
  await remove(server);
  expect(await clearAll()).toEqual([0]);
  await addHistory(server, 2);
  await pass(59);
  expect(await clearAll()).toEqual([]);
  await pass(2);
  expect(await clearAll()).toEqual([3]);
  expect([await clear(), await rowsOf(server)]).toEqual([null, 0]);
});

test('a process that ends within a part leaves all of it to the next one', async () => {
  await addHistory(server, 10);
  await remove(server);
  const killed = clearHistory(database.db.system, [
    deleteHealthChecks,
    () => Promise.reject(new Error('killed')),
  ]);
  await expect(killed).rejects.toThrow('killed');
  expect(await rowsOf(server)).toBe(1 + 15);
  expect(await clearAll()).toEqual([15]);
});

test('two processes work on two servers, and neither waits for the other', async () => {
  for (const each of [server, neighbour]) {
    await addHistory(each, 4);
    await remove(each);
  }
  const first = clearHistory(database.db.system, [
    async (tx, own, limit) => {
      expect(await clearAll()).toEqual([6]);
      return deleteHealthChecks(tx, own, limit);
    },
    deleteMetrics,
  ]);
  expect(await first).toBe(6);
  expect([await rowsOf(server), await rowsOf(neighbour)]).toEqual([1, 1]);
});

test('an organization takes the history of its servers along', async () => {
  for (const each of [server, neighbour]) await addHistory(each, 2);
  await database.db.system.execute(sql`delete from organizations where id = ${organizationId}`);
  expect(await clearAll()).toEqual([3, 3]);
  expect([await rowsOf(server), await rowsOf(neighbour)]).toEqual([1, 1]);
});

test('a server that is there again, from a backup, keeps its history, and can be deleted again', async () => {
  await addHistory(server, 2);
  const deleteAndRestore = (): Promise<unknown> =>
    database.db.system.transaction(async tx => {
      const its = sql`from managed_servers where id = ${server}`;
      await tx.execute(sql`create temporary table backup on commit drop as select * ${its}`);
      await tx.execute(sql`delete ${its}`);
      return tx.execute(sql`insert into managed_servers select * from backup`);
    });
  await deleteAndRestore();
  expect([await clearAll(), await rowsOf(server)]).toEqual([[0], 3]);
  await deleteAndRestore();
  await remove(server);
  expect([await clearAll(), await rowsOf(server)]).toEqual([[3], 1]);
});

test('a deletion that is rolled back leaves server and history alone', async () => {
  await addHistory(server, 2);
  const undone = database.db.tenant(organizationId).transaction(async tx => {
    await deleteServer(tx, server);
    throw new Error('undone');
  });
  await expect(undone).rejects.toThrow('undone');
  expect([await clear(), await rowsOf(server)]).toEqual([null, 3]);
});

test('a server that is not there, or another organization’s, is not deleted', async () => {
  expect(await remove(server)).toBe(server);
  expect(await remove(server)).toBeNull();
  const other = database.db.tenant(await addOrganization(database.db));
  expect(await other.transaction(tx => deleteServer(tx, neighbour))).toBeNull();
  expect(await clearAll()).toEqual([0]);
});
