import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Client, startTestApp, type TestApp } from '../../test/app.ts';
import { addServer } from '../../test/fleet.ts';
import type { OrganizationId, ServerId } from '../ids.ts';

let test: TestApp;
let organizationId: OrganizationId;
let admin: Client;
let viewer: Client;
beforeAll(async () => {
  test = await startTestApp();
  organizationId = await test.organization('default');
  admin = await test.as('admin');
  viewer = await test.as('viewer');
});
afterAll(() => test.close());

const groups = '/api/v1/fleet/groups';
const missing = '019aa000-0000-7000-8000-000000000000';

let count = 0;
async function makeGroup(settings: object = {}) {
  count += 1;
  const answer = await admin.post(groups, { name: `group-${count}`, ...settings });
  expect(answer.status, answer.text).toBe(201);
  return answer.body.group as { id: string; name: string };
}
const makeServer = (facts: Parameters<typeof addServer>[2] = {}): Promise<ServerId> =>
  addServer(test.database.db, organizationId, facts);

async function idsIn(group: string): Promise<string[]> {
  const { body } = await viewer.get(`${groups}/${group}/servers`);
  return body.servers.map((server: { id: string }) => server.id);
}

describe('the servers of a group', () => {
  it('are its fixed members and those that match, and follow every change at once', async () => {
    const [fixed, matching] = [await makeServer(), await makeServer({ tags: ['follows'], region: 'eu' })];
    const { id } = await makeGroup({ tags: ['follows'], regions: ['eu', 'us'] });
    expect((await admin.post(`${groups}/${id}/servers`, { server_id: fixed })).status).toBe(200);
    const { body } = await viewer.get(`${groups}/${id}/servers`);
    expect(body).toMatchObject({
      group_id: id,
      fixed_server_ids: [fixed],
      count: 2,
      total: 2,
      next_cursor: null,
    });
    expect(await idsIn(id)).toEqual([fixed, matching].toSorted());

    await admin.patch(`/api/v1/fleet/servers/${matching}`, { region: 'asia' });
    expect(await idsIn(id)).toEqual([fixed]);
    await admin.patch(`/api/v1/fleet/servers/${matching}`, { region: 'us' });
    expect((await viewer.get(`${groups}/${id}`)).body.group.server_count).toBe(2);
  });

  it('are read page by page', async () => {
    const servers = await Promise.all(['p1', 'p2', 'p3'].map(name => makeServer({ name, tags: ['paged'] })));
    const { id } = await makeGroup({ tags: ['paged'] });
    const first = (await viewer.get(`${groups}/${id}/servers?limit=2`)).body;
    expect(first).toMatchObject({ servers: [{ id: servers[0] }, { id: servers[1] }], count: 2, total: 3 });
    const second = (await viewer.get(`${groups}/${id}/servers?limit=2&cursor=${first.next_cursor}`)).body;
    expect(second).toMatchObject({ servers: [{ id: servers[2] }], count: 1, total: 3, next_cursor: null });
    expect((await viewer.get(`${groups}/${id}/servers?cursor=nonsense`)).body.errors).toMatchObject([
      { pointer: '/query/cursor' },
    ]);
  });

  it('are added all or none, and the ids that are no servers are named', async () => {
    const [a, b] = [await makeServer(), await makeServer()];
    const foreign = await addServer(test.database.db, await test.organization('other'));
    const { id } = await makeGroup();
    const refused = await admin.post(`${groups}/${id}/servers`, {
      server_ids: [a, missing, b, foreign, 'x'],
    });
    const detail = 'is no server of this organization';
    expect(refused.status).toBe(422);
    expect(refused.body.errors).toEqual([
      { pointer: '/server_ids/1', detail },
      { pointer: '/server_ids/3', detail },
      { pointer: '/server_ids/4', detail },
    ]);
    expect(await idsIn(id)).toEqual([]);
    expect(
      (await admin.post(`${groups}/${id}/servers`, { server_ids: [a, b, a.toUpperCase()] })).status,
    ).toBe(200);
    expect(await idsIn(id)).toEqual([a, b].toSorted());
  });

  it.each([[{}], [{ server_id: missing, server_ids: [missing] }], [{ server_ids: [] }]])(
    'cannot be added by %j',
    async body => {
      const { id } = await makeGroup();
      expect((await admin.post(`${groups}/${id}/servers`, body)).status).toBe(422);
    },
  );

  it('are at most a thousand at once', async () => {
    const { id } = await makeGroup();
    const server_ids = Array.from({ length: 1_001 }, () => missing);
    const answer = await admin.post(`${groups}/${id}/servers`, { server_ids });
    expect(answer.body.errors).toMatchObject([{ pointer: '/server_ids' }]);
  });

  it('leave by their nested address, as often as one likes', async () => {
    const server = await makeServer();
    const { id } = await makeGroup();
    await admin.post(`${groups}/${id}/servers`, { server_id: server });
    expect((await admin.delete(`${groups}/${id}/servers/${server}`)).status).toBe(204);
    expect((await admin.delete(`${groups}/${id}/servers/${server}`)).status).toBe(204);
    expect(await idsIn(id)).toEqual([]);
  });
});

describe('POST and DELETE /groups/members', () => {
  it('add and remove a server, and may be repeated', async () => {
    const server = await makeServer();
    const { id } = await makeGroup();
    for (let round = 0; round < 2; round++) {
      const answer = await admin.post(`${groups}/members`, { server_id: server, group_id: id });
      expect(answer).toMatchObject({ status: 200, body: { success: true, message: expect.any(String) } });
      expect(await idsIn(id)).toEqual([server]);
    }
    for (let round = 0; round < 2; round++) {
      const answer = await admin.delete(`${groups}/members?server_id=${server}&group_id=${id}`);
      expect(answer).toMatchObject({ status: 200, body: { success: true, message: expect.any(String) } });
      expect(await idsIn(id)).toEqual([]);
    }
  });

  it('say which of the two is not there, or was not named', async () => {
    const server = await makeServer();
    const { id } = await makeGroup();
    const without = async (server_id: string, group_id: string) => [
      (await admin.post(`${groups}/members`, { server_id, group_id })).body.detail,
      (await admin.delete(`${groups}/members?server_id=${server_id}&group_id=${group_id}`)).body.detail,
    ];
    expect(await without(missing, id)).toEqual(['Server not found', 'Server not found']);
    expect(await without(server, missing)).toEqual(['Group not found', 'Group not found']);
    expect((await admin.post(`${groups}/members`, { server_id: server })).status).toBe(422);
    expect((await admin.delete(`${groups}/members?group_id=${id}`)).status).toBe(422);
  });
});
