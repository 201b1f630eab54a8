import { parseArgs } from 'node:util';
import { assignBehaviours, BEHAVIOURS, type Share } from './behaviour.ts';
import { MAX_SERVERS } from './identity.ts';
import { DEFAULT_OPTIONS, type SimulatorOptions } from './simulator.ts';

type CommandLine =
  | {
      ok: true;
      options: SimulatorOptions;
      targetsFile: string | undefined;
      authoritiesFile: string | undefined;
    }
  | { ok: false; error: string };

/** A wrong flag. It never leaves this module: `parseCommandLine` answers with its message. */
class FlagError extends Error {}

type Values = Record<string, string | boolean | undefined>;
type Limits = { min: number; max: number; integer?: boolean };

const DAY_MS = 86_400_000;
const DURATION: Limits = { min: 0, max: DAY_MS };
const PERIOD: Limits = { min: 1, max: DAY_MS };
const SPECIAL_BEHAVIOURS = BEHAVIOURS.filter(behaviour => behaviour !== 'healthy');
const NUMBER_FLAGS = [
  'servers',
  'first',
  'port',
  'latency-ms',
  'slow-min-ms',
  'slow-max-ms',
  'flap-period-ms',
  'health-interval-ms',
  'metrics-interval-ms',
];
const SWITCHES = ['tls', 'close', 'no-resumption'];

export const USAGE = `Usage: node bench/src/simulator/main.ts [flags]

  --servers N             how many managed servers (${DEFAULT_OPTIONS.servers})
  --first N               index of the first one in a fleet that several simulators share (${DEFAULT_OPTIONS.first})
  --port N                their common port; 0 takes a free one (${DEFAULT_OPTIONS.port})
  --seed TEXT             decides tokens, and who behaves how (${DEFAULT_OPTIONS.seed})
  --targets FILE          write index, url, token and behaviour of every server there, as JSON lines
  --tls                   speak https
  --authorities FILE      write the certificates that a client must trust there, as PEM
  --no-resumption         let no client resume a TLS session
  --close                 close every connection after its first answer
  --latency-ms N          delay before every answer (${DEFAULT_OPTIONS.latencyMs})
  --slow-min-ms N         least and most that a slow server adds, drawn evenly
  --slow-max-ms N         (${DEFAULT_OPTIONS.slowMinMs} and ${DEFAULT_OPTIONS.slowMaxMs})
  --flap-period-ms N      half of it well, half of it 500 (${DEFAULT_OPTIONS.flapPeriodMs})
  --health-interval-ms N  expected between two checks of one server (${DEFAULT_OPTIONS.healthIntervalMs})
  --metrics-interval-ms N (${DEFAULT_OPTIONS.metricsIntervalMs})

Behaviours; each takes a fraction of the servers (0.1) or an inclusive range of places (0-99):
  ${SPECIAL_BEHAVIOURS.map(behaviour => `--${behaviour}`).join(' ')}

Prints one JSON line when ready, and its statistics as one JSON line on SIGUSR2 and at the end.
Reads commands from standard input: "stats", "reset", "authorities", "answered KIND" (health or metrics: checks
answered with 200, by place), "behaviour PLACE NAME". A place counts from 0 in each simulator, whatever --first is.`;

/** Reads the flags of the simulator. An error names the flag and what it may be. */
export function parseCommandLine(argv: readonly string[]): CommandLine {
  try {
    const values = parseFlags(argv);
    const options = readOptions(values);
    const assignment = assignBehaviours(options.servers, options.seed, options.shares);
    if (!assignment.ok) return { ok: false, error: `--${assignment.behaviour}: ${assignment.reason}` };
    return {
      ok: true,
      options,
      targetsFile: text(values['targets']),
      authoritiesFile: text(values['authorities']),
    };
  } catch (error) {
    if (error instanceof FlagError) return { ok: false, error: error.message };
    throw error;
  }
}

const text = (value: string | boolean | undefined): string | undefined =>
  typeof value === 'string' ? value : undefined;

function parseFlags(argv: readonly string[]): Values {
  const names = ['seed', 'targets', 'authorities', ...NUMBER_FLAGS, ...SPECIAL_BEHAVIOURS];
  const flags: Record<string, { type: 'string' | 'boolean' }> = {};
  for (const name of names) flags[name] = { type: 'string' };
  for (const name of SWITCHES) flags[name] = { type: 'boolean' };
  try {
    return parseArgs({ args: [...argv], options: flags, allowPositionals: false }).values;
  } catch (error) {
    throw new FlagError(error instanceof Error ? error.message : String(error));
  }
}

function readOptions(values: Values): SimulatorOptions {
  const number = (flag: string, fallback: number, limits: Limits): number => {
    const given = values[flag];
    return typeof given === 'string' ? parseNumber(flag, given, limits) : fallback;
  };
  const options: SimulatorOptions = {
    servers: number('servers', DEFAULT_OPTIONS.servers, { min: 1, max: MAX_SERVERS, integer: true }),
    first: number('first', DEFAULT_OPTIONS.first, { min: 0, max: MAX_SERVERS - 1, integer: true }),
    port: number('port', DEFAULT_OPTIONS.port, { min: 0, max: 65_535, integer: true }),
    seed: parseSeed(values['seed']),
    shares: {},
    tls: values['tls'] === true,
    resumption: values['no-resumption'] !== true,
    closes: values['close'] === true,
    latencyMs: number('latency-ms', DEFAULT_OPTIONS.latencyMs, DURATION),
    slowMinMs: number('slow-min-ms', DEFAULT_OPTIONS.slowMinMs, DURATION),
    slowMaxMs: number('slow-max-ms', DEFAULT_OPTIONS.slowMaxMs, DURATION),
    flapPeriodMs: number('flap-period-ms', DEFAULT_OPTIONS.flapPeriodMs, PERIOD),
    healthIntervalMs: number('health-interval-ms', DEFAULT_OPTIONS.healthIntervalMs, PERIOD),
    metricsIntervalMs: number('metrics-interval-ms', DEFAULT_OPTIONS.metricsIntervalMs, PERIOD),
  };
  if (options.slowMaxMs < options.slowMinMs) {
    throw new FlagError(`--slow-max-ms must be at least --slow-min-ms, ${options.slowMinMs}`);
  }
  if (options.first + options.servers > MAX_SERVERS) {
    throw new FlagError(`--first and --servers together must be at most ${MAX_SERVERS}`);
  }
  for (const flag of ['no-resumption', 'authorities']) {
    if (values[flag] !== undefined && !options.tls) throw new FlagError(`--${flag} needs --tls`);
  }
  for (const behaviour of SPECIAL_BEHAVIOURS) {
    const share = text(values[behaviour]);
    if (share !== undefined) options.shares[behaviour] = parseShare(behaviour, share);
  }
  return options;
}

function parseSeed(value: string | boolean | undefined): string {
  const seed = text(value) ?? DEFAULT_OPTIONS.seed;
  if (seed.length < 1 || seed.length > 256) throw new FlagError('--seed must be 1 to 256 characters');
  return seed;
}

function parseNumber(flag: string, given: string, { min, max, integer = false }: Limits): number {
  const value = /^\d+(\.\d+)?$/.test(given) ? Number(given) : Number.NaN;
  const valid = value >= min && value <= max && (!integer || Number.isInteger(value));
  if (!valid) {
    const what = integer ? 'a whole number' : 'a number';
    throw new FlagError(`--${flag} must be ${what} from ${min} to ${max}, not "${given}"`);
  }
  return value;
}

function parseShare(flag: string, given: string): Share {
  const range = /^(\d+)-(\d+)$/.exec(given);
  if (range === null) return { fraction: parseNumber(flag, given, { min: 0, max: 1 }) };
  const [first, last] = [Number(range[1]), Number(range[2])];
  if (first > last)
    throw new FlagError(`--${flag} must be a range that begins before it ends, not "${given}"`);
  return { first, last };
}
