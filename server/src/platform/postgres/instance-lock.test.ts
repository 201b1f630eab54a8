import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { StartupError } from '../errors.ts';
import { acquireInstanceLock } from './instance-lock.ts';

let dataDir: string;

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'opsfleet-lock-'));
});

afterEach(async () => {
  await rm(dataDir, { recursive: true, force: true });
});

test('is for one holder at a time, also within one process', () => {
  const first = acquireInstanceLock(dataDir);
  expect(() => acquireInstanceLock(dataDir)).toThrow(StartupError);
  // Still held: a refused attempt must not have dropped the lock of its own process.
  expect(() => acquireInstanceLock(dataDir)).toThrow(StartupError);
  first.release();
  first.release();
  acquireInstanceLock(dataDir).release();
});

test('names the process that holds it, and vanishes with that process however it ends', async () => {
  const module = JSON.stringify(join(import.meta.dirname, 'instance-lock.ts'));
  const script = `
    import { acquireInstanceLock } from ${module};
    acquireInstanceLock(${JSON.stringify(dataDir)});
    console.log('held');
    setTimeout(() => undefined, 60_000);
  `;
  const holder = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(holder.stdout, 'data');
  expect(() => acquireInstanceLock(dataDir)).toThrow(
    `${dataDir} is in use by another opsfleet (process ${holder.pid})`,
  );

  holder.kill('SIGKILL');
  await once(holder, 'exit');
  acquireInstanceLock(dataDir).release();
});

test('says which file it cannot use', async () => {
  await writeFile(
    join(dataDir, 'instance.lock'),
    'not a lock file, but long enough to be looked into '.repeat(20),
  );
  expect(() => acquireInstanceLock(dataDir)).toThrow(
    `The lock file ${join(dataDir, 'instance.lock')} cannot be used`,
  );
});
