import { existsSync } from 'node:fs';
import { join } from 'node:path';
import fastifyStatic from '@fastify/static';
import type { FastifyInstance, FastifyRequest } from 'fastify';

/** Files whose names carry a hash of their content may be kept for ever; everything else is asked for again. */
const immutable = 'public, max-age=31536000, immutable';

/**
 * Serves the built dashboard. Its pages are made in the browser, so every path that is neither a file nor the
 * API's is answered with the one document there is. Without a build (an API-only installation) it mounts nothing.
 */
export async function mountDashboard(app: FastifyInstance, directory: string): Promise<void> {
  if (!existsSync(join(directory, 'index.html'))) return;
  await app.register(fastifyStatic, {
    root: directory,
    wildcard: false,
    index: false,
    cacheControl: false,
    setHeaders(reply, path) {
      void reply.header('cache-control', path.includes('/assets/') ? immutable : 'no-cache');
    },
  });
  // Anything else that is no file is answered by the page for what is not there.
  for (const path of ['/', '/sign-in', '/servers', '/servers/*']) {
    app.get(path, (_request, reply) => reply.sendFile('index.html'));
  }
}

/** Whether a person's browser asks for a page, and there is a dashboard to show one. */
export const wantsPage = (app: FastifyInstance, request: FastifyRequest): boolean =>
  request.method === 'GET' &&
  app.hasReplyDecorator('sendFile') &&
  !request.url.startsWith('/api') &&
  (request.headers.accept ?? '').includes('text/html');
