import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';

/** A server of the zoo while it runs. */
export type Beast = {
  /** Its address, as somebody would register it. */
  url: string;
  /** TCP connections accepted so far. */
  accepted(): number;
  /** Bytes handed to the operating system for clients, over all connections. */
  bytesSent(): number;
  /** Request heads as they came, in order. */
  requests(): readonly string[];
  /** Resolves when a further connection of its clients is closed. */
  nextClose(): Promise<void>;
  stop(): Promise<void>;
};

export type ListenerOptions = {
  scheme?: 'http' | 'https';
  host?: string;
  /** A free one unless told. */
  port?: number;
  onConnection?: (socket: Socket) => void;
  /** Called with each complete request head. */
  onRequest?: (socket: Socket) => void;
};

/** Starts a raw TCP server on 127.0.0.1 (or `host`) and a free port. */
export async function listen(options: ListenerOptions): Promise<Beast> {
  const sockets = new Set<Socket>();
  const heads: string[] = [];
  const closers: (() => void)[] = [];
  let accepted = 0;
  let closedBytes = 0;

  const server = createServer({ noDelay: true }, socket => {
    accepted++;
    sockets.add(socket);
    // Clients hang up on beasts; that is the point of the zoo.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      sockets.delete(socket);
      closedBytes += socket.bytesWritten;
      for (const closer of closers.splice(0)) closer();
    });
    options.onConnection?.(socket);
    const { onRequest } = options;
    if (onRequest !== undefined) {
      eachHead(socket, head => {
        heads.push(head);
        onRequest(socket);
      });
    }
  });
  const host = options.host ?? '127.0.0.1';
  server.listen(options.port ?? 0, host);
  await once(server, 'listening');
  const port = portOf(server);
  return {
    url: `${options.scheme ?? 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}`,
    accepted: () => accepted,
    bytesSent: () => closedBytes + [...sockets].reduce((sum, socket) => sum + socket.bytesWritten, 0),
    requests: () => heads,
    nextClose: () => new Promise(resolve => closers.push(resolve)),
    async stop() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

function eachHead(socket: Socket, onHead: (head: string) => void): void {
  let text = '';
  socket.on('data', chunk => {
    text += chunk.toString('latin1');
    for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
      const head = text.slice(0, end);
      text = text.slice(end + 4);
      onHead(head);
    }
  });
}

function portOf(server: Server): number {
  const address: AddressInfo | string | null = server.address();
  if (address === null || typeof address === 'string')
    throw new Error('the server does not listen on a port');
  return address.port;
}
