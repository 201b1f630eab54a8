import type { Socket } from 'node:net';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import type { EgressReason } from '../../src/platform/egress/fault.ts';
import { type Beast, listen } from './listener.ts';
import { tlsZoo } from './tls-zoo.ts';

/**
 * A server that misbehaves. `expectEgress` is what `Egress.get` makes of it; where that is `ok`, the bytes are
 * fit to be read and the evaluator has to see through them.
 */
export type ZooEntry = { name: string; expectEgress: EgressReason | 'ok'; start(): Promise<Beast> };

/** Largest body that a caller should allow when it visits the zoo. */
export const zooBodyLimit = 64 * 1024;

type Behaviour = (socket: Socket) => void;

const bombBytes = 20 * 1024 * 1024;

/** How an answer begins. */
const ok = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n';

/** A complete answer around a body, with Content-Length unless the headers say something of their own. */
function answer(
  body: string | Buffer,
  headers = 'Content-Type: application/json',
  status = '200 OK',
): Behaviour {
  const bytes = Buffer.from(body);
  const head = `HTTP/1.1 ${status}\r\n${headers}\r\nContent-Length: ${bytes.length}\r\n\r\n`;
  return socket => socket.write(Buffer.concat([Buffer.from(head), bytes]));
}

/** A complete answer of so many bytes, in chunks of at most 4 KiB. */
function answerInChunks(bytes: number): Behaviour {
  const chunks = [];
  for (let left = bytes; left > 0; left -= 4096) {
    const size = Math.min(left, 4096);
    chunks.push(`${size.toString(16)}\r\n${' '.repeat(size)}\r\n`);
  }
  return raw(`${ok}Transfer-Encoding: chunked\r\n\r\n${chunks.join('')}0\r\n\r\n`);
}

/** Exactly these bytes, and the connection left open. */
const raw =
  (text: string): Behaviour =>
  socket =>
    socket.write(text, 'latin1');

/** Exactly these bytes, then the end of the connection. */
const rawThenClose =
  (text: string): Behaviour =>
  socket =>
    socket.end(text, 'latin1');

/** A beginning, then the same piece again and again for as long as the client takes it. */
const pour =
  (beginning: string, piece: string): Behaviour =>
  socket => {
    const chunk = Buffer.from(piece.repeat(Math.ceil(16_384 / piece.length)), 'latin1');
    const write = () => {
      while (!socket.destroyed && socket.write(chunk));
    };
    socket.on('drain', write);
    socket.write(beginning, 'latin1');
    write();
  };

/** One byte of a body each second, for ever. */
const drip: Behaviour = socket => {
  socket.write('HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n');
  const timer = setInterval(() => socket.write(' '), 1_000);
  socket.on('close', () => clearInterval(timer));
};

const onRequest: [string, EgressReason | 'ok', Behaviour][] = [
  // Size
  ['gzip bomb', 'bad_encoding', answer(gzipSync(Buffer.alloc(bombBytes)), 'Content-Encoding: gzip')],
  [
    'brotli bomb',
    'bad_encoding',
    answer(brotliCompressSync(Buffer.alloc(bombBytes)), 'Content-Encoding: br'),
  ],
  [
    'gzip after identity',
    'bad_encoding',
    answer('{}', 'Content-Encoding: identity\r\nContent-Encoding: gzip'),
  ],
  ['compressed, not said', 'ok', answer(gzipSync('{}'))],
  ['10 MB body', 'too_large', answer(Buffer.alloc(10 * 1024 * 1024, ' '))],
  ['one byte over the limit', 'too_large', answer(Buffer.alloc(zooBodyLimit + 1, ' '))],
  ['one byte over the limit, in chunks', 'too_large', answerInChunks(zooBodyLimit + 1)],
  ['exactly the limit, in chunks', 'ok', answerInChunks(zooBodyLimit)],
  ['announces 10 GB and sends nothing', 'too_large', raw(`${ok}Content-Length: 10000000000\r\n\r\n`)],
  ['exactly the limit', 'ok', answer(Buffer.alloc(zooBodyLimit, ' '))],
  [
    'chunked body without end',
    'too_large',
    pour(`${ok}Transfer-Encoding: chunked\r\n\r\n`, '1000\r\n' + ' '.repeat(4096) + '\r\n'),
  ],
  ['body until close, without end', 'too_large', pour(`${ok}Connection: close\r\n\r\n`, ' ')],
  ['body of one byte a second', 'timeout', drip],
  ['chunk extensions without end', 'too_large', pour(`${ok}Transfer-Encoding: chunked\r\n\r\n1;`, 'x')],
  [
    'chunks of one byte with extensions',
    'too_large',
    pour(`${ok}Transfer-Encoding: chunked\r\n\r\n`, `1;${'x'.repeat(1000)}\r\n \r\n`),
  ],
  ['headers without end', 'too_large', pour('HTTP/1.1 200 OK\r\n', 'X-More: and more\r\n')],
  [
    'one header of a megabyte',
    'too_large',
    raw(`HTTP/1.1 200 OK\r\nX-Long: ${'x'.repeat(1024 * 1024)}\r\n\r\n`),
  ],
  ['a header name without end', 'too_large', pour('HTTP/1.1 200 OK\r\nX', 'x')],
  [
    'trailers without end',
    'too_large',
    pour(`${ok}Transfer-Encoding: chunked\r\n\r\n0\r\n`, 'X-More: and more\r\n'),
  ],
  ['a reason phrase without end', 'too_large', pour('HTTP/1.1 200 ', 'x')],
  [
    'interim responses without end',
    'bad_response',
    pour('', 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'),
  ],
  ['continue, never asked for', 'bad_response', pour('', 'HTTP/1.1 100 Continue\r\n\r\n')],

  // Framing
  ['length too short', 'ok', raw(`${ok}Content-Length: 2\r\n\r\n{}{}{}{}{}`)],
  ['length too long', 'reset', rawThenClose(`${ok}Content-Length: 100\r\n\r\n{}`)],
  [
    'length too long, said to close',
    'reset',
    rawThenClose(`${ok}Connection: close\r\nContent-Length: 100\r\n\r\n{}`),
  ],
  ['two lengths', 'bad_response', raw(`${ok}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} `)],
  [
    'length and chunks',
    'bad_response',
    raw(`${ok}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`),
  ],
  ['negative length', 'bad_response', raw(`${ok}Content-Length: -1\r\n\r\n{}`)],
  ['length beyond 64 bits', 'bad_response', raw(`${ok}Content-Length: 99999999999999999999\r\n\r\n{}`)],
  [
    'chunk size that is no number',
    'bad_response',
    raw(`${ok}Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n`),
  ],
  [
    'chunk size beyond 64 bits',
    'bad_response',
    raw(`${ok}Transfer-Encoding: chunked\r\n\r\n${'f'.repeat(20)}\r\n{}`),
  ],
  ['header folded over lines', 'bad_response', raw(`${ok}X-A: 1\r\n 2\r\nContent-Length: 2\r\n\r\n{}`)],
  ['header with a NUL', 'bad_response', raw(`${ok}X-A: \0\r\nContent-Length: 2\r\n\r\n{}`)],
  ['two answers to one request', 'ok', raw(`${ok}Content-Length: 2\r\n\r\n{}`.repeat(2))],
  ['204 with a body', 'ok', raw('HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello')],
  ['HTTP/0.9', 'bad_response', rawThenClose('<html>hello</html>')],
  ['HTTP/2 preface', 'bad_response', raw('\0\0\u0012\u0004\0\0\0\0\0\0\u0003\0\0\0d\0\u0004\0\0\uffff\0')],
  ['garbage', 'bad_response', raw('\u0016\u0003\u0001\u00ff\u00fe'.repeat(100))],
  ['SSH banner', 'bad_response', raw('SSH-2.0-OpenSSH_9.6\r\n')],
  ['status 099', 'bad_response', raw('HTTP/1.1 099 Odd\r\nContent-Length: 2\r\n\r\n{}')],
  ['status 1000', 'bad_response', raw('HTTP/1.1 1000 Odd\r\nContent-Length: 2\r\n\r\n{}')],
  ['status that is no number', 'bad_response', raw('HTTP/1.1 OK\r\nContent-Length: 2\r\n\r\n{}')],
  [
    'switching protocols',
    'bad_response',
    raw('HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n'),
  ],

  // Connections
  ['close without a byte', 'reset', socket => socket.end()],
  ['close after the headers', 'reset', rawThenClose(`${ok}Content-Length: 100\r\n\r\n`)],
  ['close within the headers', 'reset', rawThenClose('HTTP/1.1 200 OK\r\nContent-')],
  ['reset after the request', 'reset', socket => socket.resetAndDestroy()],
  [
    'reset within the body',
    'reset',
    socket => socket.write(`${ok}Content-Length: 9\r\n\r\n{`, () => socket.resetAndDestroy()),
  ],
  ['never answers', 'timeout', () => undefined],
  ['stops within the headers', 'timeout', raw('HTTP/1.1 200 OK\r\nContent-')],

  // Redirects
  [
    'redirect to a metadata address',
    'redirect',
    answer('', 'Location: http://169.254.169.254/latest/meta-data/', '302 Found'),
  ],
  ['redirect to loopback', 'redirect', answer('', 'Location: http://127.0.0.1:22/', '301 Moved')],
  ['redirect to itself', 'redirect', answer('', 'Location: /', '307 Temporary Redirect')],
  ['redirect without a location', 'redirect', answer('', 'X-None: 1', '308 Permanent Redirect')],
  ['not modified', 'redirect', raw('HTTP/1.1 304 Not Modified\r\n\r\n')],

  // Content: fit for HTTP, for the evaluator to refuse
  ['arrays nested 20,000 deep', 'ok', answer('['.repeat(20_000) + ']'.repeat(20_000))],
  ['5 million nested arrays', 'too_large', answer('['.repeat(5_000_000))],
  ['1e400', 'ok', answer('{"cpu_percent":1e400}')],
  ['NaN', 'ok', answer('{"cpu_percent":NaN}')],
  ['duplicate keys', 'ok', answer('{"database":{"status":"ok"},"database":{"status":"down"}}')],
  ['__proto__', 'ok', answer('{"__proto__":{"status":"ok"},"constructor":{"prototype":{}}}')],
  ['HTML with 200', 'ok', answer('<!doctype html><title>Welcome</title>', 'Content-Type: text/html')],
  ['wrong content type', 'ok', answer('{"database":{"status":"ok"}}', 'Content-Type: image/png')],
  ['invalid UTF-8', 'ok', answer(Buffer.from([0x22, 0xc3, 0x28, 0xff, 0x22]))],
  ['NUL in a string', 'ok', answer('{"database":{"status":"o\\u0000k"}}')],
  ['lone surrogate in a string', 'ok', answer('{"database":{"status":"\\ud800"}}')],
  ['a list', 'ok', answer('[1,2,3]')],
  ['null component', 'ok', answer('{"database":null}')],
  ['integers of 20 digits', 'ok', answer('{"network_rx_bytes":99999999999999999999}')],
  ['negative numbers', 'ok', answer('{"cpu_percent":-5,"total_services":-1}')],
  ['numbers as text', 'ok', answer('{"cpu_percent":"12"}')],
  ['half a document', 'ok', answer('{"database":{"status":')],
  ['nothing', 'ok', answer('')],
  ['escape sequences for a terminal', 'ok', answer('{"database":{"status":"\\u001b]0;owned\\u0007"}}')],
  ['500 with a stack trace', 'ok', answer('Error: at /srv/app.js:1', 'Content-Type: text/plain', '500 Oops')],
];

const onConnection: [string, EgressReason | 'ok', Behaviour][] = [
  ['reset on accept', 'reset', socket => socket.resetAndDestroy()],
  ['close on accept', 'reset', socket => socket.end()],
  ['silent accept', 'timeout', () => undefined],
];

/** Every beast. Ask with `maxBodyBytes: zooBodyLimit` and a deadline of your own: some never answer. */
export const zoo: readonly ZooEntry[] = [
  ...onRequest.map(([name, expectEgress, behaviour]) => ({
    name,
    expectEgress,
    start: () => listen({ onRequest: behaviour }),
  })),
  ...onConnection.map(([name, expectEgress, behaviour]) => ({
    name,
    expectEgress,
    start: () => listen({ onConnection: behaviour }),
  })),
  ...tlsZoo,
];
