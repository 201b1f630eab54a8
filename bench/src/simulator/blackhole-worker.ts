import { createServer, type Server } from 'node:net';
import { type MessagePort, receiveMessageOnPort, workerData } from 'node:worker_threads';

export type Command =
  | { do: 'listen'; addresses: readonly string[] }
  | { do: 'close'; address: string }
  | { do: 'stop' };

export type Reply = { error?: { message: string; code: string | undefined } };

/** `wake` counts the commands sent over `channel`. */
export type WorkerInput = { channel: MessagePort; wake: Int32Array; port: number };

const { channel, wake, port }: WorkerInput = workerData;
const listeners = new Map<string, Server>();

/**
 * Waits for commands without ever returning to the event loop, which would accept connections and so make
 * room in the queues that must stay full. Listening needs only the tick queue, and that runs between
 * awaits: Node resolves a literal address and reports `listening` by `process.nextTick`.
 */
async function obey(): Promise<void> {
  for (let seen = 0; ; seen = Atomics.load(wake, 0)) {
    Atomics.wait(wake, 0, seen);
    for (;;) {
      const received: { message: Command } | undefined = receiveMessageOnPort(channel);
      if (received === undefined) break;
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a MessagePort has none
      channel.postMessage(await perform(received.message));
      if (received.message.do === 'stop') return;
    }
  }
}

async function perform(command: Command): Promise<Reply> {
  switch (command.do) {
    case 'listen':
      for (const address of command.addresses) {
        const reply = await listen(address);
        if (reply.error !== undefined) return reply;
      }
      break;
    case 'close':
      listeners.get(command.address)?.close();
      listeners.delete(command.address);
      break;
    case 'stop':
      for (const listener of listeners.values()) listener.close();
  }
  return {};
}

function listen(address: string): Promise<Reply> {
  const listener = createServer();
  listeners.set(address, listener);
  return new Promise(resolve => {
    listener.once('error', (error: NodeJS.ErrnoException) =>
      resolve({ error: { message: error.message, code: error.code } }),
    );
    // Beside the listener on all addresses, which the kernel passes over for this one.
    listener.listen({ host: address, port, backlog: 1, reusePort: true }, () => resolve({}));
  });
}

await obey();
