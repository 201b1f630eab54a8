import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';

/** Told of every accepted connection and of the loopback address that it was made to. */
type OnSocket = (socket: Socket, address: string) => void;

/** The most that Linux grants by default (net.core.somaxconn). */
const BACKLOG = 4_096;

/**
 * Who accepts connections for the reachable servers. One listener on all addresses does it, so that file
 * descriptors are left for connections; the kernel prefers a listener of the very address where there is one,
 * as each black hole has. It knows no other exception: for an address to refuse, every other one needs a
 * listener of its own.
 */
export class Listeners {
  readonly #port: number;
  readonly #onSocket: OnSocket;
  #shared: Server | undefined;
  readonly #own = new Map<string, Server>();

  constructor(port: number, onSocket: OnSocket) {
    this.#port = port;
    this.#onSocket = onSocket;
  }

  get isShared(): boolean {
    return this.#shared !== undefined;
  }

  /** Accepts for every address that has no listener of its own. */
  async share(): Promise<void> {
    this.#shared = await this.#listen('0.0.0.0');
  }

  /** Gives each of the addresses a listener of its own and closes the shared one: others are refused from now on. */
  async split(addresses: readonly string[]): Promise<void> {
    // All are awaited even when one fails, so that `stop` finds every listener in its final state.
    const opened = await Promise.allSettled(addresses.map(address => this.listen(address)));
    const failed = opened.find(result => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    this.#shared?.close();
    this.#shared = undefined;
  }

  async listen(address: string): Promise<void> {
    this.#own.set(address, await this.#listen(address));
  }

  close(address: string): void {
    this.#own.get(address)?.close();
    this.#own.delete(address);
  }

  stop(): void {
    this.#shared?.close();
    this.#shared = undefined;
    for (const address of this.#own.keys()) this.close(address);
  }

  async #listen(host: string): Promise<Server> {
    const listener = createServer(socket => this.#accept(socket));
    listener.listen({ host, port: this.#port, backlog: BACKLOG, reusePort: true });
    await once(listener, 'listening');
    return listener;
  }

  #accept(socket: Socket): void {
    const { localAddress } = socket;
    // Gone before it was looked at, or meant for one of the machine's real addresses.
    if (localAddress?.startsWith('127.') === true) this.#onSocket(socket, localAddress);
    else socket.destroy();
  }
}

/**
 * A port that nobody listens on, at any address: the one asked for, or any where that is 0. Rejects with
 * EADDRINUSE where it is taken. The listeners could not tell, because those of one user may share a port.
 */
export async function freePort(port: number): Promise<number> {
  const probe = createServer().listen({ host: '0.0.0.0', port });
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  await once(probe, 'close');
  if (address === null || typeof address === 'string') throw new Error('A TCP listener has no port');
  return address.port;
}
