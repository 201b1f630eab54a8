import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { fixture } from '../../test/fixtures.ts';
import {
  createFullest,
  type FileSystemSizes,
  localMounts,
  parseMounts,
  readDiskPercent,
  usedPercent,
} from './disk.ts';

const mountPoints = (name: string): string[] =>
  localMounts(parseMounts(fixture(name))).map(mount => mount.mountPoint);

test('a Debian host: its disks once each; no memory, image, snap, network, container or user-space mounts', () => {
  expect(mountPoints('mounts-debian-12.txt')).toEqual([
    '/',
    '/boot',
    '/boot/efi',
    '/var/lib/docker',
    '/media/usb',
    '/tank/vm',
  ]);
});

test('this virtual machine: its one disk', () => {
  expect(mountPoints('mounts-vm.txt')).toEqual(['/']);
});

test('a container has nothing but its root', () => {
  expect(mountPoints('mounts-container.txt')).toEqual(['/']);
});

test('of two mounts on one directory the last is seen', () => {
  const mounts = parseMounts('/dev/sda1 /data ext4 rw 0 0\n/dev/sdb1 /data ext4 rw 0 0\n');
  expect(localMounts(mounts)).toEqual([{ source: '/dev/sdb1', mountPoint: '/data', type: 'ext4' }]);
});

test('the escapes of the kernel are undone', () => {
  const [mount] = parseMounts('/dev/sda1 /srv/a\\040b\\011c\\134d ext4 rw 0 0\n');
  expect(mount?.mountPoint).toBe('/srv/a b\tc\\d');
});

test('use is counted as df does: of what unprivileged users may fill', () => {
  expect(usedPercent({ blocks: 1000, bfree: 400, bavail: 300 })).toBeCloseTo((100 * 600) / 900, 10);
  expect(usedPercent({ blocks: 1000, bfree: 0, bavail: 0 })).toBe(100);
});

test('a file system without blocks, or with senseless ones, has no percentage', () => {
  expect(usedPercent({ blocks: 0, bfree: 0, bavail: 0 })).toBeUndefined();
  expect(usedPercent({ blocks: 10, bfree: 20, bavail: 5 })).toBeUndefined();
});

test('a disk that hangs is left out, and not asked again until it answers', async () => {
  const mounts = parseMounts(
    '/dev/sda1 / ext4 rw 0 0\n/dev/sdb1 /dead ext4 rw 0 0\n/dev/sdc1 /closed ext4 rw 0 0\n',
  );
  const asked: string[] = [];
  const { promise: deadAnswer, resolve: revive } = Promise.withResolvers<FileSystemSizes>();
  const fullestOf = createFullest(async mountPoint => {
    asked.push(mountPoint);
    if (mountPoint === '/dead') return deadAnswer;
    if (mountPoint === '/closed') throw new Error('EACCES');
    return { blocks: 100, bfree: 50, bavail: 50 };
  }, 10);

  expect(await fullestOf(mounts)).toBe(50);
  expect(await fullestOf(mounts)).toBe(50);
  expect(asked.filter(mountPoint => mountPoint === '/dead')).toHaveLength(1);

  revive({ blocks: 100, bfree: 10, bavail: 10 });
  await new Promise(setImmediate);
  expect(await fullestOf(mounts)).toBe(90);
});

test('this machine: within 3 points of the fullest file system df shows', async () => {
  const local = localMounts(parseMounts(execFileSync('cat', ['/proc/mounts'], { encoding: 'utf8' })));
  const table = execFileSync('df', ['--output=pcent', ...local.map(mount => mount.mountPoint)], {
    encoding: 'utf8',
  });
  const fullest = Math.max(...[...table.matchAll(/(\d+)%/g)].map(([, percent]) => Number(percent)));
  expect(Math.abs((await readDiskPercent())! - fullest)).toBeLessThan(3);
});
