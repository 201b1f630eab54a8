import { expect, test } from 'vitest';
import { fixture } from '../../test/fixtures.ts';
import { countLoaded, countNamed, parseUnits, readServices } from './services.ts';

test('every loaded service counts; a crash loop has failed although systemd calls it activating', () => {
  expect(countLoaded(parseUnits(fixture('systemctl-show-debian-12.txt')))).toEqual({
    active: 3,
    failed: 2,
    total: 6,
    failedNames: ['nginx.service', 'worker@3.service'],
  });
});

test('of services asked for by name each one that does not run has failed, the missing too', () => {
  const counts = countNamed(parseUnits(fixture('systemctl-show-debian-12.txt')));
  expect(counts).toMatchObject({ active: 3, failed: 4, total: 7 });
  expect(counts.failedNames).toContain('auditd.service');
});

test('the order of the properties is up to systemd', () => {
  expect(countLoaded(parseUnits(fixture('systemctl-show-centos-7.txt')))).toMatchObject({
    active: 1,
    failed: 1,
  });
});

test('no units, no counts', () => {
  expect(countLoaded(parseUnits(''))).toEqual({ active: 0, failed: 0, total: 0, failedNames: [] });
});

test('switched off there is nothing to say', async () => {
  await expect(readServices('off')).resolves.toBeUndefined();
});
