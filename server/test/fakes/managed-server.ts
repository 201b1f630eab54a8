import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

/** A managed server that does as it is told. */
export type ManagedServer = {
  url: string;
  /** What it was asked, in order: the path and the token that came with it. */
  requests: { path: string; token: string | undefined }[];
  /** Replaces what it answers on a path: a body, or a status alone. Null: never answers. */
  answer(path: 'health' | 'metrics', with_: object | number | null): void;
  /** Refuses connections from now on, and drops those it has. */
  die(): Promise<void>;
  /** Listens again, at the same address. */
  revive(): Promise<void>;
  stop(): Promise<void>;
};

export const wellBody = {
  database: { status: 'ok' },
  redis: { status: 'ok' },
  services: { healthy: true },
  version: '1.4.2',
};
export const metricsBody = {
  cpu_percent: 12.5,
  memory_percent: 34.25,
  disk_percent: 56,
  network_rx_bytes: 1_000_000_000_123,
  network_tx_bytes: 456,
  active_services: 7,
  failed_services: 0,
  total_services: 7,
  llm_requests: 11,
  llm_cost_usd: 0.004,
  active_users: 3,
  total_users: 5,
};

const paths = { '/health': 'health', '/api/v1/metrics/current': 'metrics' } as const;

/** Starts one on 127.0.0.1 and a free port. It is well until told otherwise. */
export async function startManagedServer(): Promise<ManagedServer> {
  const answers: Record<'health' | 'metrics', object | number | null> = {
    health: wellBody,
    metrics: metricsBody,
  };
  const requests: ManagedServer['requests'] = [];
  const sockets = new Set<Socket>();
  const http = createServer((request, response) => {
    const path = request.url ?? '';
    requests.push({ path, token: request.headers.authorization?.replace('Bearer ', '') });
    const known = paths[path as keyof typeof paths];
    reply(response, known === undefined ? 404 : answers[known]);
  });
  http.on('connection', socket => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  const die = async (): Promise<void> => {
    if (!http.listening) return;
    http.close();
    for (const socket of sockets) socket.destroy();
    await once(http, 'close');
  };
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  const { port } = http.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    answer(path, with_) {
      answers[path] = with_;
    },
    die,
    async revive() {
      http.listen(port, '127.0.0.1');
      await once(http, 'listening');
    },
    stop: die,
  };
}

function reply(response: ServerResponse, answer: object | number | null): void {
  if (answer === null) return;
  if (typeof answer === 'number') response.writeHead(answer).end();
  else response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
}
