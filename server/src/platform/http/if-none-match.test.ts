import { expect, it } from 'vitest';
import { okUnlessKnown } from './if-none-match.ts';

const text = '{"a":1}';
const known = (header: string | string[] | undefined): number => {
  const reply = okUnlessKnown(header === undefined ? {} : { 'if-none-match': header }, text);
  return 'status' in reply ? reply.status : 0;
};
const first = okUnlessKnown({}, text);
const etag = 'headers' in first ? (first.headers?.['etag'] ?? '') : '';
const strong = etag.slice('W/'.length);

it('sends the text with a tag of it, and another tag for another text', () => {
  expect(first).toMatchObject({ status: 200, json: { jsonText: text } });
  expect(etag).toMatch(/^W\/"[\w-]{22}"$/);
  expect(okUnlessKnown({}, '{"a":2}')).not.toMatchObject({ headers: { etag } });
});

it.each([
  ['the tag', etag, 304],
  ['the tag as a strong one', strong, 304],
  ['the tag among others', `"x,y", ${etag}`, 304],
  ['whatever there is', '*', 304],
  ['nothing', undefined, 200],
  ['another tag', '"x"', 200],
  ['the tag within another', `"x${strong.slice(1)}`, 200],
  ['no tag at all', strong.slice(1, -1), 200],
])('answers %s', (_what, header, status) => {
  expect(known(header)).toBe(status);
});
