import { readFile } from 'node:fs/promises';
import { output } from '../command.ts';

// struct utmp of glibc: type at 0, process at 4, user name from 44. Where its times have 32 bits, so that
// 32-bit programs can read it too, a record has 384 bytes; on arm64, which has 64 bits there, 400.
const utmpRecordBytes = process.arch === 'arm64' ? 400 : 384;
const userProcess = 7;
const pidOffset = 4;
const userOffset = 44;
const userBytes = 32;

/** Different people logged in now; undefined where the machine keeps no record of it. */
export async function readActiveUsers(): Promise<number | undefined> {
  const utmp = await readFile('/run/utmp').catch(() => undefined);
  if (utmp !== undefined) return parseUtmp(utmp, utmpRecordBytes, isAlive).size;
  // Newer distributions have given utmp up: its 32-bit time ends in 2038. There, logind knows.
  const sessions = await output('loginctl', ['list-sessions', '--no-legend', '--no-pager']).catch(
    () => undefined,
  );
  return sessions === undefined ? undefined : parseSessions(sessions).size;
}

/** Accounts of people: those in /etc/passwd in the range for people that have a shell to log in with. */
export async function readTotalUsers(): Promise<number> {
  const loginDefs = await readFile('/etc/login.defs', 'utf8').catch(() => '');
  return countAccounts(await readFile('/etc/passwd', 'utf8'), loginDefs);
}

/** User names in utmp (utmp(5)). Sessions whose process is gone were not logged out properly. */
export function parseUtmp(utmp: Buffer, recordBytes: number, isAlive: (pid: number) => boolean): Set<string> {
  const users = new Set<string>();
  for (let start = 0; start + recordBytes <= utmp.length; start += recordBytes) {
    if (utmp.readInt16LE(start) !== userProcess || !isAlive(utmp.readInt32LE(start + pidOffset))) continue;
    const name = utmp.subarray(start + userOffset, start + userOffset + userBytes);
    const end = name.indexOf(0);
    if (end !== 0) users.add(name.toString('utf8', 0, end === -1 ? userBytes : end));
  }
  return users;
}

/**
 * User names in `loginctl list-sessions`: session, uid, user, and columns that differ by version. Left out
 * are log-in screens, which run as system accounts, and managers, which stay when a person has left.
 */
export function parseSessions(text: string): Set<string> {
  const users = new Set<string>();
  for (const line of text.split('\n')) {
    const [, uid = '', user, ...rest] = line.trim().split(/\s+/);
    const isPerson = uid === '0' || /^[1-9]\d{3,9}$/.test(uid);
    if (user !== undefined && isPerson && !rest.some(word => word.startsWith('manager'))) users.add(user);
  }
  return users;
}

/** Counts the accounts of people in passwd(5), by the range in login.defs(5). */
export function countAccounts(passwd: string, loginDefs: string): number {
  const limit = (name: string, fallback: number): number =>
    Number(new RegExp(`^\\s*${name}\\s+(\\d{1,10})\\b`, 'm').exec(loginDefs)?.[1] ?? fallback);
  const min = limit('UID_MIN', 1000);
  const max = limit('UID_MAX', 60_000);
  const accounts = passwd.matchAll(/^[^:\n]+:[^:\n]*:(\d{1,10}):[^:\n]*:[^:\n]*:[^:\n]*:([^:\n]*)$/gm);
  return [...accounts].filter(([, uid, shell = '']) => {
    // passwd(5): an empty shell means /bin/sh.
    const canLogIn = !/\/(nologin|false)$/.test(shell);
    return canLogIn && Number(uid) >= min && Number(uid) <= max;
  }).length;
}

function isAlive(pid: number): boolean {
  if (pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // It exists, and belongs to somebody else.
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
