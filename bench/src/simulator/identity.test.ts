import { describe, expect, it } from 'vitest';
import { addressOf, indexOf, MAX_SERVERS, TOKEN_LENGTH, targetOf, tokenOf } from './identity.ts';

describe('addressOf', () => {
  it.each([
    [0, '127.1.0.1'],
    [254, '127.1.0.255'],
    [255, '127.1.1.0'],
    [65_535, '127.2.0.0'],
    [MAX_SERVERS - 1, '127.16.66.64'],
  ])('gives server %i the address %s', (index, address) => {
    expect(addressOf(index)).toBe(address);
    expect(indexOf(address)).toBe(index);
  });

  it.each(['127.0.0.1', '127.1.0.0', '127.16.66.65', '127.255.255.255', '10.1.0.1', '::1', ''])(
    'gives %j to no server',
    address => {
      expect(indexOf(address)).toBeUndefined();
    },
  );
});

describe('tokenOf', () => {
  it('is the same for the same seed and index only', () => {
    const tokens = [tokenOf('x', 0), tokenOf('x', 1), tokenOf('y', 0)];
    expect(new Set(tokens).size).toBe(3);
    expect(tokenOf('x', 1)).toBe(tokens[1]);
    for (const token of tokens) expect(token).toHaveLength(TOKEN_LENGTH);
  });
});

describe('targetOf', () => {
  it('has a base URL without a trailing slash', () => {
    expect(targetOf({ seed: 'x', port: 7800, scheme: 'http' }, 1)).toEqual({
      index: 1,
      address: '127.1.0.2',
      url: 'http://127.1.0.2:7800',
      token: tokenOf('x', 1),
    });
  });
});
