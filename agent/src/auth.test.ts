import { expect, test } from 'vitest';
import { bearer } from './auth.ts';

const token = 'correct-horse-battery-staple-0123456789';
const authenticate = bearer(token);

test('the token opens, and the name of the scheme may be written in any case', () => {
  expect(authenticate(`Bearer ${token}`)).toBe(true);
  expect(authenticate(`bearer ${token}`)).toBe(true);
});

test.each([
  ['no header', undefined],
  ['an empty header', ''],
  ['no token', 'Bearer '],
  ['another token', `Bearer ${token.replace('c', 'k')}`],
  ['a shorter token', `Bearer ${token.slice(0, -1)}`],
  ['a longer token', `Bearer ${token}0`],
  ['the token twice', `Bearer ${token} ${token}`],
  ['the token alone', token],
  ['another scheme', `Basic ${token}`],
])('%s does not', (_, header) => {
  expect(authenticate(header)).toBe(false);
});
