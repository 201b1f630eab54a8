import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../clock.ts';
import { StartupError } from '../errors.ts';
import { createLog } from '../log.ts';
import { openDataDir } from './data-dir.ts';
import { makeScratch, replaceFiles, settle } from './settle.ts';

const log = createLog({ level: 'silent' });
const digest = 'ab'.repeat(32);
const at = new Date('2026-11-28T23:05:32.123Z');

let dataDir: string;

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'opsfleet-settle-'));
  await chmod(dataDir, 0o711);
});
afterEach(() => rm(dataDir, { recursive: true, force: true }));

async function put(root: string, files: Record<string, string>): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(join(root, path, '..'), { recursive: true });
    await writeFile(join(root, path), content);
  }
}

/** Every file of the data directory with its content, locks left out. */
async function files(): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const entry of await readdir(dataDir, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile() && entry.name !== 'opsfleet-data')
      found[path.slice(dataDir.length + 1)] = await readFile(path, 'utf8');
  }
  return found;
}

const open = () => openDataDir(dataDir, process.geteuid!());

const before = { 'pgdata/PG_VERSION': 'old', 'spool/1/a': 'old', 'master-key': 'kept' };
const restored = { 'pgdata/PG_VERSION': 'new', 'spool/1/b': 'new' };
const after = {
  'pgdata/PG_VERSION': 'new',
  'spool/1/b': 'new',
  'master-key': 'kept',
  'replaced-20261128T230532Z/pgdata/PG_VERSION': 'old',
  'replaced-20261128T230532Z/spool/1/a': 'old',
};

test('restored files take the place of the old ones, which are kept aside', async () => {
  const place = await open();
  await put(dataDir, before);
  const scratch = await makeScratch(dataDir);
  await put(scratch.files, restored);
  expect(await replaceFiles(place, scratch, { at, digest })).toEqual({
    digest,
    aside: join(dataDir, 'replaced-20261128T230532Z'),
  });
  await scratch.remove();
  expect(await files()).toEqual(after);
});

test('where nothing was, nothing is kept aside', async () => {
  const scratch = await makeScratch(dataDir);
  await put(scratch.files, restored);
  expect(await replaceFiles({ path: dataDir, uid: 0 }, scratch, { at, digest })).toEqual({
    digest,
    aside: null,
  });
  await scratch.remove();
  expect(await files()).toEqual(restored);
});

describe('a restore that was killed after it was decided is finished', () => {
  // Each step as `finish` takes it, for each name.
  const decided = `restored-20261128T230532Z-${digest}`;
  const aside = 'replaced-20261128T230532Z';
  const steps: [string, () => Promise<unknown>][] = (['pgdata', 'spool'] as const).flatMap(name => [
    [`making a place aside for ${name}`, () => mkdir(join(dataDir, aside), { recursive: true })],
    [`moving the old ${name} aside`, () => rename(join(dataDir, name), join(dataDir, aside, name))],
    [`putting the new ${name} in place`, () => rename(join(dataDir, decided, name), join(dataDir, name))],
  ]);

  test.each([...steps.keys(), steps.length])('killed after %i steps', async done => {
    const place = await open();
    await put(dataDir, before);
    await put(join(dataDir, decided), restored);
    for (const [, step] of steps.slice(0, done)) await step();
    expect(await settle(place, { clock: systemClock, log })).toEqual({ digest, aside: join(dataDir, aside) });
    expect(await files()).toEqual(after);
    expect(await settle(place, { clock: systemClock, log })).toBe(null);
    expect(await files()).toEqual(after);
  });
});

test('of two that were not finished it chooses none', async () => {
  const place = await open();
  for (const second of ['32', '33']) await mkdir(join(dataDir, `restored-20261128T2305${second}Z-${digest}`));
  await expect(settle(place, { clock: systemClock, log })).rejects.toThrow(StartupError);
});

test('what a killed process was unpacking goes, and what a living one unpacks stays', async () => {
  const place = await open();
  await put(dataDir, before);
  const ours = await makeScratch(dataDir);
  const script = `
    import { makeScratch } from ${JSON.stringify(join(import.meta.dirname, 'settle.ts'))};
    console.log((await makeScratch(${JSON.stringify(dataDir)})).path);
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [printed] = await once(child.stdout, 'data');
  const theirs = String(printed).trim();
  await put(theirs, { 'files/pgdata/PG_VERSION': 'half' });
  await settle(place, { clock: systemClock, log });
  expect(await readdir(join(theirs, 'files'))).toEqual(['pgdata']);
  child.kill('SIGKILL');
  await once(child, 'exit');
  await settle(place, { clock: systemClock, log });
  expect((await readdir(dataDir)).filter(name => name.startsWith('unpacked-'))).toEqual([
    ours.path.slice(dataDir.length + 1),
  ]);
  await ours.remove();
  expect(await files()).toEqual(before);
});
