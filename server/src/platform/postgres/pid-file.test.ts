import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, describe, expect, test } from 'vitest';
import { isPostmasterOf, type PidFile, parsePidFile } from './pid-file.ts';

const lines = ['4711', '/data/pgdata', '1795478400', '5432', '/data/run', '', '  5472  1', 'ready   ', ''];

test('a complete postmaster.pid', () => {
  expect(parsePidFile(lines.join('\n'))).toEqual({
    pid: 4711,
    dataDir: '/data/pgdata',
    address: { host: '/data/run', port: 5432 },
    status: 'ready',
  });
});

test('one that is still being written has neither address nor status', () => {
  expect(parsePidFile('4711\n/data/pgdata\n1795478400\n')).toEqual({
    pid: 4711,
    dataDir: '/data/pgdata',
    address: undefined,
    status: undefined,
  });
});

test.each(['', '\n', '4711', '0\n/data/pgdata\n', '12x\n/data/pgdata\n'])('%j names no postmaster', text => {
  expect(parsePidFile(text)).toBeUndefined();
});

test('a stand-alone backend has its number with a minus', () => {
  expect(parsePidFile('-4711\n/data/pgdata\n')).toMatchObject({ pid: 4711, status: undefined });
});

describe.runIf(process.platform === 'linux')('a living process is the postmaster of a cluster', () => {
  let child: ChildProcess;

  /** A process that looks in /proc as if it were called by these words. */
  async function pretend(...[program = '', ...args]: string[]): Promise<PidFile> {
    child = spawn('/bin/sh', ['-c', 'read line', ...args], { argv0: program });
    await once(child, 'spawn');
    return { pid: child.pid ?? 0, dataDir: '/data/pgdata', address: undefined, status: undefined };
  }

  afterEach(() => child.kill('SIGKILL'));

  test.each([
    [['/bin/postgres', '0', '-D', '/data/pgdata'], true],
    [['/bin/postgres', '0', '-D', '/data/pgdata/'], true],
    [['postgres', '0', '-D', 'pgdata'], true],
    [['postgres', '0'], true],
    [['postgres', '0', '-D', '/other/pgdata'], false],
    [['postgres: checkpointer', '0'], false],
    [['vim', '0', '-D', '/data/pgdata'], false],
  ])('called %j: %s', async (words, expected) => {
    expect(await isPostmasterOf('/data/pgdata', await pretend(...words))).toBe(expected);
  });
});
