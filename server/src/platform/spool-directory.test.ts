import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StartupError } from './errors.ts';
import { createLog } from './log.ts';
import { openSpool } from './spool.ts';
import { claimSpoolDirectory, type SpoolDirectory, spoolFilesOf } from './spool-directory.ts';

let root: string;
const claimed: SpoolDirectory[] = [];
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'opsfleet-spool-'));
});
afterEach(async () => {
  for (const directory of claimed.splice(0)) directory.release();
  await rm(root, { recursive: true, force: true });
});

async function claim(): Promise<SpoolDirectory> {
  const directory = await claimSpoolDirectory(join(root, 'spool'));
  claimed.push(directory);
  return directory;
}
const open = async (directory: SpoolDirectory) =>
  (
    await openSpool({
      files: spoolFilesOf(directory.path),
      queues: ['history'],
      limitBytes: 1_000_000,
      segmentBytes: 9,
      now: () => new Date('2026-11-02T00:00:00Z'),
      log: createLog({ level: 'silent' }),
    })
  ).queue('history');
async function fill(directory: SpoolDirectory, ...texts: string[]): Promise<void> {
  const queue = await open(directory);
  for (const text of texts) await queue.append([Buffer.from(text)]);
}
async function left(directory: SpoolDirectory): Promise<string[]> {
  const queue = await open(directory);
  const texts: string[] = [];
  for (let found = await queue.peek(); found !== null; found = await queue.peek()) {
    texts.push(Buffer.from(found).toString());
    await queue.drop();
  }
  return texts;
}

describe('a spool directory', () => {
  it('is for one at a time, and comes back with what is in it', async () => {
    const [first, second] = [await claim(), await claim()];
    expect(second.path).not.toBe(first.path);
    await fill(first, 'a', 'b');
    first.release();
    const again = await claim();
    expect(again.path).toBe(first.path);
    expect(await left(again)).toEqual(['a', 'b']);
    expect(await readdir(again.path)).toEqual(['lock']);
  });

  it('takes over what all dead owners left, each in its order', async () => {
    const [first, second, third] = [await claim(), await claim(), await claim()] as const;
    await fill(first, 'a1', 'a2');
    await fill(second, 'b1', 'b2');
    await fill(third, 'c1');
    first.release();
    second.release();
    const next = await claim();
    expect(await left(next)).toEqual(['a1', 'a2', 'b1', 'b2']);
    expect(await left(third)).toEqual(['c1']);
  });

  it('is free as soon as its owner was killed', async () => {
    const module = JSON.stringify(join(import.meta.dirname, 'spool-directory.ts'));
    const script = `
      import { claimSpoolDirectory } from ${module};
      console.log((await claimSpoolDirectory(${JSON.stringify(join(root, 'spool'))})).path);
      setTimeout(() => undefined, 60_000);
    `;
    const owner = spawn(process.execPath, ['--input-type=module', '--eval', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const path = String((await once(owner.stdout, 'data'))[0]).trim();
    expect((await claim()).path).not.toBe(path);
    owner.kill('SIGKILL');
    await once(owner, 'exit');
    expect((await claim()).path).toBe(path);
  });

  it('is readable by its owner alone, with its files', async () => {
    const directory = await claim();
    await fill(directory, 'a');
    const modes = await Promise.all(
      [directory.path, ...(await readdir(directory.path)).map(name => join(directory.path, name))].map(
        async path => (await stat(path)).mode & 0o077,
      ),
    );
    expect(modes).toEqual([0, 0, 0]);
  });

  it('says which one cannot be used', async () => {
    await writeFile(join(root, 'spool'), '');
    await expect(claim()).rejects.toThrow(StartupError);
    await expect(claim()).rejects.toThrow(`The spool directory ${join(root, 'spool')} cannot be used`);
  });
});
