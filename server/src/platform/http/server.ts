import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import fastifyCookie from '@fastify/cookie';
import fastifyRateLimit from '@fastify/rate-limit';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { TObject, TSchema } from 'typebox';
import type { Context } from '../../context.ts';
import { may } from '../../permissions.ts';
import { AppError } from '../errors.ts';
import { toProblem } from './errors.ts';
import type { Principal, Reply, Route, RouteInput } from './route.ts';
import { securityHeaders } from './security-headers.ts';
import { wantsPage } from './static.ts';
import { compileCheck } from './validation.ts';

/** Finds out who asks. Null: nobody known. Throws AppError where the attempt itself is refused. */
export type Authenticate = (request: {
  authorization: string | undefined;
  cookies: Readonly<Record<string, string | undefined>>;
  method: string;
  headers: Readonly<Record<string, string | string[] | undefined>>;
}) => Promise<Principal | null>;

export type HttpOptions = {
  context: Context;
  routes: readonly Route[];
  authenticate: Authenticate;
  secure: boolean;
};

declare module 'fastify' {
  interface FastifyRequest {
    principal: Principal | null;
  }
}

const maxBodyBytes = 1024 * 1024;
const authFailuresPerMinute = 10;

/** The framework, set up and with every route mounted; not listening yet. Refuses a route that names no permission. */
export async function buildHttpServer(options: HttpOptions): Promise<FastifyInstance> {
  const { context } = options;
  const app = Fastify({
    bodyLimit: maxBodyBytes,
    genReqId: () => randomUUID(),
    // Requests are counted in /metrics; a log line each would cost more than most answers.
    logger: false,
    requestTimeout: 30_000,
    keepAliveTimeout: 75_000,
    http: { headersTimeout: 10_000, maxHeaderSize: 16 * 1024 },
    forceCloseConnections: true,
    // A path that cannot be decoded, or has too long a part, reaches no hook.
    frameworkErrors(error, request, reply) {
      sendProblem(context, request, reply.headers(securityHeaders(options.secure)), error);
    },
    // What is not HTTP at all: there is no request to answer, only a socket.
    clientErrorHandler(error, socket) {
      if (!socket.writable) return;
      socket.end(rawProblem(error, options.secure));
    },
    routerOptions: { maxParamLength: 256 },
  });
  app.decorateRequest('principal', null);
  app.setErrorHandler((error, request, reply) => sendProblem(context, request, reply, error));
  app.setValidatorCompiler(() => () => true);
  // DELETE with an empty JSON body and the like: an empty body is no body.
  app.removeContentTypeParser('application/json');
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => {
    try {
      done(null, body.length === 0 ? undefined : JSON.parse(body.toString('utf8')));
    } catch {
      done(new AppError('malformed', 'The request body is not valid JSON.'));
    }
  });
  await app.register(fastifyCookie);
  await app.register(fastifyRateLimit, {
    global: false,
    hook: 'preHandler',
    enableDraftSpec: true,
    errorResponseBuilder: (_request, limit) => tooMany(limit.ttl),
  });
  const failures = app.createRateLimit({
    max: authFailuresPerMinute,
    timeWindow: 60_000,
    keyGenerator: r => r.ip,
  });
  app.addHook('onRequest', async (_request, reply) => {
    reply.headers(securityHeaders(options.secure));
  });
  app.addHook('onResponse', async (request, reply) => {
    const labels = {
      method: request.method,
      route: request.routeOptions.url ?? 'none',
      status: String(reply.statusCode),
    };
    context.instruments.requests.observe(labels, reply.elapsedTime / 1000);
  });

  const refuseUnknown = async (request: FastifyRequest): Promise<never> => {
    const failure = await failures(request);
    if (!failure.isAllowed && failure.isExceeded) throw tooMany(failure.ttl);
    throw new AppError('unauthenticated', 'Not authenticated: send an API token as Authorization: Bearer.');
  };
  const guards = { refuseUnknown, limit: overallLimit(app, context.settings.rateLimitPerMinute) };
  for (const route of options.routes) mount(app, route, options, guards);
  const allowedAt = methodsAt(options.routes);
  app.setNotFoundHandler(async (request, reply) => {
    if (wantsPage(app, request)) return reply.code(404).sendFile('index.html');
    const allowed = allowedAt(request.url.split('?')[0]!);
    if (allowed.length === 0) throw new AppError('not_found', 'There is nothing at this address.');
    reply.header('allow', allowed.join(', '));
    throw new AppError('method_not_allowed', `${request.method} is not possible here.`);
  });
  return app;
}

type Guards = {
  refuseUnknown(request: FastifyRequest): Promise<never>;
  limit(request: FastifyRequest, reply: FastifyReply): Promise<void>;
};

const callerOf = (request: FastifyRequest): string => request.principal?.id ?? request.ip;

/** One count for all requests of a caller. (The plugin's own hook counts each route by itself.) */
function overallLimit(app: FastifyInstance, perMinute: number): Guards['limit'] {
  if (perMinute === 0) return async () => undefined;
  const count = app.createRateLimit({ max: perMinute, timeWindow: 60_000, keyGenerator: callerOf });
  return async (request, reply) => {
    const counted = await count(request);
    if (counted.isAllowed) return;
    reply.headers({
      'ratelimit-limit': perMinute,
      'ratelimit-remaining': counted.remaining,
      'ratelimit-reset': counted.ttlInSeconds,
    });
    if (counted.isExceeded) throw tooMany(counted.ttl);
  };
}

function mount(
  app: FastifyInstance,
  route: Route,
  options: HttpOptions,
  { refuseUnknown, limit }: Guards,
): void {
  const { permission } = route;
  if ((permission as string | undefined) === undefined) {
    throw new Error(`${route.method} ${route.path} declares no permission`);
  }
  const checkParams = compileCheck('params', route.params ?? emptyObject);
  const checkQuery = compileCheck('query', route.query ?? emptyObject);
  const checkBody = route.body === undefined ? null : compileCheck('body', route.body);
  const { rateLimitPerMinute } = route;
  app.route({
    method: route.method,
    url: route.path,
    ...(rateLimitPerMinute === undefined
      ? {}
      : { config: { rateLimit: { max: rateLimitPerMinute, timeWindow: 60_000, keyGenerator: callerOf } } }),
    // Before the body is read: who may not come in need not be listened to.
    onRequest: async request => {
      if (permission === 'public') return;
      request.principal = await options.authenticate({
        authorization: request.headers.authorization,
        cookies: request.cookies,
        method: request.method,
        headers: request.headers,
      });
      if (request.principal === null) return refuseUnknown(request);
      if (permission !== 'signed-in' && !may(request.principal.role, permission)) {
        throw new AppError(
          'forbidden',
          `This needs the permission ${permission}, which the role ${request.principal.role} does not carry.`,
        );
      }
    },
    preValidation: limit,
    handler: async (request, reply) => {
      const input = {
        params: checkParams(request.params),
        query: checkQuery(request.query),
        body: checkBody === null ? undefined : checkBody(request.body ?? {}),
        headers: request.headers,
        remoteAddress: request.ip,
        secure: options.secure,
      } as RouteInput<TObject, TObject, TSchema>;
      const { principal } = request;
      const who =
        principal === null ? null : { principal, db: options.context.db.tenant(principal.organizationId) };
      return send(reply, await route.handler(options.context, input, who), options.context);
    },
  });
}

const emptyObject = { type: 'object', properties: {}, additionalProperties: false } as unknown as TObject;

function send(reply: FastifyReply, answer: Reply, { log }: Pick<Context, 'log'>): FastifyReply {
  if ('stream' in answer) {
    // HEAD asks for the head alone, and an open stream would never end it.
    if (reply.request.method === 'HEAD') return reply.type('text/event-stream').send();
    reply.hijack();
    const ended = new AbortController();
    const { raw } = reply;
    raw.once('close', () => ended.abort());
    for (const [name, value] of Object.entries(reply.getHeaders()))
      if (value !== undefined) raw.setHeader(name, value);
    answer.stream({ response: raw, signal: ended.signal });
    return reply;
  }
  if ('download' in answer) {
    const { name, type, chunks } = answer.download;
    const disposition = `attachment; filename="${name.replaceAll(/[^\w.-]/g, '_')}"`;
    reply.type(type).header('content-disposition', disposition);
    if (reply.request.method === 'HEAD') return reply.send();
    const { id, routeOptions } = reply.request;
    const file = Readable.from(chunks);
    // No status can tell of it any more. Who only stops reading is no error.
    file.once('error', err => {
      log.error({ err, requestId: id, route: routeOptions.url }, 'a download ended before its end');
    });
    return reply.send(file);
  }
  reply.code(answer.status).headers(answer.headers ?? {});
  if ('json' in answer)
    return reply.type('application/json; charset=utf-8').send(Buffer.from(answer.json.jsonText));
  if (answer.body === undefined) return reply.send();
  if (typeof answer.body === 'string') return reply.send(answer.body);
  return reply.type('application/json; charset=utf-8').send(JSON.stringify(answer.body));
}

const tooMany = (ttlMs: number): AppError =>
  new AppError('rate_limited', 'Too many requests; slow down.', { retryAfterSeconds: ttlMs / 1000 });

function sendProblem(
  context: Context,
  request: FastifyRequest,
  reply: FastifyReply,
  error: unknown,
): FastifyReply {
  const { problem, headers } = toProblem(error, request.id);
  if (problem.status >= 500) {
    const details = { err: error, requestId: request.id, route: request.routeOptions.url };
    // Not our fault, it passes, and there is one for every request meanwhile.
    if (problem.code === 'unavailable') context.log.warn(details, 'request cannot be answered now');
    else context.log.error(details, 'request failed');
  }
  return reply.code(problem.status).headers(headers).send(JSON.stringify(problem));
}

/** A whole answer as text, for a client whose bytes could not be read as a request. */
function rawProblem(error: NodeJS.ErrnoException, secure: boolean): string {
  const isTooLong = error.code === 'HPE_HEADER_OVERFLOW';
  const isLate = error.code === 'ERR_HTTP_REQUEST_TIMEOUT';
  const said = isTooLong
    ? new AppError('too_large', 'The request headers are larger than 16 KiB.')
    : new AppError(
        'malformed',
        isLate ? 'The request took too long to arrive.' : 'This is not an HTTP request.',
      );
  const { problem, headers } = toProblem(said, randomUUID());
  const body = JSON.stringify(problem);
  const all = {
    ...securityHeaders(secure),
    ...headers,
    'content-length': Buffer.byteLength(body),
    connection: 'close',
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  return [`HTTP/1.1 ${problem.status} ${problem.title}`, ...lines, '', body].join('\r\n');
}

/** The methods that exist at a path, for the `Allow` header of a 405. */
function methodsAt(routes: readonly Route[]): (path: string) => string[] {
  const patterns = routes.map(({ method, path }) => ({
    methods: method === 'GET' ? ['GET', 'HEAD'] : [method],
    pattern: new RegExp(`^${path.replaceAll(/:[a-z_]+/g, '[^/]+')}$`),
  }));
  return path => [
    ...new Set(patterns.filter(({ pattern }) => pattern.test(path)).flatMap(({ methods }) => methods)),
  ];
}
