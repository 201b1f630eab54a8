import type { TObject, TSchema } from 'typebox';
import { Problem } from './errors.ts';
import type { Route } from './route.ts';

type Json = Record<string, unknown>;

/**
 * The OpenAPI 3.1 document of the routes. A schema with a `title` becomes a component of that name, so that
 * generated clients get one type per noun. Deterministic: the same routes give the same bytes.
 */
export function openApiDocument(routes: readonly Route[], version: string): Json {
  const components = new Map<string, Json>();
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    const path = route.path.replaceAll(/:([a-z_]+)/g, '{$1}');
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route, components) };
  }
  hoist(Problem, components);
  return {
    openapi: '3.1.1',
    info: {
      title: 'opsfleet',
      version,
      description:
        'Control plane for many servers. Every request carries `Authorization: Bearer <token>`; another ' +
        "organization's id is answered exactly like a missing one. Errors are RFC 9457 problem details.",
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    security: [{ bearer: [] }, { session: [] }],
    tags: [...new Set(routes.map(route => route.tag))].map(name => ({ name })),
    paths,
    components: {
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', description: 'An API token.' },
        session: {
          type: 'apiKey',
          in: 'cookie',
          name: 'opsfleet_session',
          description: 'A browser session.',
        },
      },
      schemas: Object.fromEntries([...components].toSorted(([a], [b]) => (a < b ? -1 : 1))),
    },
  };
}

function operation(route: Route, components: Map<string, Json>): Json {
  const responses: Json = {};
  for (const [status, schema] of Object.entries(route.replies)) {
    responses[status] =
      schema === null
        ? { description: 'Done; no body.' }
        : {
            description: schemaDescription(schema),
            content: { [mediaType(schema)]: { schema: hoist(schema, components) } },
          };
  }
  responses['default'] = {
    description: 'What went wrong.',
    content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
  };
  return {
    operationId: operationId(route),
    summary: route.summary,
    ...(route.description === undefined ? {} : { description: route.description }),
    tags: [route.tag],
    ...(route.permission === 'public' ? { security: [] } : { 'x-permission': route.permission }),
    parameters: [
      ...parameters('path', route.params, components),
      ...parameters('query', route.query, components),
    ],
    ...(route.body === undefined
      ? {}
      : {
          requestBody: {
            required: true,
            content: { 'application/json': { schema: hoist(route.body, components) } },
          },
        }),
    responses,
  };
}

/** `GET /api/v1/fleet/servers/:id/metrics` → `getServersByIdMetrics` */
function operationId(route: Route): string {
  const words = route.path
    .replace(/^\/(api\/v1\/)?(fleet\/)?/, '')
    .split('/')
    .map(part => (part.startsWith(':') ? `by-${part.slice(1)}` : part))
    .join('-')
    .split(/[^A-Za-z0-9]+/);
  return (
    route.method.toLowerCase() + words.map(word => word.charAt(0).toUpperCase() + word.slice(1)).join('')
  );
}

function parameters(
  place: 'path' | 'query',
  schema: TObject | undefined,
  components: Map<string, Json>,
): Json[] {
  if (schema === undefined) return [];
  const required = new Set((schema as unknown as { required?: string[] }).required ?? []);
  return Object.entries(schema.properties).map(([name, property]) => ({
    name,
    in: place,
    required: place === 'path' || required.has(name),
    ...(description(property) === undefined ? {} : { description: description(property) }),
    schema: hoist(property, components),
  }));
}

const description = (schema: TSchema): string | undefined => (schema as { description?: string }).description;
const schemaDescription = (schema: TSchema): string => description(schema) ?? 'Success.';
const mediaType = (schema: TSchema): string =>
  (schema as { contentMediaType?: string }).contentMediaType ?? 'application/json';

function hoist(schema: unknown, components: Map<string, Json>): Json {
  if (Array.isArray(schema)) return schema.map(item => hoist(item, components)) as unknown as Json;
  if (typeof schema !== 'object' || schema === null) return schema as Json;
  const plain: Json = {};
  for (const [key, value] of Object.entries(schema))
    plain[key] = key === 'enum' ? value : hoist(value, components);
  const title = plain['title'];
  if (typeof title !== 'string' || plain['type'] !== 'object') return plain;
  const known = components.get(title);
  if (known !== undefined && JSON.stringify(known) !== JSON.stringify(plain)) {
    throw new Error(`two different schemas are called ${title}`);
  }
  components.set(title, plain);
  return { $ref: `#/components/schemas/${title}` };
}
