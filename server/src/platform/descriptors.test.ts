import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { descriptorLimit, parseLimits } from './descriptors.ts';

it("is the shell's limit", () => {
  const limit = execFileSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }).trim();
  expect(String(descriptorLimit() ?? 'unlimited')).toBe(limit);
});

it('knows the soft limit from the hard one, and no limit', () => {
  const line = (soft: string) =>
    `Limit  Soft Limit  Hard Limit  Units\nMax open files            ${soft}   1048576   files\n`;
  expect(parseLimits(line('1024  '))).toBe(1024);
  expect(parseLimits(line('unlimited'))).toBeNull();
  expect(parseLimits('nonsense')).toBeNull();
});
