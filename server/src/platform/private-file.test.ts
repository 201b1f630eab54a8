import { chmod, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createPrivateFile, readPrivateFile, replacePrivateFile } from './private-file.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'opsfleet-private-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));
const at = (name: string) => join(directory, name);

it('is readable by its owner alone, and nothing else is left beside it', async () => {
  expect(await createPrivateFile(at('secret'), 'one')).toBe(true);
  expect((await stat(at('secret'))).mode & 0o777).toBe(0o600);
  expect(await readPrivateFile(at('secret'))).toBe('one');
  expect(await readdir(directory)).toEqual(['secret']);
});

it('is written once, by whoever comes first', async () => {
  const texts = Array.from({ length: 8 }, (_value, index) => `text ${index}`);
  const wrote = await Promise.all(texts.map(text => createPrivateFile(at('secret'), text)));
  expect(wrote.filter(Boolean)).toHaveLength(1);
  expect(await readPrivateFile(at('secret'))).toBe(texts[wrote.indexOf(true)]);
  expect(await readdir(directory)).toEqual(['secret']);
});

it('can be replaced whole', async () => {
  await createPrivateFile(at('port'), '1');
  await replacePrivateFile(at('port'), '2');
  expect(await readPrivateFile(at('port'))).toBe('2');
  expect(await readdir(directory)).toEqual(['port']);
});

it('is not read when others can read it too, when it is no file, and when it is too large', async () => {
  expect(await readPrivateFile(at('missing'))).toBeNull();
  await writeFile(at('open'), 'x');
  await chmod(at('open'), 0o644);
  await expect(readPrivateFile(at('open'), 'the key')).rejects.toThrow(/^the key can be used by other users/);
  await expect(readPrivateFile(directory)).rejects.toThrow('is not a file');
  await writeFile(at('large'), 'x'.repeat(5_000), { mode: 0o600 });
  await expect(readPrivateFile(at('large'))).rejects.toThrow('larger than 4096 bytes');
});

it('leaves nothing behind where it cannot be put', async () => {
  await writeFile(at('file'), '');
  await expect(createPrivateFile(join(at('file'), 'secret'), 'x')).rejects.toThrow('cannot be written');
  expect(await readdir(directory)).toEqual(['file']);
});
