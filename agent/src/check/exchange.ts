import { connect } from 'node:net';

/** Where a local program listens: TCP, or a Unix socket. */
export type Address = { host: string; port: number } | { path: string };

/** `answer` as `read` understood it, or the reason why there is none. */
export type Exchange<Answer> = { answer: Answer } | { unanswered: string };

type Options<Answer> = {
  request: Buffer;
  /** Called with all bytes so far; returns undefined to wait for more. */
  read(received: Buffer): Answer | undefined;
  timeoutMs: number;
};

// The longest answer a check waits for is one error message.
const maxAnswerBytes = 8 * 1024;

/**
 * Connects, sends `request`, and reads until the answer is understood. Never rejects: a peer that refuses,
 * says nothing, hangs up or talks without end is unanswered, in at most `timeoutMs` and 8 KiB.
 */
export function exchange<Answer>(address: Address, options: Options<Answer>): Promise<Exchange<Answer>> {
  return new Promise(resolve => {
    const socket = connect(address);
    let received = Buffer.alloc(0);
    const timer = setTimeout(
      () => finish({ unanswered: `no answer in ${options.timeoutMs} ms` }),
      options.timeoutMs,
    );

    function finish(result: Exchange<Answer>): void {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    }
    socket.on('connect', () => socket.write(options.request));
    socket.on('error', error => finish({ unanswered: error.message }));
    socket.on('close', () => finish({ unanswered: 'closed the connection without an answer' }));
    socket.on('data', (bytes: Buffer) => {
      received = Buffer.concat([received, bytes]);
      const answer = options.read(received);
      if (answer !== undefined) finish({ answer });
      else if (received.length > maxAnswerBytes)
        finish({ unanswered: `answered more than ${maxAnswerBytes} bytes` });
    });
  });
}
