import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/database.ts';
import { addOrganization, addServer } from '../../test/fleet.ts';
import { type GroupId, newId, type OrganizationId, type ServerId } from '../ids.ts';
import { violatedConstraint } from '../platform/database-failure.ts';
import { deleteServer } from '../servers/store.ts';
import { type GroupCriteria, type GroupSettings, matches } from './group.ts';
import {
  addMembers,
  deleteGroup,
  findGroup,
  holdServers,
  insertGroup,
  listGroupServers,
  listGroups,
  previewMembers,
  removeMember,
  updateGroup,
} from './store.ts';

let database: TestDatabase;
let organizationId: OrganizationId;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.close());
beforeEach(async () => {
  organizationId = await addOrganization(database.db);
});

const at = new Date('2026-11-24T12:00:00Z');
const later = new Date('2026-11-24T13:00:00Z');
const none: GroupCriteria = { tags: [], regions: [], environments: [] };
const tenant = () => database.db.tenant(organizationId);
const settings = (name: string, criteria: Partial<GroupCriteria> = {}): GroupSettings => ({
  name,
  description: null,
  color: null,
  ...none,
  ...criteria,
});

async function addGroup(group: GroupSettings): Promise<GroupId> {
  const id = newId<GroupId>(at.getTime());
  await insertGroup(tenant(), id, group, at);
  return id;
}

async function read(id: GroupId): Promise<{ server_count: number; revision: number }> {
  return JSON.parse((await findGroup(tenant(), id))!.json) as { server_count: number; revision: number };
}

async function list(page = { limit: 500, offset: 0 }) {
  const { groups, ...counts } = await listGroups(tenant(), page);
  return { ...counts, groups: JSON.parse(groups) as { id: GroupId; name: string; server_count: number }[] };
}

async function members(id: GroupId, page: { limit?: number; afterName?: string } = {}) {
  const found = (await listGroupServers(tenant(), id, { limit: 500, afterName: null, ...page }))!;
  const servers = JSON.parse(found.servers) as { id: ServerId; name: string }[];
  return { ...found, ids: servers.map(server => server.id), names: servers.map(server => server.name) };
}

test('a group comes back as it was stored', async () => {
  const id = await addGroup({
    name: 'Web',
    description: 'All that serves',
    color: '#1a2B3c',
    tags: ['web', '"quoted"'],
    regions: ['eu'],
    environments: ['production'],
  });
  expect(await read(id)).toEqual({
    id,
    organization_id: organizationId,
    name: 'Web',
    description: 'All that serves',
    color: '#1a2B3c',
    tags: ['web', '"quoted"'],
    regions: ['eu'],
    environments: ['production'],
    server_count: 0,
    revision: 1,
    created_at: '2026-11-24T12:00:00.000Z',
    updated_at: '2026-11-24T12:00:00.000Z',
  });
});

test('an update replaces the settings, counts the revision and keeps the fixed members', async () => {
  const id = await addGroup(settings('Web', { tags: ['web'] }));
  await addMembers(tenant(), id, [await addServer(database.db, organizationId)], at);
  await updateGroup(tenant(), id, settings('Front', { regions: ['eu'] }), later);
  expect(await read(id)).toMatchObject({
    name: 'Front',
    tags: [],
    regions: ['eu'],
    server_count: 1,
    revision: 2,
    updated_at: '2026-11-24T13:00:00.000Z',
  });
});

test('a name is unique in its organization, and only there', async () => {
  await addGroup(settings('Web'));
  const error: unknown = await addGroup(settings('Web')).catch((each: unknown) => each);
  expect(violatedConstraint(error)).toBe('server_groups_organization_id_name_key');
  organizationId = await addOrganization(database.db);
  await addGroup(settings('Web'));
});

test('deleting a group leaves its servers; deleting a server ends its memberships', async () => {
  const server = await addServer(database.db, organizationId);
  const [first, second] = [await addGroup(settings('a')), await addGroup(settings('b'))];
  await addMembers(tenant(), first, [server], at);
  await addMembers(tenant(), second, [server], at);
  expect(await deleteGroup(tenant(), first)).toBe('a');
  expect(await deleteGroup(tenant(), first)).toBeNull();
  expect((await members(second)).ids).toEqual([server]);
  await deleteServer(tenant(), server);
  expect(await read(second)).toMatchObject({ server_count: 0 });
});

test('a group has its fixed members and the servers that match, each once and by name', async () => {
  const b = await addServer(database.db, organizationId, { name: 'b', tags: ['web', 'eu'] });
  const c = await addServer(database.db, organizationId, { name: 'c', tags: ['web'] });
  const a = await addServer(database.db, organizationId, { name: 'a' });
  await addServer(database.db, organizationId, { name: 'd' });
  const id = await addGroup(settings('Web', { tags: ['web'] }));
  await addMembers(tenant(), id, [a, b], at);
  expect(await members(id)).toMatchObject({ ids: [a, b, c], fixed_server_ids: [a, b], count: 3, total: 3 });
  expect(await read(id)).toMatchObject({ server_count: 3 });
  expect((await list()).groups).toMatchObject([{ id, server_count: 3 }]);
});

test('memberships can be repeated and ended twice', async () => {
  const server = await addServer(database.db, organizationId);
  const id = await addGroup(settings('Web'));
  expect(await addMembers(tenant(), id, [server], at)).toEqual([server]);
  expect(await addMembers(tenant(), id, [server], later)).toEqual([]);
  expect(await removeMember(tenant(), id, server)).toBe(true);
  expect(await removeMember(tenant(), id, server)).toBe(false);
});

test('the servers of a group are read page by page', async () => {
  for (const name of ['a', 'b', 'c']) await addServer(database.db, organizationId, { name, region: 'eu' });
  const id = await addGroup(settings('Europe', { regions: ['eu'] }));
  expect(await members(id, { limit: 2 })).toMatchObject({ names: ['a', 'b'], total: 3, last_name: 'b' });
  expect(await members(id, { limit: 2, afterName: 'b' })).toMatchObject({ names: ['c'], count: 1, total: 3 });
});

test('groups are listed by name, page by page', async () => {
  for (const name of ['b', 'c', 'a']) await addGroup(settings(name));
  const names = async (page?: { limit: number; offset: number }) =>
    (await list(page)).groups.map(group => group.name);
  expect(await names()).toEqual(['a', 'b', 'c']);
  expect(await names({ limit: 2, offset: 1 })).toEqual(['b', 'c']);
  expect(await list({ limit: 1, offset: 5 })).toEqual({ groups: [], count: 0, total: 3 });
});

test('a preview counts all that match and shows the first ten by name', async () => {
  for (let n = 10; n < 22; n++) {
    await addServer(database.db, organizationId, { name: `web-${n}`, environment: 'production' });
  }
  const { count, sample } = await previewMembers(tenant(), { ...none, environments: ['production'] });
  const names = (JSON.parse(sample) as { name: string }[]).map(server => server.name);
  expect(count).toBe(12);
  expect(names).toEqual(Array.from({ length: 10 }, (_name, index) => `web-${10 + index}`));
  expect(await previewMembers(tenant(), none)).toEqual({ count: 0, sample: '[]' });
});

test('nothing of another organization is seen, held or changed', async () => {
  const server = await addServer(database.db, organizationId, { tags: ['web'] });
  const id = await addGroup(settings('Web', { tags: ['web'] }));
  organizationId = await addOrganization(database.db);
  expect(await findGroup(tenant(), id)).toBeNull();
  expect(await listGroupServers(tenant(), id, { limit: 1, afterName: null })).toBeNull();
  expect(await list()).toEqual({ groups: [], count: 0, total: 0 });
  expect(await previewMembers(tenant(), { ...none, tags: ['web'] })).toMatchObject({ count: 0 });
  expect(await holdServers(tenant(), [server])).toEqual(new Set());
  expect(await removeMember(tenant(), id, server)).toBe(false);
  expect(await deleteGroup(tenant(), id)).toBeNull();
});

test('PostgreSQL and `matches` agree on who belongs to a group, in every statement', async () => {
  // Few words, so that matches are frequent, and with what JSON and SQL would have to escape.
  const word = fc.constantFrom('a', 'b', 'A', 'é', '"', '\\', "'", '%', '[]', 'null', 'a b', '☃');
  const words = fc.uniqueArray(word, { maxLength: 3 });
  const place = fc.option(word);
  const servers = fc.array(fc.record({ tags: words, region: place, environment: place }), { maxLength: 8 });
  const fixed = fc.uniqueArray(fc.nat(7), { maxLength: 3 });
  const group = fc.record({ tags: words, regions: words, environments: words, fixed });

  await fc.assert(
    fc.asyncProperty(servers, fc.array(group, { minLength: 1, maxLength: 5 }), async (fleet, wanted) => {
      organizationId = await addOrganization(database.db);
      const ids = await Promise.all(fleet.map(facts => addServer(database.db, organizationId, facts)));
      for (const [place, { fixed, ...criteria }] of wanted.entries()) {
        const id = await addGroup(settings(`group ${place}`, criteria));
        const fixedIds = ids.filter((_id, index) => fixed.includes(index));
        await addMembers(tenant(), id, fixedIds, at);

        const matching = ids.filter((_id, index) => matches(criteria, fleet[index]!));
        const expected = new Set([...fixedIds, ...matching]);
        const found = await members(id);
        expect(new Set(found.ids)).toEqual(expected);
        expect(new Set(found.fixed_server_ids)).toEqual(new Set(fixedIds));
        expect(found).toMatchObject({ count: expected.size, total: expected.size });
        expect(await read(id)).toMatchObject({ server_count: expected.size });
        expect((await list()).groups.at(-1)).toMatchObject({ id, server_count: expected.size });
        expect(await previewMembers(tenant(), criteria)).toMatchObject({ count: matching.length });
      }
    }),
    { numRuns: 40 },
  );
});
