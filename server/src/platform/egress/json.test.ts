import { describe, expect, it } from 'vitest';
import { isStorableText, maxJsonDepth, parseJson } from './json.ts';

const parse = (text: string) => parseJson(Buffer.from(text));
const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;

describe('parseJson', () => {
  it('returns the value of a document', () => {
    expect(parse('{"a":[1,null,"x",{"b":false}]}')).toEqual({
      ok: true,
      value: { a: [1, null, 'x', { b: false }] },
    });
    expect(parse(' 1.7976931348623157e308 ')).toEqual({ ok: true, value: Number.MAX_VALUE });
  });

  it('allows nesting up to the limit, and not one level more', () => {
    expect(parse(nested(maxJsonDepth))).toMatchObject({ ok: true });
    expect(parse(nested(maxJsonDepth + 1))).toMatchObject({ ok: false, reason: 'too_deep' });
    expect(parse('{"a":'.repeat(maxJsonDepth + 1))).toMatchObject({ ok: false, reason: 'too_deep' });
    expect(parse('['.repeat(5_000_000))).toMatchObject({ ok: false, reason: 'too_deep' });
  });

  it('does not count brackets in strings', () => {
    const text = JSON.stringify({ text: '[{"'.repeat(100), end: '\\' });
    expect(parse(text)).toMatchObject({ ok: true });
    expect(parse(`"\\"${'['.repeat(100)}"`)).toMatchObject({ ok: true });
    expect(parse(`"\\\\",${nested(maxJsonDepth + 1)}`)).toMatchObject({ ok: false, reason: 'too_deep' });
  });

  it('counts depth, not brackets', () => {
    expect(parse(`[${Array(1000).fill('[]').join(',')}]`)).toMatchObject({ ok: true });
  });

  it.each(['1e400', '-1e400', '{"a":[1,{"b":1e999}]}', '9'.repeat(400)])(
    'refuses a number beyond a double: %.20s',
    text => {
      expect(parse(text)).toMatchObject({ ok: false, reason: 'not_finite' });
    },
  );

  it.each([
    '',
    '{',
    'NaN',
    '{"a":NaN}',
    'Infinity',
    '{"a":undefined}',
    "{'a':1}",
    '[1,]',
    '{}{}',
    '\u{feff}{}',
    '<html>',
    '"unterminated',
    '"\\',
  ])('refuses what is not JSON: %j', text => {
    expect(parse(text)).toMatchObject({ ok: false, reason: 'not_json' });
  });

  it('refuses bytes that are not UTF-8', () => {
    expect(parseJson(Buffer.from([0x22, 0xff, 0x22]))).toMatchObject({ ok: false, reason: 'not_utf8' });
    expect(parseJson(Buffer.from('"\u00e9"', 'latin1'))).toMatchObject({ ok: false, reason: 'not_utf8' });
  });

  it('takes the last of duplicate keys, and __proto__ for a key like any other', () => {
    expect(parse('{"a":1,"a":2}')).toEqual({ ok: true, value: { a: 2 } });
    const result = parse('{"__proto__":{"polluted":true}}');
    expect(result.ok && Object.keys(result.value as object)).toEqual(['__proto__']);
    expect(Reflect.get({}, 'polluted')).toBeUndefined();
  });
});

describe('isStorableText', () => {
  it('refuses what PostgreSQL refuses', () => {
    expect(isStorableText('café 👍')).toBe(true);
    expect(isStorableText('')).toBe(true);
    expect(isStorableText('a\0b')).toBe(false);
    expect(isStorableText('\ud800')).toBe(false);
    expect(isStorableText('\udc00\ud800')).toBe(false);
  });
});
