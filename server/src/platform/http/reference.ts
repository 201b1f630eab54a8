import type { FastifyInstance } from 'fastify';
import { version } from '../../version.ts';
import { openApiDocument } from './openapi.ts';
import type { Route } from './route.ts';

type Json = Record<string, unknown>;

/** Serves the contract: `/api/openapi.json` for programs, `/api` for people. Both from the mounted routes. */
export function mountReference(app: FastifyInstance, routes: readonly Route[]): void {
  const document = openApiDocument(routes, version);
  const json = JSON.stringify(document);
  const page = renderReference(document);
  app.get('/api/openapi.json', (_request, reply) => reply.type('application/json; charset=utf-8').send(json));
  app.get('/api', (_request, reply) => reply.type('text/html; charset=utf-8').send(page));
  app.get('/api/reference.css', (_request, reply) => reply.type('text/css; charset=utf-8').send(style));
}

const escape = (text: unknown): string =>
  String(text)
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');

/** The document as one page without scripts. */
export function renderReference(document: Json): string {
  const { info, paths, tags, components } = document as {
    info: { title: string; version: string; description: string };
    paths: Record<string, Record<string, Json>>;
    tags: { name: string }[];
    components: { schemas: Record<string, Json> };
  };
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );
  const sections = tags.map(({ name }) => {
    const own = operations.filter(({ operation }) => (operation['tags'] as string[])[0] === name);
    return `<section aria-labelledby="${slug(name)}"><h2 id="${slug(name)}">${escape(name)}</h2>${own.map(renderOperation).join('')}</section>`;
  });
  const schemas = Object.entries(components.schemas).map(
    ([name, schema]) =>
      `<article><h3 id="schema-${escape(name)}">${escape(name)}</h3>${renderSchema(schema)}</article>`,
  );
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>API reference · opsfleet</title><link rel="stylesheet" href="/api/reference.css"></head><body>
<nav aria-label="Sections"><a href="/servers">Dashboard</a>${tags.map(({ name }) => `<a href="#${slug(name)}">${escape(name)}</a>`).join('')}<a href="#schemas">Schemas</a></nav>
<main><h1>${escape(info.title)} API <small>${escape(info.version)}</small></h1><p>${markup(info.description)}</p>
<p>For programs: <a href="/api/openapi.json">openapi.json</a> (OpenAPI 3.1).</p>${sections.join('')}
<section aria-labelledby="schemas"><h2 id="schemas">Schemas</h2>${schemas.join('')}</section></main></body></html>`;
}

const slug = (text: string): string => `tag-${text.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')}`;

/** Escaped text in which `code` may be marked. */
const markup = (text: unknown): string => escape(text).replaceAll(/`([^`]+)`/g, '<code>$1</code>');

function renderOperation({
  path,
  method,
  operation,
}: {
  path: string;
  method: string;
  operation: Json;
}): string {
  const { summary, description, operationId, parameters, requestBody, responses } = operation as {
    summary: string;
    description?: string;
    operationId: string;
    parameters: { name: string; in: string; required: boolean; description?: string; schema: Json }[];
    requestBody?: { content: Record<string, { schema: Json }> };
    responses: Record<string, { description: string; content?: Record<string, { schema: Json }> }>;
  };
  const permission = operation['x-permission'] ?? 'nobody needs to sign in';
  const inputs = parameters.map(
    each =>
      `<tr><td><code>${escape(each.name)}</code></td><td>${escape(each.in)}${each.required ? ', required' : ''}</td><td>${typeOf(each.schema)}</td><td>${markup(each.description ?? '')}</td></tr>`,
  );
  const answers = Object.entries(responses).map(
    ([status, { description: what, content }]) =>
      `<li><code>${escape(status)}</code> ${markup(what)}${Object.values(content ?? {})
        .map(({ schema }) => ` ${typeOf(schema)}`)
        .join('')}</li>`,
  );
  const body = Object.values(requestBody?.content ?? {}).map(
    ({ schema }) => `<h4>Body</h4>${renderSchema(schema)}`,
  );
  return `<article><h3 id="${escape(operationId)}"><b class="${escape(method)}">${escape(method.toUpperCase())}</b> <code>${escape(path)}</code></h3>
<p>${markup(summary)}.</p>${description === undefined ? '' : `<p>${markup(description)}</p>`}<p class="permission">Permission: <code>${escape(permission)}</code></p>
${inputs.length === 0 ? '' : `<div class="wide"><table><caption>Parameters</caption><thead><tr><th scope="col">Name</th><th scope="col">In</th><th scope="col">Type</th><th scope="col">Meaning</th></tr></thead><tbody>${inputs.join('')}</tbody></table></div>`}
${body.join('')}<h4>Answers</h4><ul>${answers.join('')}</ul></article>`;
}

function renderSchema(schema: Json): string {
  if (typeof schema['$ref'] === 'string') return `<p>${typeOf(schema)}</p>`;
  const properties = Object.entries((schema['properties'] ?? {}) as Record<string, Json>);
  const required = new Set((schema['required'] ?? []) as string[]);
  const intro = schema['description'] === undefined ? '' : `<p>${markup(schema['description'])}</p>`;
  if (properties.length === 0) return `${intro}<p>${typeOf(schema)}</p>`;
  const rows = properties.map(
    ([name, property]) =>
      `<tr><td><code>${escape(name)}</code></td><td>${required.has(name) ? 'always' : 'optional'}</td><td>${typeOf(property)}</td><td>${markup(property['description'] ?? '')}</td></tr>`,
  );
  return `${intro}<div class="wide"><table><thead><tr><th scope="col">Field</th><th scope="col">There</th><th scope="col">Type</th><th scope="col">Meaning</th></tr></thead><tbody>${rows.join('')}</tbody></table></div>`;
}

function typeOf(schema: Json): string {
  if (typeof schema['$ref'] === 'string') {
    const name = schema['$ref'].split('/').at(-1)!;
    return `<a href="#schema-${escape(name)}">${escape(name)}</a>`;
  }
  if (Array.isArray(schema['anyOf'])) return (schema['anyOf'] as Json[]).map(typeOf).join(' or ');
  if (Array.isArray(schema['enum']))
    return (schema['enum'] as unknown[]).map(value => `<code>${escape(value)}</code>`).join(' ');
  if (schema['type'] === 'array') return `list of ${typeOf((schema['items'] ?? {}) as Json)}`;
  if (schema['properties'] !== undefined) {
    const fields = Object.entries(schema['properties'] as Record<string, Json>);
    return `{ ${fields.map(([name, property]) => `<code>${escape(name)}</code>: ${typeOf(property)}`).join(', ')} }`;
  }
  const limits = [
    limit(schema, 'minLength', 'maxLength', 'characters'),
    limit(schema, 'minimum', 'maximum', ''),
    limit(schema, 'minItems', 'maxItems', 'items'),
  ].filter(Boolean);
  const format = schema['format'] === undefined ? '' : ` (${escape(schema['format'])})`;
  return `${escape(schema['type'] ?? 'anything')}${format}${limits.length === 0 ? '' : `, ${limits.join(', ')}`}`;
}

function limit(schema: Json, min: string, max: string, unit: string): string {
  const [low, high] = [schema[min], schema[max]];
  if (low === undefined && high === undefined) return '';
  const range =
    high === undefined
      ? `at least ${escape(low)}`
      : low === undefined
        ? `at most ${escape(high)}`
        : `${escape(low)} to ${escape(high)}`;
  return unit === '' ? range : `${range} ${unit}`;
}

const style = `
:root { color-scheme: light dark; --text: light-dark(#202327, #f2f5fa); --quiet: light-dark(#4d5560, #a9b3c1); --page: light-dark(#ffffff, #0f1317); --raised: light-dark(#f6f7f9, #161b21); --line: light-dark(#d5dae1, #2b343f); --link: light-dark(#294697, #8fb0ff); }
* { box-sizing: border-box; }
body { margin: 0; color: var(--text); background: var(--page); font: 15px/1.5 system-ui, sans-serif; display: grid; grid-template-columns: 13rem minmax(0, 1fr); }
nav { position: sticky; top: 0; height: 100vh; overflow: auto; padding: 1.5rem 1rem; background: var(--raised); border-right: 1px solid var(--line); display: flex; flex-direction: column; gap: .25rem; }
nav a { padding: .25rem .5rem; min-height: 24px; border-radius: 6px; }
main { padding: 1.5rem 2rem 4rem; max-width: 64rem; min-width: 0; }
a { color: var(--link); } a:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
h1 small { font-weight: 400; color: var(--quiet); } h2 { margin-top: 3rem; border-bottom: 1px solid var(--line); } h3 { margin: 2rem 0 .25rem; font-size: 1rem; overflow-wrap: anywhere; scroll-margin-top: 1rem; } h4 { margin: 1rem 0 .25rem; font-size: .9rem; }
h3 b { display: inline-block; min-width: 4.2rem; color: var(--quiet); }
.permission { color: var(--quiet); font-size: .9rem; }
code { font: .92em ui-monospace, monospace; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .9rem; } caption { text-align: left; font-weight: 600; padding: .25rem 0; }
th, td { text-align: left; vertical-align: top; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line); }
@media (max-width: 720px) { body { display: block; } nav { position: static; height: auto; flex-flow: row wrap; border: 0; } main { padding: 1rem; } }
`;
