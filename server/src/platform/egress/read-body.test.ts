import { describe, expect, it } from 'vitest';
import { BodyReader } from './read-body.ts';

describe('a body reader', () => {
  it('joins what came, up to the last byte allowed', () => {
    const reader = new BodyReader(6);
    expect(reader.start({ 'content-length': '6', 'content-encoding': 'Identity' })).toBeNull();
    expect(reader.push(Buffer.from('abc'))).toBeNull();
    expect(reader.push(Buffer.from('def'))).toBeNull();
    expect(reader.end().toString()).toBe('abcdef');
    expect(new BodyReader(6).end()).toHaveLength(0);
  });

  it('refuses an announced length before a byte of it came', () => {
    expect(new BodyReader(6).start({ 'content-length': '7' })).toMatchObject({ reason: 'too_large' });
  });

  it('refuses the first byte beyond the limit, and keeps nothing', () => {
    const reader = new BodyReader(6);
    expect(reader.push(Buffer.from('abcdef'))).toBeNull();
    expect(reader.push(Buffer.from('g'))).toMatchObject({ reason: 'too_large' });
  });

  it.each(['gzip', 'br', 'deflate', 'zstd', 'gzip, identity', 'x-anything', ''])(
    'refuses a body in %j',
    encoding => {
      expect(new BodyReader(6).start({ 'content-encoding': encoding })).toMatchObject({
        reason: 'bad_encoding',
      });
    },
  );

  it('refuses a body in several encodings', () => {
    const headers = { 'content-encoding': ['identity', 'gzip'] };
    expect(new BodyReader(6).start(headers)).toMatchObject({ reason: 'bad_encoding' });
  });
});
