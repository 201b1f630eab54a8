import type { Route } from '../src/platform/http/route.ts';

/** What the walk needs to know of a tenant: one id of each kind that a request may name. */
export type Ids = { server: string; group: string; token: string; job: string };
export type Kind = keyof Ids;

/**
 * A valid request to each route, by `METHOD path`. `$server` and the like stand for ids, and are what the
 * walk replaces by ids of somebody else. A path's `:id` is of the kind that `id` names.
 */
export type Example = { id?: Kind; query?: Record<string, string>; body?: Record<string, unknown> };
export const registration = {
  name: 'example',
  hostname: 'h',
  api_url: 'https://example.com',
  api_token: 'credential',
};
export const examples: Record<string, Example> = {
  'POST /api/v1/fleet/servers': { body: registration },
  'GET /api/v1/fleet/servers': {},
  'GET /api/v1/fleet/servers/:id': { id: 'server' },
  'PATCH /api/v1/fleet/servers/:id': { id: 'server', body: { description: 'changed' } },
  'DELETE /api/v1/fleet/servers/:id': { id: 'server' },
  'GET /api/v1/fleet/summary': {},
  'POST /api/v1/fleet/servers/:id/health-check': { id: 'server' },
  'POST /api/v1/fleet/servers/:id/metrics/collect': { id: 'server' },
  'POST /api/v1/fleet/health-check/all': {},
  'GET /api/v1/fleet/health-check/jobs/:id': { id: 'job' },
  'GET /api/v1/fleet/servers/:id/health-history': { id: 'server' },
  'GET /api/v1/fleet/servers/:id/health-history/export': { id: 'server' },
  'GET /api/v1/fleet/servers/:id/health': { id: 'server' },
  'GET /api/v1/fleet/health': { query: { group_id: '$group' } },
  'GET /api/v1/fleet/servers/:id/uptime': { id: 'server' },
  'GET /api/v1/fleet/health/overview': {},
  'POST /api/v1/fleet/health/query': { body: { servers: { ids: ['$server'] } } },
  'POST /api/v1/fleet/health/query/export': { body: { servers: { ids: ['$server'] } } },
  'GET /api/v1/fleet/servers/:id/metrics': { id: 'server' },
  'GET /api/v1/fleet/servers/:id/metrics/export': { id: 'server' },
  'POST /api/v1/fleet/metrics/query': { body: { field: 'cpu_percent', servers: { ids: ['$server'] } } },
  'GET /api/v1/fleet/metrics/aggregated': { query: { group_id: '$group' } },
  'POST /api/v1/fleet/metrics/query/export': {
    body: { field: 'cpu_percent', servers: { ids: ['$server'] } },
  },
  'GET /api/v1/fleet/metrics/aggregated/export': { query: { group_id: '$group' } },
  'GET /api/v1/fleet/metrics/summary': { query: { group_id: '$group' } },
  'GET /api/v1/fleet/groups/:id/servers': { id: 'group' },
  'POST /api/v1/fleet/groups/:id/servers': { id: 'group', body: { server_ids: ['$server'] } },
  'DELETE /api/v1/fleet/groups/:id/servers/:server_id': { id: 'group' },
  'POST /api/v1/fleet/groups/members': { body: { server_id: '$server', group_id: '$group' } },
  'DELETE /api/v1/fleet/groups/members': { query: { server_id: '$server', group_id: '$group' } },
  'POST /api/v1/fleet/groups': { body: { name: 'example' } },
  'GET /api/v1/fleet/groups': {},
  'POST /api/v1/fleet/groups/preview': { body: { tags: ['web'] } },
  'GET /api/v1/fleet/groups/:id': { id: 'group' },
  'PUT /api/v1/fleet/groups/:id': { id: 'group', body: { name: 'changed' } },
  'DELETE /api/v1/fleet/groups/:id': { id: 'group' },
  'GET /api/v1/fleet/workers/status': {},
  'GET /api/v1/fleet/storage': {},
  'GET /api/v1/fleet/retention': {},
  'PUT /api/v1/fleet/retention': { body: { checks: 7 } },
  // Watching another organization's servers is in live/routes.test.ts: an answer that does not end.
  'GET /api/v1/fleet/events': {},
  'POST /api/v1/session': { body: { token: 'unknown' } },
  'GET /api/v1/session': {},
  'DELETE /api/v1/session': {},
  'POST /api/v1/tokens': { body: { name: 'example', role: 'viewer' } },
  'GET /api/v1/tokens': {},
  'DELETE /api/v1/tokens/:id': { id: 'token' },
  'GET /health/live': {},
  'GET /health/ready': {},
  'GET /metrics': {},
};

export const nameOf = (route: Route): string => `${route.method} ${route.path}`;
/** Where in a request an id stands, and of which kind it is. */
export type Place = { where: 'path' | 'query' | 'body'; name: string; kind: Kind };

export function places(route: Route): Place[] {
  const { id, query = {}, body = {} } = examples[nameOf(route)] ?? {};
  const kindOf = (value: unknown): Kind | null =>
    (/\$(\w+)/.exec(JSON.stringify(value))?.[1] ?? null) as Kind | null;
  const inPath = [...route.path.matchAll(/:(\w+)/g)].map(([, name]) => ({
    where: 'path' as const,
    name: name!,
    kind: name === 'id' ? id! : (name!.replace('_id', '') as Kind),
  }));
  const inParts = (
    [
      ['query', query],
      ['body', body],
    ] as const
  ).flatMap(([where, values]) =>
    Object.entries(values).flatMap(([name, value]) => {
      const kind = kindOf(value);
      return kind === null ? [] : [{ where, name, kind }];
    }),
  );
  return [...inPath, ...inParts];
}

/** The example of a route with these ids, and with another one in one place. */
export function exampleOf(
  route: Route,
  ids: Ids,
  other?: { place: Place; id: string },
): { path: string; body: string | undefined } {
  const { id: kindOfId, query, body } = examples[nameOf(route)]!;
  const idAt = (where: Place['where'], name: string, kind: Kind): string =>
    other?.place.where === where && other.place.name === name ? other.id : ids[kind];
  const path = route.path.replaceAll(/:(\w+)/g, (_, name: string) =>
    encodeURIComponent(idAt('path', name, name === 'id' ? kindOfId! : (name.replace('_id', '') as Kind))),
  );
  const fill = (where: Place['where'], values: Record<string, unknown>): Record<string, string> =>
    Object.fromEntries(
      Object.entries(values).map(([name, value]) => [
        name,
        JSON.parse(JSON.stringify(value).replaceAll(/\$(\w+)/g, (_, kind: Kind) => idAt(where, name, kind))),
      ]),
    );
  const search = query === undefined ? '' : `?${new URLSearchParams(fill('query', query)).toString()}`;
  return { path: path + search, body: body === undefined ? undefined : JSON.stringify(fill('body', body)) };
}
