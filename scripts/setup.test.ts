import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { adviceFor, missingPackages, webStamp } from './setup.mjs';
import { takeLock } from './setup-lock.mjs';

const platform = { os: 'linux', cpu: 'x64', libc: 'glibc' };

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'opsfleet-setup-test-'));
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

describe('what is missing', () => {
  const lock = {
    packages: {
      '': {},
      server: { version: '0.1.0' },
      'node_modules/@opsfleet/server': { resolved: 'server', link: true },
      'node_modules/pg': { version: '8.23.1' },
      'server/node_modules/pg-types': { version: '2.2.0' },
      'node_modules/vitest': { version: '5.1.1', dev: true },
    },
  };
  const { 'node_modules/vitest': _, ...withoutTests } = lock.packages;

  test('everything in a fresh clone, but for the tests what only they need too', () => {
    const none = { packages: {} };
    const toRun = ['node_modules/@opsfleet/server', 'node_modules/pg', 'server/node_modules/pg-types'];
    expect(missingPackages(lock, none, { mode: 'start', platform })).toEqual(toRun);
    expect(missingPackages(lock, none, { mode: 'test', platform })).toEqual([
      ...toRun,
      'node_modules/vitest',
    ]);
  });

  test('nothing to start after everything was installed for tests; the rest the other way round', () => {
    expect(missingPackages(lock, lock, { mode: 'start', platform })).toEqual([]);
    const installed = { packages: withoutTests };
    expect(missingPackages(lock, installed, { mode: 'start', platform })).toEqual([]);
    expect(missingPackages(lock, installed, { mode: 'test', platform })).toEqual(['node_modules/vitest']);
  });

  test('a package at another version, and a workspace linked elsewhere', () => {
    const installed = {
      packages: {
        ...lock.packages,
        'node_modules/pg': { version: '8.23.0' },
        'node_modules/@opsfleet/server': { resolved: 'old-server', link: true },
      },
    };
    expect(missingPackages(lock, installed, { mode: 'start', platform })).toEqual([
      'node_modules/@opsfleet/server',
      'node_modules/pg',
    ]);
  });

  test.each([
    ['for this platform', { os: ['linux'], cpu: ['x64'], libc: ['glibc'] }, true],
    ['for this platform, as plain strings', { os: 'linux', cpu: 'x64' }, true],
    ['for another system', { os: ['darwin'], cpu: ['x64'] }, false],
    ['for another processor', { os: ['linux'], cpu: ['arm64'] }, false],
    ['for another C library', { os: ['linux'], cpu: ['x64'], libc: ['musl'] }, false],
    ['for every system but one', { os: ['!win32'] }, true],
    ['for every system but this one', { os: ['!linux'] }, false],
    ['for any system', { os: ['any'] }, true],
    ['that names no platform', {}, false],
  ])('an optional package %s', (_name, restriction, needed) => {
    const packages = { 'node_modules/native': { version: '1.0.0', optional: true, ...restriction } };
    const missing = missingPackages({ packages }, { packages: {} }, { mode: 'start', platform });
    expect(missing).toEqual(needed ? ['node_modules/native'] : []);
  });
});

async function write(path: string, text: string): Promise<void> {
  await mkdir(join(directory, path, '..'), { recursive: true });
  await writeFile(join(directory, path), text);
}

describe('the stamp of the web app', () => {
  beforeEach(async () => {
    await write('package-lock.json', '{}');
    await write('server/openapi.json', '{}');
    await write('web/index.html', '<!doctype html>');
    await write('web/src/main.tsx', 'main');
    await write('sdk/src/client.ts', 'client');
  });

  test.each([
    'package-lock.json',
    'server/openapi.json',
    'web/index.html',
    'web/src/main.tsx',
    'web/src/distance.ts',
    'sdk/src/client.ts',
  ])('changes with %s', async path => {
    const before = webStamp(directory);
    await write(path, 'changed');
    expect(webStamp(directory)).not.toBe(before);
  });

  test('does not change with what is built, installed, or elsewhere, nor with the time', async () => {
    const before = webStamp(directory);
    await write('web/dist/index.html', 'built');
    await write('web/dist.partial-7/index.html', 'half built');
    await write('web/node_modules/react/index.js', 'react');
    await write('server/src/main.ts', 'server');
    await utimes(join(directory, 'web/index.html'), 0, 0);
    expect(webStamp(directory)).toBe(before);
  });

  test('tells a moved file and a moved boundary between two files apart', async () => {
    await write('web/src/a.ts', 'one');
    await write('web/src/b.ts', 'two');
    const before = webStamp(directory);
    await write('web/src/a.ts', 'onetwo');
    await write('web/src/b.ts', '');
    const shifted = webStamp(directory);
    await rm(join(directory, 'web/src/b.ts'));
    await write('web/src/c.ts', '');
    expect(new Set([before, shifted, webStamp(directory)]).size).toBe(3);
  });
});

describe('advice after a failed installation', () => {
  test.each([
    ['npm error code ECONNREFUSED', 'HTTPS_PROXY'],
    ['npm error code SELF_SIGNED_CERT_IN_CHAIN', 'HTTPS_PROXY'],
    ['npm error code E403', 'access token'],
    ["npm error code EACCES\nnpm error path '/root/.npm/_cacache'", 'npm cache'],
    ['npm error code ENOSPC', 'disk is full'],
    [
      'npm error `npm ci` can only install packages when your package.json and package-lock.json are in sync',
      'npm install',
    ],
    ['something new', 'npm ci --ignore-scripts'],
  ])('%j', (output, advice) => {
    expect(adviceFor(output)).toContain(advice);
  });
});

const lockDirectory = (): string => join(directory, 'lock');
const neverWait = (owner: string): void => expect.fail(`waited for ${owner}`);

describe('the lock', () => {
  test('is held by one at a time; the next one is told for whom it waits', async () => {
    const holder = spawn('sleep', ['60']);
    await once(holder, 'spawn');
    await mkdir(lockDirectory());
    await writeFile(join(lockDirectory(), String(holder.pid)), '');

    const told = Promise.withResolvers<string>();
    const taking = takeLock(lockDirectory(), told.resolve);
    expect(await told.promise).toBe(String(holder.pid));
    expect(await readdir(lockDirectory())).toEqual([String(holder.pid)]);
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    // Of a holder that is gone, what it left is taken over.
    const release = await taking;
    expect(await readdir(lockDirectory())).toEqual([String(process.pid)]);
    release();
    expect(await readdir(directory)).toEqual([]);
  });

  test('is taken where a kill left it empty, or in the name of our own number', async () => {
    await mkdir(lockDirectory());
    (await takeLock(lockDirectory(), neverWait))();
    await mkdir(lockDirectory());
    await writeFile(join(lockDirectory(), String(process.pid)), '');
    (await takeLock(lockDirectory(), neverWait))();
    expect(await readdir(directory)).toEqual([]);
  });
});
