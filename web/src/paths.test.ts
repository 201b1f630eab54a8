import { expect, test } from 'vitest';
import { home, returnPath } from './paths.ts';

test.each(['/servers', '/servers/1?x=1', '/servers/new'])('%s is returned to', path => {
  expect(returnPath(path)).toBe(path);
});

test.each([
  undefined,
  7,
  '',
  'servers',
  '/sign-in',
  '/sign-in?next=/servers',
  '//evil.example',
  '/\\evil.example',
  'https://evil.example/servers',
  'javascript:alert(1)',
  `/${'x'.repeat(2001)}`,
])('%j leads home instead', text => {
  expect(returnPath(text)).toBe(home);
});
