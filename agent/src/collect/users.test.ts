import { expect, test } from 'vitest';
import { fixture, fixtureBytes } from '../../test/fixtures.ts';
import { countAccounts, parseSessions, parseUtmp, readTotalUsers } from './users.ts';

const bytesOnX64 = 384;

test('utmp: each person once, without log-in prompts, ended sessions and those whose process is gone', () => {
  const users = parseUtmp(fixtureBytes('utmp-x86-64.bin'), bytesOnX64, pid => pid !== 999);
  expect(users).toEqual(new Set(['alice', 'bob']));
});

test('utmp: the longer records of arm64', () => {
  const records = fixtureBytes('utmp-x86-64.bin');
  const longer = Array.from({ length: records.length / bytesOnX64 }, (_, index) =>
    Buffer.concat([records.subarray(index * bytesOnX64, (index + 1) * bytesOnX64), Buffer.alloc(16)]),
  );
  expect(parseUtmp(Buffer.concat(longer), 400, () => true)).toEqual(new Set(['alice', 'bob', 'mallory']));
});

test('utmp: a record that is cut off is left out', () => {
  const cut = fixtureBytes('utmp-x86-64.bin').subarray(0, 4 * bytesOnX64 - 1);
  expect(parseUtmp(cut, bytesOnX64, () => true)).toEqual(new Set());
});

test.each([
  ['loginctl-systemd-252.txt', ['alice', 'bob']],
  ['loginctl-systemd-257.txt', ['alice', 'root']],
])('%s: people, not log-in screens and managers', (name, people) => {
  expect([...parseSessions(fixture(name))]).toEqual(people);
});

test('accounts of people are in the range of login.defs and have a shell', () => {
  const passwd = fixture('passwd-debian-12.txt');
  expect(countAccounts(passwd, 'UID_MIN\t\t\t 1000\nUID_MAX\t\t\t60000\n')).toBe(2);
  expect(countAccounts(passwd, 'UID_MIN 1001\n')).toBe(1);
  expect(countAccounts(passwd, '#UID_MIN 5000\nUID_MAX 80000\n')).toBe(3);
});

test('this machine has a number of accounts', async () => {
  expect(Number.isInteger(await readTotalUsers())).toBe(true);
});
