import { Type } from 'typebox';
import { append } from '../events/outbox.ts';
import { parseId, type ServerId } from '../ids.ts';
import { violatedConstraint } from '../platform/database-failure.ts';
import { AppError } from '../platform/errors.ts';
import { invalidField } from '../platform/http/errors.ts';
import { etagOf } from '../platform/http/if-match.ts';
import { noContent, okJson, type Reply, type Route, route, type SignedIn } from '../platform/http/route.ts';
import { encodeCursor } from '../platform/page.ts';
import { counts, cursorOf, filterOf, ListQuery } from './list.ts';
import { changeServer, registerServer } from './register.ts';
import { Server, ServerRegistration, ServerUpdate } from './server.ts';
import { countServers, deleteServer, findServer, fleetSummary, listServers } from './store.ts';

export const serverNotFound = (): AppError => new AppError('not_found', 'Server not found');

/** The server a path names. A malformed id is answered like a missing one. */
export function serverIdOf(params: { id: string }): ServerId {
  const id = parseId<ServerId>(params.id);
  if (id === null) throw serverNotFound();
  return id;
}

export const ServerPath = Type.Object({ id: Type.String({ description: 'The server.' }) });

const ServerReply = Type.Object(
  { success: Type.Boolean(), server: Server, message: Type.String() },
  { additionalProperties: false },
);

async function serverReply(
  status: 200 | 201,
  id: ServerId,
  message: string,
  { db }: SignedIn,
): Promise<Reply> {
  const row = await findServer(db, id);
  if (row === null) throw serverNotFound();
  return {
    status,
    json: { jsonText: `{"success":true,"server":${row.json},"message":${JSON.stringify(message)}}` },
    headers: { etag: etagOf(row.revision), location: `/api/v1/fleet/servers/${id}` },
  };
}

const uniqueFields: Record<string, { pointer: string; what: string }> = {
  managed_servers_organization_id_name_key: { pointer: '/name', what: 'name' },
  managed_servers_organization_id_api_url_key: { pointer: '/api_url', what: 'api_url' },
};

async function explainConflict<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const field = uniqueFields[violatedConstraint(error) ?? ''];
    if (field === undefined) throw error;
    const detail = 'is already taken by another server';
    throw new AppError('conflict', `${field.what}: ${detail}`, {
      errors: [{ pointer: field.pointer, detail }],
    });
  }
}

export const serverRoutes: Route[] = [
  route({
    method: 'POST',
    path: '/api/v1/fleet/servers',
    tag: 'Servers',
    summary: 'Register a server',
    description: 'Answers at once with health `unknown`; the first check follows within two seconds.',
    permission: 'servers:write',
    body: ServerRegistration,
    replies: { 201: ServerReply },
    async handler(context, { body }, who) {
      const id = await explainConflict(registerServer(context, who.db, body));
      return serverReply(201, id, 'Server registered; its first check follows.', who);
    },
  }),
  route({
    method: 'GET',
    path: '/api/v1/fleet/servers',
    tag: 'Servers',
    summary: 'List servers',
    permission: 'fleet:read',
    query: ListQuery,
    replies: {
      200: Type.Object(
        {
          servers: Type.Array(Server),
          count: Type.Integer({ description: 'Servers on this page.' }),
          total: Type.Integer({ description: 'Servers that match, up to a second old.' }),
          limit: Type.Integer(),
          offset: Type.Integer(),
          next_cursor: Type.Union([Type.String(), Type.Null()]),
        },
        { title: 'ServerList', additionalProperties: false },
      ),
    },
    async handler(context, { query }, { db }) {
      const { limit = 100, offset = 0, sort = 'newest' } = query;
      if (query.cursor !== undefined && offset > 0)
        throw invalidField('/query/offset', 'does not go with a cursor');
      const after = query.cursor === undefined ? null : cursorOf(query.cursor, sort);
      const filter = filterOf(query);
      const [page, total] = await Promise.all([
        listServers(db, filter, { order: sort, limit, offset, after }),
        counts(context).total(JSON.stringify([db.organizationId, filter]), () => countServers(db, filter)),
      ]);
      const next =
        page.count === limit && page.last !== null
          ? JSON.stringify(encodeCursor({ sort, ...page.last }))
          : 'null';
      return okJson(
        `{"servers":${page.servers},"count":${page.count},"total":${total},"limit":${limit},"offset":${offset},"next_cursor":${next}}`,
      );
    },
  }),
  route({
    method: 'GET',
    path: '/api/v1/fleet/servers/:id',
    tag: 'Servers',
    summary: 'Get a server',
    permission: 'fleet:read',
    params: ServerPath,
    replies: { 200: Type.Object({ server: Server }, { additionalProperties: false }) },
    async handler(_context, { params }, { db }) {
      const row = await findServer(db, serverIdOf(params));
      if (row === null) throw serverNotFound();
      return okJson(`{"server":${row.json}}`, { etag: etagOf(row.revision) });
    },
  }),
  route({
    method: 'PATCH',
    path: '/api/v1/fleet/servers/:id',
    tag: 'Servers',
    summary: 'Change a server',
    description:
      'A field left out stays; null clears it. With If-Match the change is refused when somebody else changed ' +
      'the server meanwhile.',
    permission: 'servers:write',
    params: ServerPath,
    body: ServerUpdate,
    replies: { 200: ServerReply },
    async handler(context, { params, body, headers }, who) {
      const id = serverIdOf(params);
      const found = await explainConflict(changeServer(context, who.db, { id, update: body, headers }));
      if (!found) throw serverNotFound();
      return serverReply(200, id, 'Server updated.', who);
    },
  }),
  route({
    method: 'DELETE',
    path: '/api/v1/fleet/servers/:id',
    tag: 'Servers',
    summary: 'Delete a server with its whole history',
    permission: 'servers:write',
    params: ServerPath,
    replies: { 204: null },
    async handler({ clock, feed }, { params }, { db }) {
      const id = serverIdOf(params);
      await db.transaction(async tx => {
        const name = await deleteServer(tx, id);
        if (name === null) throw serverNotFound();
        await append(tx, clock.now(), [{ type: 'server.deleted', subject: id, data: { name } }]);
      });
      feed.announce();
      return noContent();
    },
  }),
  route({
    method: 'GET',
    path: '/api/v1/fleet/summary',
    tag: 'Fleet',
    summary: 'Counts of the whole fleet, at most a second old',
    description: 'Health counts are of active servers. An empty organization has the same keys.',
    permission: 'fleet:read',
    replies: {
      200: Type.Object(
        {
          summary: Type.Object(
            {
              organization_id: Type.String({ format: 'uuid' }),
              ...Object.fromEntries(
                [
                  'total_servers',
                  'active_servers',
                  'inactive_servers',
                  'maintenance_servers',
                  'healthy_servers',
                  'degraded_servers',
                  'critical_servers',
                  'unreachable_servers',
                  'unknown_servers',
                  'regions_count',
                  'environments_count',
                ].map(name => [name, Type.Integer()]),
              ),
            },
            { title: 'FleetSummary', additionalProperties: false },
          ),
        },
        { additionalProperties: false },
      ),
    },
    async handler(context, _input, { db }) {
      const summary = await counts(context).summary(db.organizationId, () => fleetSummary(db));
      return okJson(`{"summary":${summary}}`);
    },
  }),
];
