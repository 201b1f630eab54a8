import { randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { StartupError } from './errors.ts';
import { masterKey } from './keyring.ts';
import { createLog } from './log.ts';
import { loadMasterKeys } from './master-key.ts';

let dataDir: string;
let lines: string[];
const log = createLog({ level: 'info', destination: { write: line => void lines.push(line) } });

beforeEach(async () => {
  lines = [];
  dataDir = await mkdtemp(join(tmpdir(), 'opsfleet-master-key-'));
});
afterEach(() => rm(dataDir, { recursive: true }));

const bytes = randomBytes(32);
const others = randomBytes(32);
const idOf = (key: Buffer) => masterKey(key).id;

async function idsFrom(fromEnvironment: string): Promise<string[]> {
  const keys = await loadMasterKeys({ fromEnvironment, dataDir, log });
  return keys.map(key => key.id);
}

test.each([
  ['hexadecimal', bytes.toString('hex')],
  ['upper case hexadecimal', bytes.toString('hex').toUpperCase()],
  ['base64', bytes.toString('base64')],
  ['base64url without padding', bytes.toString('base64url')],
])('a key may be written in %s', async (_, text) => {
  expect(await idsFrom(text)).toEqual([idOf(bytes)]);
  expect(await readdir(dataDir)).toEqual([]);
});

test('of several keys the first comes first', async () => {
  expect(await idsFrom(`${others.toString('hex')}, ${bytes.toString('base64')}`)).toEqual([
    idOf(others),
    idOf(bytes),
  ]);
});

test.each([
  ['too short', bytes.toString('hex').slice(2), 'OPSFLEET_MASTER_KEY must be 32 bytes'],
  ['too long', `${bytes.toString('hex')}00`, 'OPSFLEET_MASTER_KEY must be 32 bytes'],
  ['not an encoding', 'correct horse battery staple', 'OPSFLEET_MASTER_KEY must be 32 bytes'],
  ['an empty second key', `${bytes.toString('hex')},`, 'OPSFLEET_MASTER_KEY, key 2 of 2, must be 32 bytes'],
  ['all zero', '00'.repeat(32), 'OPSFLEET_MASTER_KEY is the same byte 32 times'],
  ['one byte over and over', Buffer.alloc(32, 'k').toString('base64'), 'is the same byte 32 times'],
])('a key that is %s is refused, and not repeated', async (_, text, message) => {
  const failure = idsFrom(text);
  await expect(failure).rejects.toThrow(StartupError);
  await expect(failure).rejects.toThrow(message);
  await expect(failure).rejects.not.toThrow(text);
});

test('the environment and a file at once are refused', async () => {
  const both = loadMasterKeys({ fromEnvironment: bytes.toString('hex'), file: '/key', dataDir, log });
  await expect(both).rejects.toThrow('OPSFLEET_MASTER_KEY or OPSFLEET_MASTER_KEY_FILE, not both');
});

test('a file holds the same text, and a line end', async () => {
  const file = join(dataDir, 'key');
  await writeFile(file, `${bytes.toString('base64')},\n${others.toString('hex')}\n`, { mode: 0o600 });
  const keys = await loadMasterKeys({ file, dataDir, log });
  expect(keys.map(key => key.id)).toEqual([idOf(bytes), idOf(others)]);
});

test('a file is refused by its setting and its path', async () => {
  const file = join(dataDir, 'key');
  const load = () => loadMasterKeys({ file, dataDir, log });
  await expect(load()).rejects.toThrow(`OPSFLEET_MASTER_KEY_FILE (${file}) cannot be read (ENOENT).`);
  await mkdir(file, { mode: 0o700 });
  await expect(load()).rejects.toThrow(`OPSFLEET_MASTER_KEY_FILE (${file}) is not a file.`);
  await rm(file, { recursive: true });
  await writeFile(file, 'x'.repeat(5_000), { mode: 0o600 });
  await expect(load()).rejects.toThrow('is larger than 4096 bytes');
  await writeFile(file, 'short');
  await expect(load()).rejects.toThrow(`OPSFLEET_MASTER_KEY_FILE (${file}) must be 32 bytes`);
});

test.each([0o640, 0o604, 0o620])(
  'a file of mode %o is refused with the command that mends it',
  async mode => {
    const file = join(dataDir, 'key');
    await writeFile(file, bytes.toString('hex'));
    await chmod(file, mode);
    const load = () => loadMasterKeys({ file, dataDir, log });
    await expect(load()).rejects.toThrow(`can be used by other users. Run: chmod 600 ${file}`);
    await chmod(file, 0o400);
    expect((await load())[0].id).toBe(idOf(bytes));
  },
);

test('the first start generates a private key and says once what to do with it', async () => {
  const missing = join(dataDir, 'not/there/yet');
  const first = await loadMasterKeys({ dataDir: missing, log });
  const path = join(missing, 'master-key');
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(lines).toHaveLength(1);
  expect(JSON.parse(lines[0]!)).toMatchObject({ level: 'warn', file: path });
  expect(lines[0]).toContain('a backup without it cannot be read');
  expect(lines[0]).not.toContain((await readFile(path, 'utf8')).trim());

  const second = await loadMasterKeys({ dataDir: missing, log });
  expect(second[0].id).toBe(first[0].id);
  expect(lines).toHaveLength(1);
  expect(await readdir(missing)).toEqual(['master-key']);
});

test('a generated key that others may read by now is refused', async () => {
  await loadMasterKeys({ dataDir, log });
  await chmod(join(dataDir, 'master-key'), 0o644);
  await expect(loadMasterKeys({ dataDir, log })).rejects.toThrow('can be used by other users');
});

test('processes that start at once end with one key', async () => {
  const all = await Promise.all(Array.from({ length: 8 }, () => loadMasterKeys({ dataDir, log })));
  expect(new Set(all.map(keys => keys[0].id)).size).toBe(1);
  expect(lines).toHaveLength(1);
  expect(await readdir(dataDir)).toEqual(['master-key']);
});

test('a data directory that cannot be written is named', async () => {
  const file = join(dataDir, 'a-file');
  await writeFile(file, '');
  const inside = loadMasterKeys({ dataDir: join(file, 'data'), log });
  await expect(inside).rejects.toThrow(`${join(file, 'data', 'master-key')} cannot be written (ENOTDIR)`);
});
