import { Type } from 'typebox';
import type { Context } from '../context.ts';
import { append } from '../events/outbox.ts';
import { type JobId, newId, parseId, type ServerId } from '../ids.ts';
import type { TenantDb } from '../platform/db.ts';
import { AppError } from '../platform/errors.ts';
import { accepted, ok, okJson, type Reply, type Route, route } from '../platform/http/route.ts';
import { ServerPath, serverIdOf, serverNotFound } from '../servers/routes.ts';
import {
  activeServers,
  checkSince,
  collectionSince,
  findJob,
  insertJob,
  type JobProgress,
  jobResults,
  statusOf,
} from './checks.ts';

const CheckResult = Type.Object(
  {
    server_id: Type.String({ format: 'uuid' }),
    status: Type.String({ enum: ['healthy', 'degraded', 'critical', 'unreachable', 'error'] }),
    reason: Type.String({ description: 'Why, as a stable name. For status `error` the fault is ours.' }),
    response_time_ms: Type.Optional(Type.Integer()),
    timestamp: Type.String({ format: 'date-time' }),
    error: Type.Optional(Type.String()),
  },
  {
    title: 'CheckResult',
    additionalProperties: false,
    description: 'What this one check found; the state follows after three failures.',
  },
);

const counts = {
  healthy: Type.Integer(),
  degraded: Type.Integer(),
  critical: Type.Integer(),
  unreachable: Type.Integer(),
  error: Type.Integer({ description: 'Checks that could not be made, by our own fault.' }),
};

const Job = Type.Object(
  {
    id: Type.String({ format: 'uuid' }),
    status: Type.String({ enum: ['running', 'completed'] }),
    requested_at: Type.String({ format: 'date-time' }),
    total: Type.Integer(),
    checked: Type.Integer(),
    ...counts,
  },
  { title: 'CheckJob', additionalProperties: false },
);

const AllResults = Type.Object(
  { results: Type.Array(CheckResult), total: Type.Integer(), ...counts },
  {
    title: 'CheckAllResult',
    additionalProperties: false,
    description: 'All of them, when they were done within ten seconds.',
  },
);

/** Ten seconds at most for a check that runs already, ten for ours; the rest is for being queued and stored. */
const waitMs = 24_000;
const pollMs = 100;
/** A fleet up to this size is waited for, ten seconds at most. */
const waitForServers = 500;
const waitForAllMs = 10_000;

/** Asks again until there is an answer or the time is over. */
async function waitFor<T>(
  context: Context,
  timeoutMs: number,
  ask: () => Promise<T | null>,
): Promise<T | null> {
  const endMs = context.clock.monotonicMs() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer !== null || context.stopping.aborted || context.clock.monotonicMs() >= endMs) return answer;
    await context.clock.sleep(pollMs);
  }
}

/** Asks the server's worker for a poll, whichever process that is. Returns when it was asked. */
async function request(
  context: Context,
  db: TenantDb,
  id: ServerId,
  kind: 'health' | 'metrics',
): Promise<Date> {
  const status = await statusOf(db, id);
  if (status === null) throw serverNotFound();
  if (status !== 'active') throw new AppError('conflict', `The server is ${status}; it is not polled.`);
  const at = context.clock.now();
  await db.transaction(tx =>
    append(tx, at, [{ type: 'server.check_requested', subject: id, data: { kinds: [kind] } }]),
  );
  context.feed.announce();
  return at;
}

const nobody = (): AppError =>
  new AppError('unavailable', 'No worker has done this in time; is one running?', { retryAfterSeconds: 10 });

export const checkRoutes: Route[] = [
  route({
    method: 'POST',
    path: '/api/v1/fleet/servers/:id/health-check',
    tag: 'Health',
    summary: 'Check a server now and wait for the result',
    permission: 'health:check',
    rateLimitPerMinute: 120,
    params: ServerPath,
    replies: { 200: CheckResult },
    async handler(context, { params }, { db }) {
      const id = serverIdOf(params);
      const since = await request(context, db, id, 'health');
      const result = await waitFor(context, waitMs, () => checkSince(db, id, since));
      if (result === null) throw nobody();
      return okJson(result);
    },
  }),
  route({
    method: 'POST',
    path: '/api/v1/fleet/servers/:id/metrics/collect',
    tag: 'Metrics',
    summary: "Collect a server's metrics now and wait for the result",
    permission: 'metrics:collect',
    rateLimitPerMinute: 120,
    params: ServerPath,
    replies: {
      200: Type.Object(
        { status: Type.String({ enum: ['success'] }), server_id: Type.String({ format: 'uuid' }) },
        { additionalProperties: false },
      ),
    },
    async handler(context, { params }, { db }) {
      const id = serverIdOf(params);
      const since = await request(context, db, id, 'metrics');
      const reason = await waitFor(context, waitMs, () => collectionSince(db, id, since));
      if (reason === null) throw nobody();
      if (reason !== 'ok')
        throw new AppError('upstream_failed', `The server gave no usable metrics: ${reason}.`);
      return ok({ status: 'success', server_id: id });
    },
  }),
  route({
    method: 'POST',
    path: '/api/v1/fleet/health-check/all',
    tag: 'Health',
    summary: 'Check every active server now',
    description:
      'A fleet that is done within ten seconds is answered with all results. A larger one, or one with ' +
      '`Prefer: respond-async`, is answered with 202 and a job to follow.',
    permission: 'health:check',
    rateLimitPerMinute: 12,
    replies: { 200: AllResults, 202: Type.Object({ job: Job }, { additionalProperties: false }) },
    async handler(context, { headers }, { db }) {
      const at = context.clock.now();
      const id = newId<JobId>(at.getTime());
      const total = await db.transaction(async tx => {
        const serverIds = await activeServers(tx);
        await insertJob(tx, { id, requestedAt: at, serverIds });
        await append(tx, at, [
          { type: 'fleet.check_requested', subject: id, data: { servers: serverIds.length } },
        ]);
        return serverIds.length;
      });
      context.feed.announce();
      const isAsync = total > waitForServers || String(headers['prefer'] ?? '').includes('respond-async');
      const finished = isAsync
        ? null
        : await waitFor(context, waitForAllMs, async () => {
            const job = await findJob(db, id);
            return job?.finished ? job : null;
          });
      if (finished === null) return jobReply(await findJob(db, id));
      const results = await jobResults(db, id, { limit: waitForServers, offset: 0 });
      const rest = JSON.stringify({ total: finished.total, ...finished.counts }).slice(1);
      return okJson(`{"results":${results},${rest}`);
    },
  }),
  route({
    method: 'GET',
    path: '/api/v1/fleet/health-check/jobs/:id',
    tag: 'Health',
    summary: 'Follow a check of the whole fleet',
    permission: 'fleet:read',
    params: Type.Object({ id: Type.String() }),
    query: Type.Object(
      {
        limit: Type.Optional(
          Type.Integer({ minimum: 0, maximum: 1000, description: 'Results to include; default 100.' }),
        ),
        offset: Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000_000 })),
      },
      { additionalProperties: false },
    ),
    replies: {
      200: Type.Object({ job: Job, results: Type.Array(CheckResult) }, { additionalProperties: false }),
    },
    async handler(_context, { params, query }, { db }) {
      const id = parseId<JobId>(params.id);
      const job = id === null ? null : await findJob(db, id);
      if (job === null) throw new AppError('not_found', 'Check job not found');
      const results = await jobResults(db, job.id, { limit: query.limit ?? 100, offset: query.offset ?? 0 });
      return okJson(`{"job":${JSON.stringify(jobView(job))},"results":${results}}`);
    },
  }),
];

const jobView = (job: JobProgress) => ({
  id: job.id,
  status: job.finished ? 'completed' : 'running',
  requested_at: job.requestedAt,
  total: job.total,
  checked: job.checked,
  ...job.counts,
});

function jobReply(job: JobProgress | null): Reply {
  if (job === null) throw new AppError('not_found', 'Check job not found');
  return accepted({ job: jobView(job) }, { location: `/api/v1/fleet/health-check/jobs/${job.id}` });
}
