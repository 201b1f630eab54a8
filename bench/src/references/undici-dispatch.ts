import { Agent, type Dispatcher } from 'undici';
import type { Target } from '../simulator/identity.ts';
import { type Done, HEALTH_PATH, KEEP_ALIVE_MS, type Loop, settle } from './loop.ts';

/** undici's `dispatch()` with a handler of our own: no streams, no promises, no response object. */
export function undiciDispatchLoop(): Loop {
  const agent = new Agent({ connections: 1, pipelining: 1, keepAliveTimeout: KEEP_ALIVE_MS });
  return {
    check(target: Target, done: Done): void {
      agent.dispatch(
        {
          origin: target.url,
          path: HEALTH_PATH,
          method: 'GET',
          headers: { authorization: `Bearer ${target.token}` },
        },
        new BodyCounter(done),
      );
    },
    close: () => agent.close(),
  };
}

class BodyCounter implements Dispatcher.DispatchHandler {
  readonly #done: Done;
  #status = 0;
  #bodyBytes = 0;

  constructor(done: Done) {
    this.#done = done;
  }

  // undici takes an object for a handler only when it has this method.
  onRequestStart(): void {}

  onResponseStart(_controller: Dispatcher.DispatchController, status: number): void {
    this.#status = status;
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#bodyBytes += chunk.length;
  }

  onResponseEnd(): void {
    settle(this.#done, this.#status, this.#bodyBytes);
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#done(error);
  }
}
