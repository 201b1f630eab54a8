import { connect, type Socket } from 'node:net';

const HEAD_END = Buffer.from('\r\n\r\n');

/** What came back: the status and the length of the body. */
export type Answer = { status: number; bodyBytes: number };
export type Answered = (error: Error | undefined, answer?: Answer) => void;

export type LineOptions = { host: string; port: number; path: string; token: string };

/**
 * One keep-alive connection over node:net with the least HTTP that can tell a whole answer: the floor for any
 * client in this runtime. At most one request is on it at a time. It understands only answers with a
 * Content-Length, and is no HTTP client for the world outside.
 */
export class Line {
  readonly #socket: Socket;
  readonly #request: string;
  /** The head as far as it has arrived; undefined while the body is counted. */
  #head: Buffer | undefined;
  #answer: Answer | undefined;
  #missingBytes = 0;
  #answered: Answered | undefined;

  constructor({ host, port, path, token }: LineOptions) {
    this.#request = `GET ${path} HTTP/1.1\r\nHost: ${host}:${port}\r\nAuthorization: Bearer ${token}\r\n\r\n`;
    this.#socket = connect({ host, port, noDelay: true });
    this.#socket.on('data', chunk => this.#read(chunk));
    this.#socket.on('error', error => this.#finish(error));
    this.#socket.on('close', () => this.#finish(new Error('The connection was closed')));
  }

  /** Sends the request again. The answer before must have come. */
  ask(answered: Answered): void {
    this.#answered = answered;
    this.#socket.write(this.#request, 'latin1');
  }

  close(): void {
    this.#socket.destroy();
  }

  #read(chunk: Buffer): void {
    if (this.#answer === undefined) this.#readHead(chunk);
    else this.#missingBytes -= chunk.length;
    if (this.#answer !== undefined && this.#missingBytes <= 0) this.#finish(undefined, this.#answer);
  }

  #readHead(chunk: Buffer): void {
    const received = this.#head === undefined ? chunk : Buffer.concat([this.#head, chunk]);
    const headEnd = received.indexOf(HEAD_END);
    if (headEnd === -1) {
      this.#head = received;
      return;
    }
    const head = received.toString('latin1', 0, headEnd);
    const bodyBytes = contentLength(head);
    this.#head = undefined;
    if (bodyBytes === undefined) {
      this.#finish(new Error('The answer has no Content-Length'));
      return;
    }
    this.#answer = { status: Number(head.slice(9, 12)), bodyBytes };
    this.#missingBytes = bodyBytes - (received.length - headEnd - HEAD_END.length);
  }

  #finish(error: Error | undefined, answer?: Answer): void {
    const answered = this.#answered;
    this.#answered = undefined;
    this.#answer = undefined;
    answered?.(error, answer);
  }
}

// Servers write it in one of these two ways.
function contentLength(head: string): number | undefined {
  for (const name of ['Content-Length: ', 'content-length: ']) {
    const at = head.indexOf(name);
    if (at !== -1) return Number.parseInt(head.slice(at + name.length), 10);
  }
  return undefined;
}
