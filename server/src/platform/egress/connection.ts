import type { Socket } from 'node:net';
import { type ConnectorParts, type ConnectStage, openSocket, type SocketEvents } from './connector.ts';
import { EgressFault, faultOf } from './fault.ts';
import type { Trust } from './trust.ts';
import type { TargetUrl } from './url.ts';

/** The request that is on a connection. */
export type Occupant = {
  /** The first `length` bytes of `bytes`, which are overwritten after the call. */
  onBytes(bytes: Buffer, length: number): void;
  /** No more bytes will come. Null: the server has ended the connection in good order. */
  onLost(fault: EgressFault | null): void;
};

export type ConnectionPlan = {
  /** Origin and trust: what two requests must have in common to share a connection. */
  key: string;
  url: TargetUrl;
  trust: Trust | null;
  connectTimeoutMs: number;
};

/**
 * One connection to one origin, serving one request at a time. Free → busy (`send`) → free (`free`) …;
 * `destroy` is final.
 */
export class Connection implements SocketEvents {
  readonly plan: ConnectionPlan;
  stage: ConnectStage = 'dns';
  /** Of the socket, as the operating system has it; empty before there is one. */
  remoteAddress = '';
  /** Answers so far. Only a connection that has served before can have gone stale. */
  served = 0;
  /** Whether it may be kept after the answer; the server is told. The pool's. */
  keep = false;
  /** Whether it would be kept if there were descriptors for it. The pool's. */
  crowded = false;
  /** When it became free, and until when the server will keep it: on the monotonic clock. The pool's. */
  freeSinceMs = 0;
  freeUntilMs = 0;
  occupant: Occupant | null = null;
  readonly #onIdleLost: (connection: Connection) => void;
  #socket: Socket | null = null;
  #opening: AbortController | null = null;
  #destroyed = false;

  /** `onIdleLost` is called when the connection is of no more use while it serves nobody. */
  constructor(plan: ConnectionPlan, onIdleLost: (connection: Connection) => void) {
    this.plan = plan;
    this.#onIdleLost = onIdleLost;
  }

  /** Connects if it has not, and sends the request as it is. What comes back, or does not, is told to `occupant`. */
  send(parts: ConnectorParts, request: string, occupant: Occupant): void {
    this.occupant = occupant;
    if (this.#socket === null) void this.#open(parts, request);
    else this.#socket.write(request, 'latin1');
  }

  free(): void {
    this.occupant = null;
    this.served++;
  }

  /** Ends the connection, whatever it is doing, and tells nobody. */
  destroy(): void {
    this.occupant = null;
    this.#destroyed = true;
    this.#opening?.abort(new EgressFault('aborted', 'the request was cancelled'));
    this.#socket?.destroy();
  }

  onBytes(bytes: Buffer, length: number): void {
    if (this.#destroyed) return;
    if (this.occupant === null) {
      // Nobody asked: what would answer the next request is not its answer.
      this.#onIdleLost(this);
    } else if (this.#socket === null) {
      this.occupant.onLost(new EgressFault('bad_response', 'the server answered before it was asked'));
    } else {
      this.occupant.onBytes(bytes, length);
    }
  }

  onLost(error: Error | null): void {
    if (this.#destroyed) return;
    if (this.occupant === null) this.#onIdleLost(this);
    else this.occupant.onLost(error === null ? null : faultOf(error, 'exchange'));
  }

  async #open(parts: ConnectorParts, request: string): Promise<void> {
    const { url, trust, connectTimeoutMs } = this.plan;
    this.#opening = new AbortController();
    const { signal } = this.#opening;
    const onStage = (stage: ConnectStage) => {
      this.stage = stage;
    };
    try {
      const plan = { url, trust, connectTimeoutMs, signal, events: this, onStage };
      const socket = await openSocket(parts, plan);
      this.#opening = null;
      // Destroyed, or lost, between being open and being heard of.
      if (this.#destroyed) {
        socket.destroy();
        return;
      }
      this.#socket = socket;
      this.remoteAddress = socket.remoteAddress ?? '';
      socket.write(request, 'latin1');
    } catch (error) {
      this.#opening = null;
      this.occupant?.onLost(faultOf(error, 'tcp'));
    }
  }
}
