import { connect, type Socket } from 'node:net';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import type { Command, Reply, WorkerInput } from './blackhole-worker.ts';

/** A connect on loopback completes within the call that starts it; this is far beyond. */
const FILL_WAIT_MS = 100;

/** Linux admits one connection more than the backlog, so the third round finds the queue full. */
const FILL_ROUNDS = 8;

/**
 * Addresses at which a connect never completes. Each has a listener of the smallest backlog that nobody
 * accepts from; once its queue is full, Linux drops every further SYN, as a firewall would. The listeners
 * live in a thread of their own, because an event loop that runs would accept (see the worker).
 */
export class BlackHoles {
  readonly #worker: Worker;
  readonly #port: number;
  readonly #channel: MessagePort;
  readonly #wake: Int32Array;
  /** The commands under way. The worker answers in their order. */
  readonly #asked: { resolve: (reply: Reply) => void; reject: (error: unknown) => void }[] = [];

  constructor(port: number) {
    const { port1, port2 } = new MessageChannel();
    this.#port = port;
    this.#channel = port1;
    this.#wake = new Int32Array(new SharedArrayBuffer(4));
    const workerData: WorkerInput = { channel: port2, wake: this.#wake, port };
    this.#worker = new Worker(new URL('./blackhole-worker.ts', import.meta.url), {
      workerData,
      transferList: [port2],
    });
    this.#worker.on('error', error => {
      for (const { reject } of this.#asked.splice(0)) reject(error);
    });
    port1.on('message', (reply: Reply) => this.#asked.shift()?.resolve(reply));
  }

  /** Resolves when a connect to each address was seen to stay pending. The addresses must be free. */
  async open(addresses: readonly string[]): Promise<void> {
    await this.#ask({ do: 'listen', addresses });
    let admitting = [...addresses];
    for (let round = 0; round < FILL_ROUNDS && admitting.length > 0; round++) {
      admitting = await admitted(admitting, this.#port);
    }
    if (admitting.length > 0) {
      throw new Error(
        `${admitting[0]}:${this.#port} still completes connections although nobody accepts them: ` +
          'this kernel cannot black-hole a loopback address',
      );
    }
  }

  /** Frees the address: from now on a connect is for whoever else listens there. */
  async close(address: string): Promise<void> {
    await this.#ask({ do: 'close', address });
  }

  async stop(): Promise<void> {
    await this.#ask({ do: 'stop' });
    await this.#worker.terminate();
    this.#channel.close();
  }

  async #ask(command: Command): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<Reply>();
    this.#asked.push({ resolve, reject });
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a MessagePort has none
    this.#channel.postMessage(command);
    Atomics.add(this.#wake, 0, 1);
    Atomics.notify(this.#wake, 0);
    const { error } = await promise;
    if (error !== undefined) throw Object.assign(new Error(error.message), { code: error.code });
  }
}

/** Opens one connection to each address and tells which of them the kernel let in. */
async function admitted(addresses: readonly string[], port: number): Promise<string[]> {
  const completed = new Set<string>();
  const sockets = await new Promise<Socket[]>(resolve => {
    const attempts = addresses.map(host => {
      const socket = connect({ host, port });
      socket.on('error', () => socket.destroy());
      socket.once('connect', () => {
        completed.add(host);
        if (completed.size === addresses.length) resolve(attempts);
      });
      return socket;
    });
    // One more turn of the event loop: after a stall, the timer is due before the connects are seen.
    void sleep(FILL_WAIT_MS)
      .then(() => setImmediate())
      .then(() => resolve(attempts));
  });
  // The kernel keeps a completed connection in the queue even when its client leaves.
  for (const socket of sockets) socket.destroy();
  return [...completed];
}
