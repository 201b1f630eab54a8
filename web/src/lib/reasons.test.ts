import { expect, test } from 'vitest';
import { explainReason } from './reasons.ts';

test('a known reason is a sentence', () => {
  expect(explainReason('timeout')).toBe('It did not answer in time');
});

test('an HTTP status is named', () => {
  expect(explainReason('http_503')).toBe('It answered with HTTP 503');
});

test.each([
  ['quota_spent', 'Quota spent'],
  ['constructor', 'Constructor'],
  ['', ''],
])('the unknown reason "%s" is shown as it is', (reason, text) => {
  expect(explainReason(reason)).toBe(text);
});
