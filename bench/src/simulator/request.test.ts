import { describe, expect, it } from 'vitest';
import { HEAD_LIMIT_BYTES, type Head, type Parsed, parseHead } from './request.ts';

function parse(text: string, offset = 0): { parsed: Parsed; head: Head; token: string } {
  const buffer = Buffer.from(text, 'latin1');
  const head: Head = { end: -1, kind: 'other', tokenStart: -1, tokenEnd: -1, keepAlive: false };
  const parsed = parseHead(buffer, offset, head);
  return { parsed, head, token: buffer.toString('latin1', head.tokenStart, head.tokenEnd) };
}

describe('parseHead', () => {
  it.each([
    ['/health', 'health'],
    ['/api/v1/metrics/current', 'metrics'],
    ['/healthz', 'other'],
    ['//health', 'other'],
    ['/', 'other'],
  ])('knows %s as %s', (path, kind) => {
    const { parsed, head } = parse(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
    expect(parsed).toBe('complete');
    expect(head.kind).toBe(kind);
  });

  it.each([
    'Authorization: Bearer abc',
    'AUTHORIZATION:Bearer abc',
    'authorization: \tbearer abc',
    'Accept: */*\r\nAuthorization: Bearer abc\r\nUser-Agent: x',
  ])('finds the token in %j', fields => {
    expect(parse(`GET /health HTTP/1.1\r\n${fields}\r\n\r\n`)).toMatchObject({
      parsed: 'complete',
      token: 'abc',
    });
  });

  it.each([
    'Host: a',
    'Authorization: Basic abc',
    'X-Authorization: Bearer abc',
    'Authorizations: Bearer abc',
  ])('finds no token in %j', field => {
    expect(parse(`GET /health HTTP/1.1\r\n${field}\r\n\r\n`)).toMatchObject({
      parsed: 'complete',
      token: '',
    });
  });

  it('keeps the connection unless the client asks for its end', () => {
    expect(parse('GET /health HTTP/1.1\r\n\r\n').head.keepAlive).toBe(true);
    expect(parse('GET /health HTTP/1.1\r\nConnection: keep-alive\r\n\r\n').head.keepAlive).toBe(true);
    expect(parse('GET /health HTTP/1.1\r\nConnection: Close\r\n\r\n').head.keepAlive).toBe(false);
  });

  it('begins at the offset and tells where the next request begins', () => {
    const first = 'GET /health HTTP/1.1\r\nConnection: close\r\n\r\n';
    const second = 'GET /api/v1/metrics/current HTTP/1.1\r\n\r\n';
    expect(parse(first + second).head).toMatchObject({ kind: 'health', end: first.length });
    expect(parse(first + second, first.length).head).toMatchObject({
      kind: 'metrics',
      end: first.length + second.length,
      keepAlive: true,
    });
  });

  it('waits for the rest of every unfinished head', () => {
    const whole = 'GET /health HTTP/1.1\r\nAuthorization: Bearer abc\r\n\r\n';
    for (let length = 0; length < whole.length; length++) {
      expect(parse(whole.slice(0, length)).parsed).toBe('partial');
    }
    expect(parse(whole).parsed).toBe('complete');
  });

  it.each([
    ['POST /health HTTP/1.1\r\n\r\n', 'method_not_allowed'],
    ['GET http://a/health HTTP/1.1\r\n\r\n', 'method_not_allowed'],
    ['GET /health HTTP/1.0\r\n\r\n', 'malformed'],
    ['nonsense\r\n\r\n', 'malformed'],
    ['\r\n\r\n', 'malformed'],
    ['GET /health HTTP/1.1\r\nContent-Length: 3\r\n\r\n', 'malformed'],
    ['GET /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n', 'malformed'],
  ])('refuses %j as %s', (text, parsed) => {
    expect(parse(text).parsed).toBe(parsed);
  });

  it('refuses a head beyond the limit, finished or not', () => {
    const long = `GET /health HTTP/1.1\r\nX: ${'x'.repeat(HEAD_LIMIT_BYTES)}`;
    expect(parse(long).parsed).toBe('too_large');
    expect(parse(`${long}\r\n\r\n`).parsed).toBe('too_large');
  });
});
