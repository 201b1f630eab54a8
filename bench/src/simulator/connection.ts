import type { Socket } from 'node:net';
import type { Fleet } from './fleet.ts';
import { type Head, type Kind, type Parsed, parseHead } from './request.ts';

/** `kind` is set for the checks that the ledger counts; the others are refused with `status`. */
type Exchange = { kind: Kind; keepAlive: boolean } | { status: number; keepAlive: boolean };

/** More unanswered requests than this on one connection is no client the simulator is for. */
const MAX_PIPELINED = 64;

const REFUSALS: Record<Exclude<Parsed, 'complete' | 'partial'>, number> = {
  malformed: 400,
  method_not_allowed: 405,
  too_large: 431,
};

// One for the process: it is read before the next request is parsed.
const head: Head = { end: 0, kind: 'other', tokenStart: 0, tokenEnd: 0, keepAlive: true };

/**
 * One client connection to one simulated server: HTTP/1.1 with keep-alive and pipelining. Every request in
 * the bytes at hand is entered in the ledger before the first is answered, so that pipelined checks count
 * as overlapping, and answers keep the order of the requests.
 */
export class Connection {
  /** The server's place in the simulator. */
  readonly place: number;
  readonly #raw: Socket;
  readonly #socket: Socket;
  readonly #fleet: Fleet;
  readonly #waiting: Exchange[] = [];
  #unparsed: Buffer | undefined;
  #delay: NodeJS.Timeout | undefined;
  /** No further request is read: the last one asked for the end, or was refused. */
  #ending = false;
  #silent = false;

  /** An accepted socket to the server at this place, and how it is secured where the fleet speaks TLS. */
  constructor(raw: Socket, fleet: Fleet, place: number) {
    this.#raw = raw;
    this.#socket = fleet.tls?.secure(raw, place) ?? raw;
    this.#fleet = fleet;
    this.place = place;
  }

  /** Begins to read. The connection looks after itself from here to its end, of which it tells. */
  open(onClosed: () => void): void {
    const socket = this.#socket;
    this.#fleet.traffic.connectionsAccepted++;
    this.#fleet.traffic.connectionsOpen++;
    this.#raw.setNoDelay(true);
    socket.on('data', chunk => this.#read(chunk));
    socket.on('drain', () => socket.resume());
    // The client may go away at any moment; 'close' follows and does what there is to do.
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      this.#closed();
      onClosed();
    });
  }

  /**
   * Ends the connection with RST. One that the client is already closing is only closed: a reset in the
   * middle of a shutdown fails in libuv and leaves a handle on which Node 24 spins for ever at its exit.
   */
  reset(): void {
    if (this.#socket.writableEnded || this.#socket.destroyed) this.#socket.destroy();
    else this.#raw.resetAndDestroy();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #read(chunk: Buffer): void {
    const buffer = this.#unparsed === undefined ? chunk : Buffer.concat([this.#unparsed, chunk]);
    let offset = 0;
    while (offset < buffer.length && !this.#ending) {
      const parsed = parseHead(buffer, offset, head);
      if (parsed === 'partial') break;
      this.#receive(parsed, buffer);
      offset = head.end;
    }
    this.#unparsed = offset < buffer.length && !this.#ending ? buffer.subarray(offset) : undefined;
    if (this.#waiting.length > MAX_PIPELINED) this.#socket.destroy();
    else if (this.#delay === undefined && !this.#silent) this.#answerNext();
  }

  #receive(parsed: Exclude<Parsed, 'partial'>, buffer: Buffer): void {
    if (parsed !== 'complete') {
      this.#ending = true;
      this.#waiting.push({ status: REFUSALS[parsed], keepAlive: false });
      return;
    }
    const { kind } = head;
    const keepAlive = head.keepAlive && !this.#fleet.closes;
    this.#ending = !keepAlive;
    if (!this.#fleet.isToken(this.place, buffer, head.tokenStart, head.tokenEnd)) {
      this.#waiting.push({ status: 401, keepAlive });
    } else if (kind === 'other') {
      this.#waiting.push({ status: 404, keepAlive });
    } else {
      this.#fleet.ledger.begin(this.place, kind);
      this.#waiting.push({ kind, keepAlive });
    }
  }

  #answerNext(): void {
    const exchange = this.#waiting[0];
    if (exchange === undefined) return;
    const delayMs = this.#fleet.delayMs(this.place);
    if (delayMs === 0) {
      this.#answer(exchange);
    } else {
      this.#delay = setTimeout(() => {
        this.#delay = undefined;
        this.#answer(exchange);
      }, delayMs);
    }
  }

  #answer(exchange: Exchange): void {
    if ('status' in exchange) {
      this.#write(exchange, exchange.status, '{"error":"refused"}');
      return;
    }
    const reaction = this.#fleet.react(this.place, exchange.kind);
    if (reaction === 'silence') {
      this.#silent = true;
    } else if (reaction === 'reset') {
      this.reset();
    } else {
      this.#fleet.ledger.finish(this.place, exchange.kind, reaction.status === 200);
      this.#write(exchange, reaction.status, reaction.body);
    }
  }

  #write(exchange: Exchange, status: number, body: string): void {
    this.#waiting.shift();
    this.#fleet.countAnswer(status);
    const response = this.#fleet.responses.write(status, body, exchange.keepAlive);
    if (!exchange.keepAlive) {
      this.#socket.end(response, 'latin1');
      return;
    }
    // A client that sends but does not read is not read from either, or its answers would fill our memory.
    if (!this.#socket.write(response, 'latin1')) this.#socket.pause();
    this.#answerNext();
  }

  #closed(): void {
    this.#fleet.traffic.connectionsOpen--;
    this.#fleet.traffic.unanswered += this.#waiting.length;
    clearTimeout(this.#delay);
    for (const exchange of this.#waiting) {
      if ('kind' in exchange) this.#fleet.ledger.finish(this.place, exchange.kind, false);
    }
    this.#waiting.length = 0;
  }
}
