import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { maxHeaderBytes, type ParsedResponse, ResponseParser } from './response-parser.ts';

const limit = 64;

/** What becomes of the pieces, and then of the end of the connection; and whether it could be used again. */
function parse(pieces: readonly Buffer[], maxBodyBytes = limit): ParsedResponse {
  const parser = new ResponseParser(maxBodyBytes);
  for (const [index, piece] of pieces.entries()) {
    // As sockets hand it over: the bytes lie at the front of something larger, full of what came before.
    const bytes = Buffer.concat([piece, Buffer.from('stale\r\n\r\n')]);
    const result = parser.push(bytes, piece.length);
    bytes.fill('#');
    if (result === null) continue;
    // What comes after the answer makes the connection unfit, in the same piece or in a later one.
    const more = pieces.slice(index + 1).some(each => each.length > 0);
    return result.ok && more ? { ...result, keep: false } : result;
  }
  return parser.end();
}

const answer = (text: string, maxBodyBytes?: number): ParsedResponse =>
  parse([Buffer.from(text, 'latin1')], maxBodyBytes);

const refusal = (text: string): string => {
  const result = answer(text);
  return result.ok ? `ok: ${result.body.toString()}` : result.reason;
};

const body = (text: string): string => {
  const result = answer(text);
  return result.ok ? result.body.toString() : `${result.reason}: ${result.detail}`;
};

const ok = 'HTTP/1.1 200 OK\r\n';
const chunked = `${ok}Transfer-Encoding: chunked\r\n\r\n`;

describe('a complete answer', () => {
  it('has a status, a body of the announced length and a head for those who ask', () => {
    expect(answer(`HTTP/1.1 503 Busy\r\ncontent-LENGTH:2 \t\r\nX: 1\r\n\r\n{}`)).toEqual({
      ok: true,
      status: 503,
      head: 'HTTP/1.1 503 Busy\r\ncontent-LENGTH:2 \t\r\nX: 1\r\n',
      body: Buffer.from('{}'),
      keep: true,
      idleMs: null,
    });
  });

  it.each([
    ['without a reason phrase', 'HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n{}', '{}'],
    ['with an empty one', 'HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\n{}', '{}'],
    ['of the largest size', `${ok}Content-Length: 64\r\n\r\n${'x'.repeat(64)}`, 'x'.repeat(64)],
    ['of no bytes', `${ok}Content-Length: 0\r\n\r\n`, ''],
    ['with its length said twice', `${ok}Content-Length: 2\r\nContent-Length: 02\r\n\r\n{}`, '{}'],
    ['until the connection ends', `${ok}\r\nabc`, 'abc'],
    ['204, whatever length it claims', 'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello', ''],
    ['in chunks', `${chunked}3\r\nabc\r\n0A\r\n0123456789\r\n0\r\n\r\n`, 'abc0123456789'],
    ['with extensions and trailers', `${chunked}1;a="b"\r\nx\r\n00 ;c\r\nX-Sum: 1\r\n\r\n`, 'x'],
    [
      'after interim answers',
      `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\n${ok}\r\nx`,
      'x',
    ],
    ['after as many as there may be', `${'HTTP/1.1 103 x\r\n\r\n'.repeat(8)}${ok}\r\nx`, 'x'],
    ['explicitly not encoded', `${ok}Content-Encoding: Identity\r\nContent-Length: 1\r\n\r\nx`, 'x'],
  ])('%s', (_name, text, expected) => {
    expect(body(text)).toBe(expected);
  });

  it.each([
    ['HTTP/1.1', `${ok}Content-Length: 0\r\n\r\n`, true],
    ['HTTP/1.1 that closes', `${ok}Content-Length: 0\r\nConnection: x, Close\r\n\r\n`, false],
    ['HTTP/1.0', 'HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n', false],
    ['HTTP/1.0 that stays', 'HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n\r\n', true],
    ['further bytes', `${ok}Content-Length: 0\r\n\r\n!`, false],
    ['no length', `${ok}\r\n`, false],
  ])('leaves the connection fit for another request or not: %s', (_name, text, keep) => {
    expect(answer(text)).toMatchObject({ ok: true, keep });
  });

  it('may say how long the server keeps the connection', () => {
    const says = (value: string) => answer(`${ok}Keep-Alive: ${value}\r\nContent-Length: 0\r\n\r\n`);
    expect(says('timeout=5')).toMatchObject({ idleMs: 5_000 });
    expect(says('max=100, Timeout=72')).toMatchObject({ idleMs: 72_000 });
    expect(says('300')).toMatchObject({ idleMs: null });
  });
});

describe('what is refused', () => {
  const field = (line: string, rest = 'Content-Length: 2\r\n\r\n{}') => `${ok}${line}\r\n${rest}`;

  it.each([
    ['another protocol, by its first bytes', 'SSH-2.0'],
    ['another version', 'HTTP/1.2 200 OK\r\n\r\n'],
    ['a status of two digits', 'HTTP/1.1 20 OK\r\n\r\n'],
    ['a status of four digits', 'HTTP/1.1 2000 OK\r\n\r\n'],
    ['a status below 100', 'HTTP/1.1 099 OK\r\n\r\n'],
    ['an empty line first', `\r\n${ok}\r\n`],
    ['lines ended by LF alone', 'HTTP/1.1 200 OK\nContent-Length: 0\n\n'],
    ['a bare CR', field('A: b\rC: d')],
    ['NUL', field('A: \0')],
    ['DEL', field('A: \x7f')],
    ['a folded field', field('A: b\r\n c')],
    ['a field without a colon', field('A b')],
    ['a field without a name', field(': b')],
    ['space before the colon', field('Content-Length : 2')],
    ['lengths that differ', field('Content-Length: 3')],
    ['a list of lengths', field('Content-Length: 2, 2', '\r\n{}')],
    ['a negative length', field('Content-Length: -1', '\r\n{}')],
    ['a signed length', field('Content-Length: +2', '\r\n{}')],
    ['a length in hexadecimal', field('Content-Length: 0x2', '\r\n{}')],
    ['no length after all', field('Content-Length:', '\r\n{}')],
    ['a length beyond 64 bits', field(`Content-Length: ${'9'.repeat(20)}`, '\r\n{}')],
    ['a length and chunks', field('Transfer-Encoding: chunked')],
    ['chunks twice', field('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked', '\r\n')],
    ['another transfer coding', field('Transfer-Encoding: gzip, chunked', '\r\n')],
    ['chunks in HTTP/1.0', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['a chunk size that is no number', `${chunked}zz\r\n`],
    ['no chunk size', `${chunked}\r\n`],
    ['a chunk size with a prefix', `${chunked}0x1\r\n`],
    ['a chunk size with a space after it', `${chunked}1 \r\nx\r\n`],
    ['a chunk size beyond 64 bits', `${chunked}${'f'.repeat(17)}\r\n`],
    ['a chunk longer than its size', `${chunked}1\r\nxy\r\n`],
    ['a chunk ended by LF alone', `${chunked}1\r\nx\n`],
    ['a trailer that is no field', `${chunked}0\r\nnonsense\r\n\r\n`],
    ['a change of protocol', 'HTTP/1.1 101 Switching\r\n\r\n'],
    ['a ninth interim answer', 'HTTP/1.1 103 x\r\n\r\n'.repeat(9)],
  ])('as malformed: %s', (_name, text) => {
    expect(refusal(text)).toBe('bad_response');
  });

  it.each([
    ['a body one byte over the limit', `${ok}\r\n${'x'.repeat(65)}`],
    ['a length over the limit, before a byte of it', `${ok}Content-Length: 65\r\n\r\n`],
    ['a length that no double holds', `${ok}Content-Length: ${'9'.repeat(19)}\r\n\r\n`],
    ['a chunk over the limit', `${chunked}41\r\n`],
    ['chunks over the limit together', `${chunked}40\r\n${'x'.repeat(64)}\r\n1\r\n`],
    ['a head without end', `${ok}A: ${'x'.repeat(maxHeaderBytes)}`],
    ['a head one byte over the limit', `${ok}A: ${'x'.repeat(maxHeaderBytes - 23)}\r\n\r\n`],
    ['an extension without end', `${chunked}1;${'x'.repeat(maxHeaderBytes + 16)}`],
    ['trailers without end', `${chunked}0\r\n${'A: b\r\n'.repeat(maxHeaderBytes / 6 + 2)}`],
  ])('as too large: %s', (_name, text) => {
    expect(refusal(text)).toBe('too_large');
  });

  it('only beyond the limit of the head', () => {
    const longest = `${ok}A: ${'x'.repeat(maxHeaderBytes - 24)}\r\n\r\n`;
    expect(longest).toHaveLength(maxHeaderBytes);
    expect(answer(longest)).toMatchObject({ ok: true });
  });

  it('as too large: much wire for little body', () => {
    const text = `${chunked}${'00000001;x\r\n \r\n'.repeat(20_000)}`;
    const result = answer(text, 20_000);
    expect(result).toMatchObject({ ok: false, reason: 'too_large' });
  });

  it.each(['gzip', 'br', 'identity, gzip', 'x-anything', ''])('a body in %j', encoding => {
    expect(refusal(field(`Content-Encoding: ${encoding}`))).toBe('bad_encoding');
    expect(refusal(field(`Content-Encoding: identity\r\nContent-Encoding: ${encoding}`))).toBe(
      'bad_encoding',
    );
  });

  it.each([301, 302, 304, 308])('%i: nobody is followed anywhere', status => {
    expect(refusal(`HTTP/1.1 ${status} x\r\nLocation: /\r\n\r\n`)).toBe('redirect');
  });

  it.each([
    ['nothing', ''],
    ['half a head', `${ok}Content-`],
    ['half a body', `${ok}Content-Length: 9\r\n\r\n{`],
    ['half a chunk', `${chunked}9\r\nx`],
    ['no last chunk', `${chunked}1\r\nx\r\n`],
    ['half the trailers', `${chunked}0\r\nA: b\r\n`],
    ['only interim answers', 'HTTP/1.1 103 x\r\n\r\n'],
  ])('as cut off: %s', (_name, text) => {
    expect(refusal(text)).toBe('reset');
  });
});

describe('bytes in pieces', () => {
  it('has not begun before the first byte', () => {
    const parser = new ResponseParser(limit);
    expect(parser.started).toBe(false);
    expect(parser.push(Buffer.from('H'), 1)).toBeNull();
    expect(parser.started).toBe(true);
  });

  /** Cut at these places, in parts of their length. */
  const cut = (bytes: Buffer, places: readonly number[]): Buffer[] => {
    const ends = places.map(place => Math.floor(place * bytes.length)).toSorted((a, b) => a - b);
    return [...ends, bytes.length].map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
  };
  const places = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 12 });

  const eol = fc.constantFrom('\r\n', '\r\n', '\r\n', '\r\n', '\r\n', '\r\n', '\n', '\r');
  const line = fc.constantFrom(
    'Content-Length: 5',
    'Content-Length: 70',
    'Transfer-Encoding: chunked',
    'Connection: close',
    'Content-Encoding: identity',
    'Keep-Alive: timeout=9',
    'X-A: b',
    ' folded',
    `X-Long: ${'x'.repeat(9_000)}`,
  );
  const piece = fc.constantFrom(
    'HTTP/1.1 200 OK\r\n',
    'HTTP/1.0 200 OK\r\n',
    'HTTP/1.1 103 Early\r\nA: b\r\n\r\n',
    'HTTP/1.1 204 None\r\n',
    '\r\n',
    '\r\n\r\n',
    '5\r\nhello\r\n',
    '5;ext\r\nhello\r\n',
    '0\r\n\r\n',
    '0\r\nX: y\r\n\r\n',
    'hello',
    'x'.repeat(70),
  );
  const text = fc.oneof(
    // Mostly as it should be, so that the later stages are reached too.
    fc
      .tuple(
        fc.constantFrom('200 OK', '204 None', '301 Moved'),
        fc.array(line, { maxLength: 4 }),
        fc.array(piece),
      )
      .map(
        ([status, lines, rest]) =>
          `HTTP/1.1 ${status}\r\n${lines.map(each => `${each}\r\n`).join('')}\r\n${rest.join('')}`,
      ),
    fc
      .array(
        fc.oneof(
          piece,
          fc.tuple(line, eol).map(parts => parts.join('')),
        ),
      )
      .map(parts => parts.join('')),
    fc
      .array(fc.constantFrom('5\r\nhello\r\n', '1;a=b\r\nx\r\n', '0\r\n', 'A: b\r\n', '\r\n'))
      .map(parts => chunked + parts.join('')),
  );

  it('mean what they mean in one piece', () => {
    fc.assert(
      fc.property(text, places, (answer, at) => {
        const bytes = Buffer.from(answer, 'latin1');
        expect(parse(cut(bytes, at))).toEqual(parse([bytes]));
      }),
      { numRuns: 2_000 },
    );
  });

  it('mean the same one by one', () => {
    fc.assert(
      fc.property(text, answer => {
        const bytes = Buffer.from(answer.slice(0, 2_000), 'latin1');
        expect(parse(Array.from(bytes, byte => Buffer.from([byte])))).toEqual(parse([bytes]));
      }),
      { numRuns: 500 },
    );
  });

  it('have a result, whatever they are', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 400 }),
      fc
        .tuple(text, fc.uint8Array({ maxLength: 40 }))
        .map(([begin, noise]) => Buffer.concat([Buffer.from(begin), noise])),
    );
    fc.assert(
      fc.property(bytes, places, (noise, at) => {
        const result = parse(cut(Buffer.from(noise), at));
        if (result.ok) expect(result.body.length).toBeLessThanOrEqual(limit);
        else
          expect(['bad_response', 'too_large', 'bad_encoding', 'redirect', 'reset']).toContain(result.reason);
      }),
      { numRuns: 2_000 },
    );
  });

  it('are put together, however many there are', () => {
    const head = `${ok}${'A: b\r\n'.repeat(2_000)}\r\n{}`;
    const bytes = Buffer.from(head);
    const result = parse(Array.from(bytes, byte => Buffer.from([byte])));
    expect(result.ok && result.body.toString()).toBe('{}');
  });
});
