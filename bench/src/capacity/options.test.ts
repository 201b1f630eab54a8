import { describe, expect, it } from 'vitest';
import { parseCapacityOptions } from './options.ts';

const LINUX = { platform: 'linux', descriptors: 1_024 };

describe('parseCapacityOptions', () => {
  it('has a default for everything', () => {
    expect(parseCapacityOptions([], { platform: 'linux', descriptors: null })).toEqual({
      ok: true,
      options: {
        servers: 1_000,
        seconds: 60,
        healthSeconds: 30,
        metricsSeconds: 60,
        tls: false,
        json: false,
      },
    });
  });

  it('reads every flag', () => {
    const argv = '--servers 500 --seconds 5 --health-interval 0.5 --metrics-interval 7 --tls --json'.split(
      ' ',
    );
    expect(parseCapacityOptions(argv, LINUX)).toEqual({
      ok: true,
      options: { servers: 500, seconds: 5, healthSeconds: 0.5, metricsSeconds: 7, tls: true, json: true },
    });
  });

  it.each([
    ['--servers 0', '--servers must be a whole number from 1 to 1000000, not "0"'],
    ['--servers 1.5', '--servers must be a whole number from 1 to 1000000, not "1.5"'],
    ['--seconds 3601', '--seconds must be a whole number from 1 to 3600, not "3601"'],
    ['--health-interval 0', '--health-interval must be a number from 0.1 to 86400, not "0"'],
    ['--metrics-interval soon', '--metrics-interval must be a number from 0.1 to 86400, not "soon"'],
    [
      '--servers 820',
      '--servers must be at most 819 here: each server takes an open file, and a process may have 1024 of them ' +
        '("ulimit -n"). Allow at least 1025, or simulate fewer',
    ],
  ])('refuses %s', (argv, error) => {
    expect(parseCapacityOptions(argv.split(' '), LINUX)).toEqual({ ok: false, error });
  });

  it.each([
    ['--agents 5', '--agents'],
    ['more', 'more'],
    ['--tls=yes', '--tls'],
    ['--servers', '--servers'],
  ])('refuses %s and names it', (argv, name) => {
    const refused = { ok: false, error: expect.stringContaining(name) };
    expect(parseCapacityOptions(argv.split(' '), LINUX)).toEqual(refused);
  });

  it('needs Linux', () => {
    expect(parseCapacityOptions([], { platform: 'darwin', descriptors: null })).toEqual({
      ok: false,
      error: expect.stringContaining('only Linux has, not darwin'),
    });
  });
});
