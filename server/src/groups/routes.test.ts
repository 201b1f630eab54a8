import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Client, startTestApp, type TestApp } from '../../test/app.ts';
import { addServer } from '../../test/fleet.ts';
import type { OrganizationId, ServerId } from '../ids.ts';
import { sql } from '../platform/db.ts';

let test: TestApp;
let organizationId: OrganizationId;
let admin: Client;
let viewer: Client;
let stranger: Client;
beforeAll(async () => {
  test = await startTestApp();
  organizationId = await test.organization('default');
  admin = await test.as('admin');
  viewer = await test.as('viewer');
  stranger = await test.as('admin', 'other');
});
afterAll(() => test.close());

const groups = '/api/v1/fleet/groups';
const missing = '019aa000-0000-7000-8000-000000000000';

let count = 0;
async function makeGroup(settings: object = {}, who = admin) {
  count += 1;
  const answer = await who.post(groups, { name: `group-${count}`, ...settings });
  expect(answer.status, answer.text).toBe(201);
  return answer.body.group as { id: string; name: string };
}
const makeServer = (facts: Parameters<typeof addServer>[2] = {}): Promise<ServerId> =>
  addServer(test.database.db, organizationId, facts);

async function eventsOf(group: string) {
  return test.database.db.system.many(sql<{ type: string; data: unknown }>`
    select type, data from events where subject_id = ${group} order by xid, id`);
}

describe('making and changing a group', () => {
  it('is made with its name alone', async () => {
    const answer = await admin.post(groups, { name: ' Web servers ' });
    expect(answer).toMatchObject({
      status: 201,
      body: {
        success: true,
        message: expect.any(String),
        group: {
          name: 'Web servers',
          description: null,
          color: null,
          tags: [],
          regions: [],
          environments: [],
        },
      },
    });
    expect(answer.headers.get('location')).toBe(`${groups}/${answer.body.group.id}`);
    expect((await viewer.get(`${groups}/${answer.body.group.id}`)).body).toEqual({
      group: answer.body.group,
    });
  });

  it.each([
    ['/name', {}],
    ['/name', { name: '' }],
    ['/name', { name: ' ' }],
    ['/name', { name: 'two\nlines' }],
    ['/name', { name: 'x'.repeat(256) }],
    ['/color', { name: 'x', color: 'red' }],
    ['/color', { name: 'x', color: '#12345' }],
    ['/description', { name: 'x', description: 'x'.repeat(2_001) }],
    ['/tags', { name: 'x', tags: Array.from({ length: 51 }, String) }],
    ['/regions/0', { name: 'x', regions: ['x'.repeat(101)] }],
    ['/environments/1', { name: 'x', environments: ['production', ''] }],
    ['/owner', { name: 'x', owner: 'me' }],
  ])('names %s as what is wrong with %j', async (pointer, body) => {
    const answer = await admin.post(groups, body);
    expect(answer.status).toBe(422);
    expect(answer.body.errors).toContainEqual({ pointer, detail: expect.any(String) });
  });

  it('refuses a name that is taken, when it is made and when it is changed', async () => {
    const [first, second] = [await makeGroup(), await makeGroup()];
    const taken = {
      status: 409,
      body: { errors: [{ pointer: '/name', detail: 'is already taken by another group' }] },
    };
    expect(await admin.post(groups, { name: first.name })).toMatchObject(taken);
    expect(await admin.put(`${groups}/${second.id}`, { name: first.name })).toMatchObject(taken);
  });

  it('replaces everything that PUT leaves out', async () => {
    const { id } = await makeGroup({ description: 'old', color: '#112233', tags: ['old'] });
    const name = `new ${id}`;
    const answer = await admin.put(`${groups}/${id}`, { name, regions: ['eu'] });
    expect(answer).toMatchObject({
      status: 200,
      body: { success: true, group: { name, description: null, color: null, tags: [], regions: ['eu'] } },
    });
    expect(answer.headers.get('etag')).toBe('"2"');
  });

  it('refuses to overwrite a change the caller has not seen', async () => {
    const { id, name } = await makeGroup();
    const seen = (await viewer.get(`${groups}/${id}`)).headers.get('etag')!;
    expect((await admin.put(`${groups}/${id}`, { name }, { 'if-match': seen })).status).toBe(200);
    expect((await admin.put(`${groups}/${id}`, { name: 'late' }, { 'if-match': seen })).status).toBe(412);
    expect((await viewer.get(`${groups}/${id}`)).body.group.name).toBe(name);
  });

  it('is gone after DELETE', async () => {
    const { id } = await makeGroup();
    expect((await admin.delete(`${groups}/${id}`)).status).toBe(204);
    expect((await viewer.get(`${groups}/${id}`)).status).toBe(404);
    expect((await admin.delete(`${groups}/${id}`)).status).toBe(404);
  });
});

describe('listing groups', () => {
  it('gives all of them by name, and pages where asked', async () => {
    const who = await test.as('admin', 'with three groups');
    for (const name of ['b', 'c', 'a']) await makeGroup({ name }, who);
    const all = (await who.get(groups)).body;
    expect(all).toMatchObject({ count: 3, total: 3 });
    expect(all.groups.map((group: { name: string }) => group.name)).toEqual(['a', 'b', 'c']);
    const page = (await who.get(`${groups}?limit=1&offset=1`)).body;
    expect(page).toMatchObject({ groups: [{ name: 'b' }], count: 1, total: 3, limit: 1, offset: 1 });
    for (const query of ['limit=0', 'limit=501', 'offset=-1', 'limit=ten', 'page=2']) {
      expect((await who.get(`${groups}?${query}`)).status, query).toBe(422);
    }
  });
});

describe('POST /groups/preview', () => {
  it('shows who would belong, to a viewer too, and stores nothing', async () => {
    const server = await makeServer({ tags: ['previewed'] });
    const before = (await viewer.get(groups)).body.total;
    const answer = await viewer.post(`${groups}/preview`, { tags: [' previewed '] });
    expect(answer).toMatchObject({ status: 200, body: { count: 1, sample: [{ id: server }] } });
    expect((await viewer.post(`${groups}/preview`, {})).body).toEqual({ count: 0, sample: [] });
    expect((await viewer.get(groups)).body.total).toBe(before);
  });
});

describe('who may', () => {
  const writes = (id: string, server: string): ((who: Client) => ReturnType<Client['post']>)[] => [
    who => who.post(groups, { name: 'theirs' }),
    who => who.put(`${groups}/${id}`, { name: 'theirs' }),
    who => who.post(`${groups}/${id}/servers`, { server_id: server }),
    who => who.delete(`${groups}/${id}/servers/${server}`),
    who => who.post(`${groups}/members`, { server_id: server, group_id: id }),
    who => who.delete(`${groups}/members?server_id=${server}&group_id=${id}`),
    who => who.delete(`${groups}/${id}`),
  ];

  it('viewers and operators change nothing', async () => {
    const { id } = await makeGroup();
    const server = await makeServer();
    for (const who of [viewer, await test.as('operator')]) {
      for (const write of writes(id, server)) expect((await write(who)).status).toBe(403);
    }
    expect((await viewer.get(`${groups}/${id}`)).status).toBe(200);
  });

  it("another organization's group is answered exactly like a missing or malformed one", async () => {
    const { id } = await makeGroup();
    const server = await addServer(test.database.db, await test.organization('other'));
    const answers = async (group: string) => {
      const calls = [
        ...writes(group, server).slice(1),
        (who: Client) => who.get(`${groups}/${group}`),
        (who: Client) => who.get(`${groups}/${group}/servers`),
      ];
      const found = await Promise.all(calls.map(call => call(stranger)));
      return found.map(({ status, body: { instance: _instance, ...problem } }) => ({ status, problem }));
    };
    const foreign = await answers(id);
    expect(foreign.map(answer => answer.status)).toEqual(foreign.map(() => 404));
    expect(await answers(missing)).toEqual(foreign);
    expect(await answers('not-an-id')).toEqual(foreign);
  });
});

it('every change is told once, in order', async () => {
  const server = await makeServer();
  const { id, name } = await makeGroup();
  const membership = { server_id: server, group_id: id };
  await admin.post(`${groups}/members`, membership);
  await admin.post(`${groups}/members`, membership);
  await admin.delete(`${groups}/${id}/servers/${server}`);
  await admin.delete(`${groups}/${id}/servers/${server}`);
  await admin.put(`${groups}/${id}`, { name: `${name} renamed` });
  await admin.delete(`${groups}/${id}`);
  expect(await eventsOf(id)).toEqual([
    { type: 'group.created', data: { name } },
    { type: 'group.members_changed', data: { added: [server], removed: [] } },
    { type: 'group.members_changed', data: { added: [], removed: [server] } },
    { type: 'group.updated', data: { name: `${name} renamed` } },
    { type: 'group.deleted', data: { name: `${name} renamed` } },
  ]);
});
