import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { createTestDatabase, deleteAll, type TestDatabase } from '../../test/database.ts';
import { addOrganization, addServer } from '../../test/fleet.ts';
import { type GroupId, newId, type OrganizationId, type ServerId } from '../ids.ts';
import { sql, type TenantDb } from '../platform/db.ts';
import { eachOfSelected, ofLasting } from './selection.ts';
import { insertGroup } from './store.ts';

let database: TestDatabase;
let organizationId: OrganizationId;
let db: TenantDb;
const everybody = { filter: {} };

beforeAll(async () => {
  database = await createTestDatabase();
  organizationId = await addOrganization(database.db);
  db = database.db.tenant(organizationId);
});
afterAll(() => database.close());
beforeEach(() => deleteAll(database.db.system, ['managed_servers']));

/** New servers, in the order of their ids. */
async function add(count: number, of = organizationId): Promise<ServerId[]> {
  const ids: ServerId[] = [];
  for (let place = 0; place < count; place += 1) ids.push(await addServer(database.db, of));
  return ids.toSorted();
}

async function all<T>(parts: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const part of parts) found.push(part);
  return found;
}

const idsOf = async (parts: AsyncIterable<{ id: ServerId }[]>): Promise<ServerId[][]> =>
  (await all(parts)).map(part => part.map(({ id }) => id));

it('all servers of an organization come in parts, and nobody of another one', async () => {
  const [a, b, c, d] = (await add(4)) as [ServerId, ServerId, ServerId, ServerId];
  await add(2, await addOrganization(database.db));
  expect(await idsOf(eachOfSelected(db, everybody, 3))).toEqual([[a, b, c], [d]]);
  expect(await idsOf(eachOfSelected(db, everybody, 2))).toEqual([
    [a, b],
    [c, d],
  ]);
  expect(await idsOf(eachOfSelected(db, { filter: { search: 'nobody' } }, 2))).toEqual([]);
});

it('nobody comes twice or is passed over while servers are renamed, deleted and registered', async () => {
  const [a, b, c, d, e] = (await add(5)) as [ServerId, ServerId, ServerId, ServerId, ServerId];
  const parts = eachOfSelected(db, everybody, 2);
  expect((await parts.next()).value).toMatchObject([{ id: a }, { id: b }]);
  await db.execute(sql`
    update managed_servers set name = case id when ${a}::uuid then 'zz' else '0' end
    where organization_id = ${organizationId} and id in (${a}, ${e})`);
  await db.execute(sql`
    delete from managed_servers where organization_id = ${organizationId} and id in (${b}, ${c})`);
  const [added] = (await add(1)) as [ServerId];
  const left = [d, e, ...(added > b ? [added] : [])].toSorted();
  expect((await idsOf(parts)).flat()).toEqual(left);
});

it('what is read of a group that is deleted meanwhile fails at its end instead of looking whole', async () => {
  const groupId = newId<GroupId>(0);
  const group = { name: 'group', description: null, color: null, tags: [], regions: [], environments: [] };
  await insertGroup(db, groupId, group, new Date());
  const pages = () =>
    ofLasting(
      db,
      { groupId, filter: {} },
      (async function* () {
        yield 'first';
        yield 'last';
      })(),
    );
  expect(await all(pages())).toEqual(['first', 'last']);
  const read = pages();
  expect(await read.next()).toEqual({ done: false, value: 'first' });
  await db.execute(sql`
    delete from server_groups where organization_id = ${organizationId} and id = ${groupId}`);
  expect(await read.next()).toEqual({ done: false, value: 'last' });
  await expect(read.next()).rejects.toMatchObject({ code: 'not_found' });
});
