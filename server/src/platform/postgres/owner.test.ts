import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { assertReachable, chooseOwner, parsePasswd } from './owner.ts';

const self = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
const stranger = { uid: 4_242, gid: 4_242 };

let parent: string;

beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'opsfleet-owner-'));
});

afterEach(async () => {
  await rm(parent, { recursive: true, force: true });
});

const clusterDir = (): string => join(parent, 'pgdata');

describe('who runs PostgreSQL', () => {
  test('an ordinary user does it himself', async () => {
    expect(await chooseOwner({ path: parent, uid: 4_242 }, clusterDir(), stranger)).toEqual(stranger);
  });

  test("an ordinary user does not take another one's database", async () => {
    await mkdir(clusterDir());
    const refused = chooseOwner({ path: parent, uid: 4_242 }, clusterDir(), stranger);
    await expect(refused).rejects.toThrow(`belongs to uid ${self.uid}, and this process runs as uid 4242`);
  });

  test('for root it is the owner of the data directory', async () => {
    const owner = await chooseOwner({ path: parent, uid: 4_242 }, clusterDir(), { uid: 0, gid: 0 });
    expect(owner).toEqual(stranger);
  });

  test('for root with a data directory of its own it is an unprivileged user of the system', async () => {
    const owner = await chooseOwner({ path: parent, uid: 0 }, clusterDir(), { uid: 0, gid: 0 });
    expect(owner.uid).toBeGreaterThan(0);
  });

  test.runIf(self.uid === 0)('a database that belongs to root is refused', async () => {
    await mkdir(clusterDir());
    const refused = chooseOwner({ path: parent, uid: 0 }, clusterDir(), self);
    await expect(refused).rejects.toThrow(/belongs to root, .*chown/);
  });
});

test('a passwd file: users by name, broken lines left out', () => {
  const text = 'root:x:0:0:root:/root:/bin/sh\n# note\npostgres:x:101:104::/:\nbroken:x:-2:1\n\n+::::::\n';
  expect([...parsePasswd(text)]).toEqual([
    ['root', { uid: 0, gid: 0 }],
    ['postgres', { uid: 101, gid: 104 }],
  ]);
});

describe('reaching a directory', () => {
  test('takes the right to pass every directory above it and the directory itself', async () => {
    const path = join(parent, 'closed/data');
    await mkdir(path, { recursive: true });
    for (const directory of [parent, join(parent, 'closed'), path]) await chmod(directory, 0o711);
    await assertReachable(path, stranger);

    await chmod(join(parent, 'closed'), 0o710);
    const refused = assertReachable(path, stranger);
    await expect(refused).rejects.toThrow(
      `uid 4242, which cannot reach ${path}: the directory ${join(parent, 'closed')} is closed`,
    );
    // The group's right counts for its members, and only that one.
    await assertReachable(path, { uid: 4_242, gid: self.gid });
    await chmod(join(parent, 'closed'), 0o701);
    await expect(assertReachable(path, { uid: 4_242, gid: self.gid })).rejects.toThrow('closed');
  });
});
