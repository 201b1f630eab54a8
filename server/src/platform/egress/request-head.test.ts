import { expect, it } from 'vitest';
import { createEgressPolicy } from './policy.ts';
import { requestHead } from './request-head.ts';
import { parseTargetUrl } from './url.ts';

const policy = createEgressPolicy({ purpose: 'poll', allow: ['::1/128'] });
const target = (text: string) => {
  const parsed = parseTargetUrl(text, policy);
  if (!parsed.ok) throw new Error(parsed.detail);
  return parsed.url;
};

it('is a request line, what we always say, the headers given, and an empty line', () => {
  expect(requestHead(target('https://A.example/ops?x=1'), { authorization: 'Bearer t' }, true)).toBe(
    'GET /ops?x=1 HTTP/1.1\r\nhost: a.example\r\nconnection: keep-alive\r\naccept-encoding: identity\r\n' +
      'authorization: Bearer t\r\n\r\n',
  );
  expect(requestHead(target('http://[::1]:8080'), {}, false)).toBe(
    'GET / HTTP/1.1\r\nhost: [::1]:8080\r\nconnection: close\r\naccept-encoding: identity\r\n\r\n',
  );
});

it.each([
  ['a line break', { a: 'canary\r\nX: 1' }],
  ['a NUL', { a: 'canary\0' }],
  // Cut down to one byte, these are CR and LF.
  ['characters beyond ISO 8859-1', { a: 'canary\u010d\u010aX: 1' }],
  ['a name with a colon', { 'a:canary': 'b' }],
  ['a name with a space', { 'a canary': 'b' }],
  ['no name', { '': 'canary' }],
])('refuses %s, and repeats nothing of it', (_name, headers) => {
  const act = () => requestHead(target('https://a.example'), headers, true);
  expect(act).toThrow('a header of the request is not allowed in HTTP');
  expect(act).not.toThrow('canary');
});
