import { Type } from 'typebox';
import type { Context } from '../context.ts';
import { type GroupId, parseId } from '../ids.ts';
import type { TenantDb } from '../platform/db.ts';
import { AppError } from '../platform/errors.ts';
import { noContent, ok, okJson, type Route, route } from '../platform/http/route.ts';
import { decodeCursor, encodeCursor } from '../platform/page.ts';
import { serverIdOf, serverNotFound } from '../servers/routes.ts';
import { Server } from '../servers/server.ts';
import { addToGroup, removeFromGroup } from './membership.ts';
import { listGroupServers } from './store.ts';

export const groupNotFound = (): AppError => new AppError('not_found', 'Group not found');

/** The group a request names. A malformed id is answered like a missing one. */
export function groupIdOf(text: string): GroupId {
  const id = parseId<GroupId>(text);
  if (id === null) throw groupNotFound();
  return id;
}

export const GroupPath = Type.Object({ id: Type.String({ description: 'The group.' }) });
export const maxPage = 500;
export const Limit = Type.Optional(
  Type.Integer({ minimum: 1, maximum: maxPage, description: `Default ${maxPage}.` }),
);

const maxAtOnce = 1_000;
const maxErrors = 20;

const Membership = { server_id: Type.String(), group_id: Type.String() };
const Done = Type.Object(
  { success: Type.Boolean(), message: Type.String() },
  { title: 'Done', additionalProperties: false },
);
const Uuid = Type.String({ format: 'uuid' });

const isNameCursor = (value: unknown): value is { name: string } => {
  const { name } = (value ?? {}) as { name?: unknown };
  return typeof name === 'string' && name.length <= 255 && name.isWellFormed() && !name.includes('\0');
};

async function remove(
  context: Context,
  db: TenantDb,
  names: { group: string; server: string },
): Promise<void> {
  const result = await removeFromGroup(context, db, groupIdOf(names.group), serverIdOf({ id: names.server }));
  if (!result.ok) throw result.reason === 'no_group' ? groupNotFound() : serverNotFound();
}

export const memberRoutes: Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/fleet/groups/:id/servers',
    tag: 'Groups',
    summary: 'List the servers of a group by name',
    description:
      'Fixed members and the servers that match the criteria now. fixed_server_ids tells the former.',
    permission: 'fleet:read',
    params: GroupPath,
    query: Type.Object(
      {
        limit: Limit,
        cursor: Type.Optional(
          Type.String({ maxLength: 2_000, description: 'next_cursor of the page before.' }),
        ),
      },
      { additionalProperties: false },
    ),
    replies: {
      200: Type.Object(
        {
          group_id: Uuid,
          servers: Type.Array(Server),
          fixed_server_ids: Type.Array(Uuid, { description: 'Those of this page that are fixed members.' }),
          count: Type.Integer({ description: 'Servers on this page.' }),
          total: Type.Integer({ description: 'Servers in the group.' }),
          limit: Type.Integer(),
          next_cursor: Type.Union([Type.String(), Type.Null()]),
        },
        { title: 'GroupServers', additionalProperties: false },
      ),
    },
    async handler(_context, { params, query }, { db }) {
      const id = groupIdOf(params.id);
      const { limit = maxPage, cursor } = query;
      const afterName = cursor === undefined ? null : decodeCursor(cursor, isNameCursor).name;
      const page = await listGroupServers(db, id, { limit, afterName });
      if (page === null) throw groupNotFound();
      const next = page.count < limit ? null : encodeCursor({ name: page.last_name });
      return okJson(
        `{"group_id":"${id}","servers":${page.servers},"fixed_server_ids":${JSON.stringify(page.fixed_server_ids)},` +
          `"count":${page.count},"total":${page.total},"limit":${limit},"next_cursor":${JSON.stringify(next)}}`,
      );
    },
  }),
  route({
    method: 'POST',
    path: '/api/v1/fleet/groups/:id/servers',
    tag: 'Groups',
    summary: 'Make one or many servers fixed members of a group, all or none',
    description: 'Servers that are members already stay so.',
    permission: 'groups:write',
    params: GroupPath,
    body: Type.Object(
      {
        server_id: Type.Optional(Type.String()),
        server_ids: Type.Optional(Type.Array(Type.String(), { minItems: 1, maxItems: maxAtOnce })),
      },
      {
        title: 'GroupMembers',
        additionalProperties: false,
        minProperties: 1,
        maxProperties: 1,
        description: 'Either server_id or server_ids.',
      },
    ),
    replies: { 200: Done },
    async handler(context, { params, body }, { db }) {
      const { server_id: single, server_ids: many = [] } = body;
      const result = await addToGroup(
        context,
        db,
        groupIdOf(params.id),
        single === undefined ? many : [single],
      );
      if (result.ok) return ok({ success: true, message: 'Servers added to the group.' });
      if (result.reason === 'no_group') throw groupNotFound();
      const errors = result.places.slice(0, maxErrors).map(place => ({
        pointer: single === undefined ? `/server_ids/${place}` : '/server_id',
        detail: 'is no server of this organization',
      }));
      throw new AppError(
        'invalid',
        `${result.places.length} of the ids are no servers of this organization`,
        {
          errors,
        },
      );
    },
  }),
  route({
    method: 'DELETE',
    path: '/api/v1/fleet/groups/:id/servers/:server_id',
    tag: 'Groups',
    summary: 'End the fixed membership of a server',
    description:
      'Succeeds where there was none. A server that matches the criteria of the group stays in it.',
    permission: 'groups:write',
    params: Type.Object({ id: Type.String(), server_id: Type.String() }),
    replies: { 204: null },
    async handler(context, { params }, { db }) {
      await remove(context, db, { group: params.id, server: params.server_id });
      return noContent();
    },
  }),
  route({
    method: 'POST',
    path: '/api/v1/fleet/groups/members',
    tag: 'Groups',
    summary: 'Make a server a fixed member of a group',
    permission: 'groups:write',
    body: Type.Object(Membership, { title: 'GroupMembership', additionalProperties: false }),
    replies: { 200: Done },
    async handler(context, { body }, { db }) {
      const result = await addToGroup(context, db, groupIdOf(body.group_id), [body.server_id]);
      if (!result.ok) throw result.reason === 'no_group' ? groupNotFound() : serverNotFound();
      return ok({ success: true, message: 'Server added to the group.' });
    },
  }),
  route({
    method: 'DELETE',
    path: '/api/v1/fleet/groups/members',
    tag: 'Groups',
    summary: 'End the fixed membership of a server',
    description: 'The older form of DELETE /groups/{id}/servers/{server_id}.',
    permission: 'groups:write',
    query: Type.Object(Membership, { additionalProperties: false }),
    replies: { 200: Done },
    async handler(context, { query }, { db }) {
      await remove(context, db, { group: query.group_id, server: query.server_id });
      return ok({ success: true, message: 'Server removed from the fixed members of the group.' });
    },
  }),
];
