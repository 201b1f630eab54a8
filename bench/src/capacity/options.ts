import { parseArgs } from 'node:util';

/** What `opsfleet bench` is asked to simulate, and for how long it watches. */
export type CapacityOptions = {
  servers: number;
  seconds: number;
  healthSeconds: number;
  metricsSeconds: number;
  tls: boolean;
  json: boolean;
};

/** What the machine allows. `descriptors`: files that one process may have open, null where that is unknown. */
export type Machine = { platform: string; descriptors: number | null };

type CommandLine = { ok: true; options: CapacityOptions } | { ok: false; error: string };

type Limits = { min: number; max: number; fallback: number; whole?: boolean };

const NUMBERS = {
  servers: { min: 1, max: 1_000_000, fallback: 1_000, whole: true },
  seconds: { min: 1, max: 3_600, fallback: 60, whole: true },
  'health-interval': { min: 0.1, max: 86_400, fallback: 30 },
  'metrics-interval': { min: 0.1, max: 86_400, fallback: 60 },
} satisfies Record<string, Limits>;

/** A worker keeps connections up to this share of its descriptors; the rest is for what comes and goes. */
const KEPT_SHARE = 0.8;

export const USAGE = `Usage: npm run opsfleet -- bench [flags]

Simulates a fleet on this machine, polls it with an opsfleet of its own, and tells what that costs. Its database
is in a temporary directory and goes with it; nothing of an opsfleet that is installed here is touched.

  --servers N            how many servers to simulate (${NUMBERS.servers.fallback})
  --seconds N            how long to measure, after one health interval to warm up (${NUMBERS.seconds.fallback})
  --health-interval S    seconds between two health checks of a server, fractions allowed (${NUMBERS['health-interval'].fallback})
  --metrics-interval S   the same of metrics (${NUMBERS['metrics-interval'].fallback})
  --tls                  poll over https
  --json                 print one JSON object instead of a table`;

class FlagError extends Error {}

/** Reads the flags. An error names the flag and what it may be, or what the machine lacks. */
export function parseCapacityOptions(argv: readonly string[], machine: Machine): CommandLine {
  try {
    const options = readOptions(argv);
    assertPossible(options, machine);
    return { ok: true, options };
  } catch (error) {
    if (error instanceof FlagError) return { ok: false, error: error.message };
    throw error;
  }
}

function readOptions(argv: readonly string[]): CapacityOptions {
  const flags: Record<string, { type: 'string' | 'boolean' }> = {
    tls: { type: 'boolean' },
    json: { type: 'boolean' },
  };
  for (const name of Object.keys(NUMBERS)) flags[name] = { type: 'string' };
  let values: Record<string, string | boolean | undefined>;
  try {
    values = parseArgs({ args: [...argv], options: flags }).values;
  } catch (error) {
    throw new FlagError(error instanceof Error ? error.message : String(error));
  }
  const number = (name: keyof typeof NUMBERS): number => parseNumber(name, values[name]);
  return {
    servers: number('servers'),
    seconds: number('seconds'),
    healthSeconds: number('health-interval'),
    metricsSeconds: number('metrics-interval'),
    tls: values['tls'] === true,
    json: values['json'] === true,
  };
}

function parseNumber(name: keyof typeof NUMBERS, given: string | boolean | undefined): number {
  const { min, max, fallback, whole = false }: Limits = NUMBERS[name];
  if (typeof given !== 'string') return fallback;
  const value = /^\d+(\.\d+)?$/.test(given) ? Number(given) : Number.NaN;
  if (value >= min && value <= max && (!whole || Number.isInteger(value))) return value;
  throw new FlagError(
    `--${name} must be ${whole ? 'a whole number' : 'a number'} from ${min} to ${max}, not "${given}"`,
  );
}

function assertPossible({ servers }: CapacityOptions, { platform, descriptors }: Machine): void {
  if (platform !== 'linux') {
    throw new FlagError(
      `it simulates every server at a loopback address of its own, which only Linux has, not ${platform}`,
    );
  }
  const most = descriptors === null ? Number.POSITIVE_INFINITY : Math.floor(KEPT_SHARE * descriptors);
  if (servers <= most) return;
  throw new FlagError(
    `--servers must be at most ${most} here: each server takes an open file, and a process may have ` +
      `${descriptors} of them ("ulimit -n"). Allow at least ${Math.ceil(servers / KEPT_SHARE)}, or simulate fewer`,
  );
}
