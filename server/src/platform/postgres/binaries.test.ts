import { expect, test } from 'vitest';
import { parseLinks } from './binaries.ts';

test('the list of links is read as paths below the native directory', () => {
  const json = '[{"source":"native/lib/libpq.so.5.18","target":"native/lib/libpq.so.5"}]';
  expect(parseLinks(json)).toEqual([{ source: 'lib/libpq.so.5.18', target: 'lib/libpq.so.5' }]);
});

test.each([
  '{}',
  '[null]',
  '[{"source":"native/lib/a"}]',
  '[{"source":"native/lib/a","target":7}]',
  '[{"source":"native/lib/a","target":"native/../../etc/cron.d/a"}]',
  '[{"source":"/etc/shadow","target":"native/lib/a"}]',
])('a list that leads elsewhere or has another shape is refused: %s', json => {
  expect(() => parseLinks(json)).toThrow('pg-symlinks.json');
});
