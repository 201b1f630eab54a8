import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Authenticate } from './auth.ts';
import { type Log, reasonOf } from './log.ts';
import type { Identity } from './tls.ts';

/** What each path answers: an object that is sent as JSON. */
type Endpoints = Readonly<Record<string, () => Promise<object>>>;

type Options = {
  endpoints: Endpoints;
  authenticate: Authenticate;
  /** Certificate and key in PEM; undefined serves plain http. */
  identity: Identity | undefined;
  log: Log;
};

export const limits = {
  headerBytes: 8 * 1024,
  headers: 64,
  headersTimeoutMs: 5_000,
  requestTimeoutMs: 10_000,
  handshakeTimeoutMs: 5_000,
  // Longer than twice the 30 s between two polls: the control plane keeps its connection.
  keepAliveTimeoutMs: 75_000,
  connections: 64,
} as const;

/**
 * The agent's HTTP server, not yet listening: GET and HEAD on the given paths for who has the token.
 *
 * Everything else costs the sender more than the agent: a body is refused unread, and who has no valid
 * token gets one answer per connection, so that strangers cannot occupy the 64 connections for long.
 */
export function createAgentServer(options: Options): Server {
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    handle(request, response, options).catch((error: unknown) => {
      options.log.warnSometimes('request failed', { reason: reasonOf(error) });
      if (response.headersSent) response.destroy();
      else refuse(response, 500, 'internal error');
    });
  };
  const http = {
    maxHeaderSize: limits.headerBytes,
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    // Node looks for overdue requests this often; its default of 30 s would make the limits above a fiction.
    connectionsCheckingInterval: 1_000,
  };
  const server =
    options.identity === undefined
      ? createServer(http, answer)
      : createTlsServer(
          {
            ...http,
            ...options.identity,
            minVersion: 'TLSv1.2',
            handshakeTimeout: limits.handshakeTimeoutMs,
          },
          answer,
        );
  server.maxConnections = limits.connections;
  server.maxHeadersCount = limits.headers;
  return server;
}

async function handle(request: IncomingMessage, response: ServerResponse, options: Options): Promise<void> {
  if (hasBody(request)) {
    refuse(response, 413, 'a request must have no body');
    return;
  }
  if (!options.authenticate(request.headers.authorization)) {
    options.log.warnSometimes('refused a request without the right token', {
      from: request.socket.remoteAddress ?? 'unknown',
    });
    response.setHeader('www-authenticate', 'Bearer realm="opsfleet-agent"');
    refuse(response, 401, 'a valid bearer token is required');
    return;
  }
  const path = (request.url ?? '').split('?', 1)[0] ?? '';
  const endpoint = Object.hasOwn(options.endpoints, path) ? options.endpoints[path] : undefined;
  if (endpoint === undefined) {
    send(response, 404, { error: 'not found' });
    return;
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    send(response, 405, { error: 'only GET and HEAD are answered' });
    return;
  }
  send(response, 200, await endpoint());
}

function hasBody(request: IncomingMessage): boolean {
  const length = request.headers['content-length'];
  return request.headers['transfer-encoding'] !== undefined || (length !== undefined && length !== '0');
}

function refuse(response: ServerResponse, status: number, error: string): void {
  response.setHeader('connection', 'close');
  send(response, status, { error });
}

// Node leaves the body out of the answer to HEAD by itself.
function send(response: ServerResponse, status: number, content: object): void {
  const body = JSON.stringify(content);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
  });
  response.end(body);
}
