import {
  chmod,
  chown,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  realpath,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { StartupError } from '../errors.ts';
import { defaultDataDir, makeSocketDir, openDataDir } from './data-dir.ts';

const selfUid = process.geteuid?.() ?? 0;
const self = { uid: selfUid, gid: process.getegid?.() ?? 0 };
const nobody = 65_534;

let parent: string;

beforeEach(async () => {
  parent = await realpath(await mkdtemp(join(tmpdir(), 'opsfleet-data-dir-')));
});

afterEach(async () => {
  await rm(parent, { recursive: true, force: true });
});

describe('defaultDataDir', () => {
  test.each([
    [{ uid: 0, home: '/root', xdgDataHome: '/x' }, '/var/lib/opsfleet'],
    [{ uid: 1000, home: '/home/a', xdgDataHome: '/x' }, '/x/opsfleet'],
    [{ uid: 1000, home: '/home/a' }, '/home/a/.local/share/opsfleet'],
    [{ uid: 1000, home: '/home/a', xdgDataHome: 'relative' }, '/home/a/.local/share/opsfleet'],
    [{ uid: 1000, home: '/home/a', xdgDataHome: '' }, '/home/a/.local/share/opsfleet'],
  ])('%j → %s', (env, expected) => {
    expect(defaultDataDir(env)).toBe(expected);
  });

  test('asks for a directory where there is no home', () => {
    expect(() => defaultDataDir({ uid: 1000 })).toThrow('OPSFLEET_DATA_DIR');
  });
});

async function expectRefusal(path: string, ...words: string[]): Promise<void> {
  const refused: unknown = await openDataDir(path, selfUid).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(StartupError);
  for (const word of [path, ...words]) expect(String(refused)).toContain(word);
}

describe('openDataDir', () => {
  test('makes a directory, closed to others, and takes it again', async () => {
    const path = join(parent, 'a/b');
    expect(await openDataDir(path, selfUid)).toEqual({ path, uid: selfUid });
    // Root's database runs as another user, who passes through.
    expect((await lstat(path)).mode & 0o777).toBe(selfUid === 0 ? 0o711 : 0o700);
    expect(await openDataDir(path, selfUid)).toEqual({ path, uid: selfUid });
  });

  test('takes the root of a fresh file system, and a directory with nothing but a master key', async () => {
    await mkdir(join(parent, 'lost+found'));
    await writeFile(join(parent, 'master-key'), '');
    expect(await openDataDir(parent, selfUid)).toEqual({ path: parent, uid: selfUid });
  });

  test('follows a link on the way to it', async () => {
    await mkdir(join(parent, 'real'));
    await symlink(join(parent, 'real'), join(parent, 'link'));
    const { path } = await openDataDir(join(parent, 'link/data'), selfUid);
    expect(path).toBe(join(parent, 'real/data'));
  });

  test('refuses a directory with files of somebody else, and leaves it as it was', async () => {
    await writeFile(join(parent, 'holiday.jpg'), '');
    await expectRefusal(parent, 'holiday.jpg', 'OPSFLEET_DATA_DIR');
    expect(await readdir(parent)).toEqual(['holiday.jpg']);
  });

  test('refuses a link in its place, and says where it leads', async () => {
    await mkdir(join(parent, 'real'));
    await symlink(join(parent, 'real'), join(parent, 'link'));
    await expectRefusal(join(parent, 'link'), join(parent, 'real'));
  });

  test('refuses a file, a path below a file, and a relative path', async () => {
    await writeFile(join(parent, 'file'), '');
    await expectRefusal(join(parent, 'file'), 'not a directory');
    await expectRefusal(join(parent, 'file/data'), 'ENOTDIR');
    await expectRefusal('data', 'absolute');
  });

  test('refuses a directory that everybody may write to', async () => {
    await chmod(parent, 0o777);
    await expectRefusal(parent, 'chmod o-w');
  });

  test("refuses another user's directory", async () => {
    const refused = openDataDir(parent, selfUid + 1);
    await expect(refused).rejects.toThrow(
      `belongs to uid ${selfUid}, and this process runs as uid ${selfUid + 1}`,
    );
  });

  test.each(['a"b', 'a$b', 'a`b', 'a\\b', 'a\nb'])(
    'refuses the path %j, which initdb could not take',
    async name => {
      await expect(openDataDir(join(parent, name), selfUid)).rejects.toThrow('must not contain');
    },
  );
});

describe('makeSocketDir', () => {
  test('is "run" in the data directory, for its owner only, however it was left', async () => {
    const path = await makeSocketDir(parent, self);
    expect(path).toBe(join(parent, 'run'));
    await chmod(path, 0o777);
    await makeSocketDir(parent, self);
    expect((await lstat(path)).mode & 0o777).toBe(0o700);
  });

  test('gives one path to one data directory where "run" would be too long for a socket', async () => {
    const paths = [];
    for (const name of ['a', 'b', 'a']) {
      const path = await makeSocketDir(join(parent, name.repeat(100)), self);
      paths.push(path);
      await rm(path, { recursive: true });
    }
    expect(paths[0]).toMatch(/^\/tmp\/opsfleet-[0-9a-f]{16}$/);
    expect(paths[0]).not.toBe(paths[1]);
    expect(paths[0]).toBe(paths[2]);
  });

  test('refuses a link or a file in its place', async () => {
    await symlink('/var', join(parent, 'run'));
    await expect(makeSocketDir(parent, self)).rejects.toThrow(join(parent, 'run'));
  });

  test.runIf(selfUid === 0)("refuses another user's directory in its place", async () => {
    await mkdir(join(parent, 'run'));
    await chown(join(parent, 'run'), nobody, nobody);
    await expect(makeSocketDir(parent, { uid: 1, gid: 1 })).rejects.toThrow(`of uid ${nobody}`);
  });
});
