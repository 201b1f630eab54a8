import { Type } from 'typebox';
import { sql } from '../platform/db.ts';
import { AppError } from '../platform/errors.ts';
import { ok, publicRoute, type Reply, type Route, route } from '../platform/http/route.ts';

const Status = Type.Object({ status: Type.String() }, { additionalProperties: false });
const PlainText = Type.String({ contentMediaType: 'text/plain' });

export const systemRoutes: Route[] = [
  publicRoute({
    method: 'GET',
    path: '/health/live',
    tag: 'System',
    summary: 'Whether this process runs',
    replies: { 200: Status },
    async handler() {
      return ok({ status: 'ok' });
    },
  }),
  publicRoute({
    method: 'GET',
    path: '/health/ready',
    tag: 'System',
    summary: 'Whether this process can do its work: the database answers and, in a worker, polling runs',
    replies: { 200: Status },
    description: 'Where it is not, `detail` says why. It answers within about two seconds.',
    async handler({ db, isPolling }) {
      await db.system.one(sql`select 1`);
      if (!isPolling()) throw notReady('Polling does not run.');
      return ok({ status: 'ok' });
    },
  }),
  route({
    method: 'GET',
    path: '/metrics',
    tag: 'System',
    summary: "This process's metrics, for Prometheus",
    description: 'Text exposition format 0.0.4. Of the whole installation, so it needs an admin token.',
    permission: 'workers:read',
    replies: { 200: PlainText },
    async handler({ instruments }): Promise<Reply> {
      const text = await instruments.registry.metrics();
      return { status: 200, body: text, headers: { 'content-type': instruments.registry.contentType } };
    },
  }),
];

const notReady = (detail: string): AppError => new AppError('unavailable', detail, { retryAfterSeconds: 2 });
