import { describe, expect, it } from 'vitest';
import { routes } from '../../routes.ts';
import { openApiDocument } from './openapi.ts';
import { renderReference } from './reference.ts';

const document = openApiDocument(routes, '1.2.3');
const page = renderReference(document);

describe('the reference page', () => {
  it('shows every route with its permission, and every schema it refers to', () => {
    for (const { method, path, permission } of routes) {
      const shown = path.replaceAll(/:([a-z_]+)/g, '{$1}');
      expect(page).toContain(`${method}</b> <code>${shown}</code>`);
      if (permission !== 'public') expect(page).toContain(`<code>${permission}</code>`);
    }
    const anchors = new Set([...page.matchAll(/id="([^"]+)"/g)].map(match => match[1]));
    const links = [...page.matchAll(/href="#([^"]+)"/g)].map(match => match[1]);
    expect(links.length).toBeGreaterThan(50);
    for (const link of links) expect(anchors).toContain(link);
  });

  it('needs neither script nor inline style, as the content security policy has it', () => {
    expect(page).not.toMatch(/<script|<style|style=|onclick=/);
  });

  it('escapes what it shows', () => {
    const hostile = renderReference({
      ...document,
      info: { title: '<b>x</b>', version: '"', description: '<script>' },
    });
    expect(hostile).not.toContain('<b>x</b>');
    expect(hostile).not.toContain('<script>');
  });
});

describe('the document behind it', () => {
  it('is the same bytes for the same routes', () => {
    expect(JSON.stringify(openApiDocument(routes, '1.2.3'))).toBe(JSON.stringify(document));
  });

  it('has an id of its own for every operation, and no reference that leads nowhere', () => {
    const paths = document['paths'] as Record<string, Record<string, { operationId: string }>>;
    const ids = Object.values(paths).flatMap(methods =>
      Object.values(methods).map(({ operationId }) => operationId),
    );
    expect(new Set(ids).size).toBe(ids.length);
    const { schemas } = document['components'] as { schemas: object };
    for (const [, name] of JSON.stringify(document).matchAll(/#\/components\/schemas\/([A-Za-z]+)/g)) {
      expect(schemas).toHaveProperty(name!);
    }
  });
});
