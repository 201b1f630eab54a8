import { Type } from 'typebox';
import { append } from '../events/outbox.ts';
import { type GroupId, newId } from '../ids.ts';
import { violatedConstraint } from '../platform/database-failure.ts';
import { AppError } from '../platform/errors.ts';
import { checkIfMatch } from '../platform/http/if-match.ts';
import { noContent, okJson, type Reply, type Route, route, type SignedIn } from '../platform/http/route.ts';
import { Server } from '../servers/server.ts';
import { criteriaOf, GroupBody, GroupCriteriaBody, ServerGroup, settingsOf } from './group.ts';
import { GroupPath, groupIdOf, groupNotFound, Limit, maxPage, memberRoutes } from './member-routes.ts';
import {
  deleteGroup,
  findGroup,
  insertGroup,
  listGroups,
  lockGroup,
  previewMembers,
  updateGroup,
} from './store.ts';

const GroupReply = Type.Object(
  { success: Type.Boolean(), group: ServerGroup, message: Type.String() },
  { additionalProperties: false },
);

async function groupReply(status: 200 | 201, id: GroupId, message: string, { db }: SignedIn): Promise<Reply> {
  const row = await findGroup(db, id);
  if (row === null) throw groupNotFound();
  return {
    status,
    json: { jsonText: `{"success":true,"group":${row.json},"message":${JSON.stringify(message)}}` },
    headers: { etag: `"${row.revision}"`, location: `/api/v1/fleet/groups/${id}` },
  };
}

async function explainConflict<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (violatedConstraint(error) !== 'server_groups_organization_id_name_key') throw error;
    const detail = 'is already taken by another group';
    throw new AppError('conflict', `name: ${detail}`, { errors: [{ pointer: '/name', detail }] });
  }
}

export const groupRoutes: Route[] = [
  ...memberRoutes,
  route({
    method: 'POST',
    path: '/api/v1/fleet/groups',
    tag: 'Groups',
    summary: 'Make a group',
    permission: 'groups:write',
    body: GroupBody,
    replies: { 201: GroupReply },
    async handler({ clock, feed }, { body }, who) {
      const at = clock.now();
      const id = newId<GroupId>(at.getTime());
      const settings = settingsOf(body);
      await explainConflict(
        who.db.transaction(async tx => {
          await insertGroup(tx, id, settings, at);
          await append(tx, at, [{ type: 'group.created', subject: id, data: { name: settings.name } }]);
        }),
      );
      feed.announce();
      return groupReply(201, id, 'Group made.', who);
    },
  }),
  route({
    method: 'GET',
    path: '/api/v1/fleet/groups',
    tag: 'Groups',
    summary: 'List groups by name',
    permission: 'fleet:read',
    query: Type.Object(
      {
        limit: Limit,
        offset: Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000_000, description: 'Default 0.' })),
      },
      { additionalProperties: false },
    ),
    replies: {
      200: Type.Object(
        {
          groups: Type.Array(ServerGroup),
          count: Type.Integer({ description: 'Groups on this page.' }),
          total: Type.Integer({ description: 'Groups there are.' }),
          limit: Type.Integer(),
          offset: Type.Integer(),
        },
        { title: 'GroupList', additionalProperties: false },
      ),
    },
    async handler(_context, { query }, { db }) {
      const { limit = maxPage, offset = 0 } = query;
      const { groups, count, total } = await listGroups(db, { limit, offset });
      return okJson(
        `{"groups":${groups},"count":${count},"total":${total},"limit":${limit},"offset":${offset}}`,
      );
    },
  }),
  route({
    method: 'POST',
    path: '/api/v1/fleet/groups/preview',
    tag: 'Groups',
    summary: 'See which servers criteria would match; nothing is stored',
    permission: 'fleet:read',
    body: GroupCriteriaBody,
    replies: {
      200: Type.Object(
        {
          count: Type.Integer(),
          sample: Type.Array(Server, { description: 'The first ten by name.' }),
        },
        { title: 'GroupPreview', additionalProperties: false },
      ),
    },
    async handler(_context, { body }, { db }) {
      const { count, sample } = await previewMembers(db, criteriaOf(body));
      return okJson(`{"count":${count},"sample":${sample}}`);
    },
  }),
  route({
    method: 'GET',
    path: '/api/v1/fleet/groups/:id',
    tag: 'Groups',
    summary: 'Get a group',
    permission: 'fleet:read',
    params: GroupPath,
    replies: { 200: Type.Object({ group: ServerGroup }, { additionalProperties: false }) },
    async handler(_context, { params }, { db }) {
      const row = await findGroup(db, groupIdOf(params.id));
      if (row === null) throw groupNotFound();
      return okJson(`{"group":${row.json}}`, { etag: `"${row.revision}"` });
    },
  }),
  route({
    method: 'PUT',
    path: '/api/v1/fleet/groups/:id',
    tag: 'Groups',
    summary: 'Replace the settings of a group',
    description:
      'What the body leaves out becomes empty; fixed members stay. With If-Match the change is refused when ' +
      'somebody else changed the group meanwhile.',
    permission: 'groups:write',
    params: GroupPath,
    body: GroupBody,
    replies: { 200: GroupReply },
    async handler({ clock, feed }, { params, body, headers }, who) {
      const at = clock.now();
      const id = groupIdOf(params.id);
      const settings = settingsOf(body);
      await explainConflict(
        who.db.transaction(async tx => {
          const current = await lockGroup(tx, id);
          if (current === null) throw groupNotFound();
          checkIfMatch(headers, current.revision);
          await updateGroup(tx, id, settings, at);
          await append(tx, at, [{ type: 'group.updated', subject: id, data: { name: settings.name } }]);
        }),
      );
      feed.announce();
      return groupReply(200, id, 'Group updated.', who);
    },
  }),
  route({
    method: 'DELETE',
    path: '/api/v1/fleet/groups/:id',
    tag: 'Groups',
    summary: 'Delete a group; its servers stay',
    permission: 'groups:write',
    params: GroupPath,
    replies: { 204: null },
    async handler({ clock, feed }, { params }, { db }) {
      const id = groupIdOf(params.id);
      await db.transaction(async tx => {
        const name = await deleteGroup(tx, id);
        if (name === null) throw groupNotFound();
        await append(tx, clock.now(), [{ type: 'group.deleted', subject: id, data: { name } }]);
      });
      feed.announce();
      return noContent();
    },
  }),
];
