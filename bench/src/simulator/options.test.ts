import { describe, expect, it } from 'vitest';
import { parseCommandLine } from './options.ts';
import { DEFAULT_OPTIONS } from './simulator.ts';

describe('parseCommandLine', () => {
  it('has a default for everything', () => {
    expect(parseCommandLine([])).toEqual({
      ok: true,
      options: DEFAULT_OPTIONS,
      targetsFile: undefined,
      authoritiesFile: undefined,
    });
  });

  it('reads every kind of flag', () => {
    const argv =
      '--servers 50 --port 0 --seed x --latency-ms 2.5 --health-interval-ms 1000 --targets /tmp/t --blackhole 0.1 --hang 3-4 --first 200 --tls --authorities /tmp/ca --no-resumption --close';
    expect(parseCommandLine(argv.split(' '))).toEqual({
      ok: true,
      targetsFile: '/tmp/t',
      authoritiesFile: '/tmp/ca',
      options: {
        ...DEFAULT_OPTIONS,
        servers: 50,
        first: 200,
        tls: true,
        resumption: false,
        closes: true,
        port: 0,
        seed: 'x',
        latencyMs: 2.5,
        healthIntervalMs: 1_000,
        shares: { blackhole: { fraction: 0.1 }, hang: { first: 3, last: 4 } },
      },
    });
  });

  it.each([
    ['--servers 0', '--servers must be a whole number from 1 to 1000000, not "0"'],
    ['--servers 1e3', '--servers must be a whole number from 1 to 1000000, not "1e3"'],
    ['--servers 1.5', '--servers must be a whole number from 1 to 1000000, not "1.5"'],
    ['--first 1000000', '--first must be a whole number from 0 to 999999, not "1000000"'],
    ['--first 999999 --servers 2', '--first and --servers together must be at most 1000000'],
    ['--no-resumption', '--no-resumption needs --tls'],
    ['--authorities /tmp/ca', '--authorities needs --tls'],
    ['--port 65536', '--port must be a whole number from 0 to 65535, not "65536"'],
    ['--seed=', '--seed must be 1 to 256 characters'],
    ['--latency-ms fast', '--latency-ms must be a number from 0 to 86400000, not "fast"'],
    ['--flap-period-ms 0', '--flap-period-ms must be a number from 1 to 86400000, not "0"'],
    ['--slow-min-ms 9000', '--slow-max-ms must be at least --slow-min-ms, 9000'],
    ['--hang 1.1', '--hang must be a number from 0 to 1, not "1.1"'],
    ['--hang 4-3', '--hang must be a range that begins before it ends, not "4-3"'],
    ['--servers 10 --hang 0-10', '--hang: the last server is 9'],
    ['--hang 0.6 --error 0.6', '--hang: only 400 of 1000 servers are left for it'],
  ])('refuses %s', (argv, error) => {
    expect(parseCommandLine(argv.split(' '))).toEqual({ ok: false, error });
  });

  it.each([
    ['--serverz 5', '--serverz'],
    ['more', 'more'],
    ['--healthy 0.5', '--healthy'],
    ['--port', '--port'],
  ])('refuses %s and names it', (argv, name) => {
    expect(parseCommandLine(argv.split(' '))).toEqual({ ok: false, error: expect.stringContaining(name) });
  });
});
