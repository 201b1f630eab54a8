import type { Socket } from 'node:net';
import { Client, type Dispatcher } from 'undici';
import { type ConnectorParts, type ConnectStage, openSocket } from './connector.ts';
import { EgressFault, faultOf } from './fault.ts';
import type { Trust } from './trust.ts';
import type { TargetUrl } from './url.ts';

/** What is on a connection: a handler of undici's that is also told of the bytes read so far. */
export type Occupant = Dispatcher.DispatchHandler & {
  onWireBytes(bytes: number): void;
};

export type ConnectionPlan = {
  /** Origin and trust: what two requests must have in common to share a connection. */
  key: string;
  url: TargetUrl;
  trust: Trust | null;
  connectTimeoutMs: number;
  keepAliveMs: number;
};

export const maxHeaderBytes = 16 * 1024;

/**
 * One connection to one origin, serving one request at a time. undici's Client does HTTP/1.1 on it; making the
 * socket is ours (connector.ts). Free → busy (`send`) → free (`free`) …; `destroy` is final.
 */
export class Connection {
  readonly plan: ConnectionPlan;
  /** Whether it may be kept after the answer; says so to the server. */
  keep = true;
  stage: ConnectStage = 'dns';
  /** Of the socket, as the operating system has it; empty before there is one. */
  remoteAddress = '';
  /** Answers on the present socket. Only a socket that has served before can have gone stale. */
  served = 0;
  occupant: Occupant | null = null;
  readonly #client: Client;
  readonly #cancelled = new AbortController();
  #socket: Socket | null = null;

  /** `onIdleClosed` is called when the connection is lost while it serves nobody. */
  constructor(parts: ConnectorParts, plan: ConnectionPlan, onIdleClosed: (connection: Connection) => void) {
    this.plan = plan;
    this.#client = new Client(plan.url.origin, {
      connect: (_options, callback) => void this.#open(parts, callback),
      allowH2: false,
      maxHeaderSize: maxHeaderBytes,
      keepAliveTimeout: plan.keepAliveMs,
      keepAliveMaxTimeout: plan.keepAliveMs,
      // The exchange has one deadline for everything.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    this.#client.on('disconnect', () => {
      if (this.occupant === null) onIdleClosed(this);
    });
  }

  /** Bytes that the present socket has received so far. */
  get bytesRead(): number {
    return this.#socket?.bytesRead ?? 0;
  }

  send(path: string, headers: string[], occupant: Occupant): void {
    this.occupant = occupant;
    this.#client.dispatch({ method: 'GET', path, headers, reset: !this.keep }, occupant);
  }

  free(): void {
    this.occupant = null;
    this.served++;
  }

  /** Ends the connection, whatever it is doing; a request that still waits for it fails as `aborted`. */
  destroy(): void {
    this.occupant = null;
    const fault = new EgressFault('aborted', 'the request was cancelled');
    this.#cancelled.abort(fault);
    this.#client.destroy(fault, ignore);
  }

  async #open(parts: ConnectorParts, callback: OpenCallback): Promise<void> {
    const { url, trust, connectTimeoutMs } = this.plan;
    const onStage = (stage: ConnectStage) => {
      this.stage = stage;
    };
    const opened = await openSocket(parts, {
      url,
      trust,
      connectTimeoutMs,
      signal: this.#cancelled.signal,
      onStage,
    }).then(
      socket => ({ socket, fault: null }),
      (error: unknown) => ({ socket: null, fault: faultOf(error, 'tcp') }),
    );
    if (opened.fault !== null) {
      callback(opened.fault, null);
      return;
    }
    const { socket } = opened;
    this.#socket = socket;
    this.served = 0;
    this.remoteAddress = socket.remoteAddress ?? '';
    socket.on('readable', () => this.occupant?.onWireBytes(socket.bytesRead));
    callback(null, socket);
  }
}

type OpenCallback = (...result: [null, Socket] | [Error, null]) => void;

const ignore = () => undefined;
