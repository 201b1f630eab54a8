import { constants, setPriority } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { processSettings, type Settings } from '../../server/src/config.ts';
import { systemClock } from '../../server/src/platform/clock.ts';
import { StartupError } from '../../server/src/platform/errors.ts';
import { createLog, type Log } from '../../server/src/platform/log.ts';

export type Flags = Readonly<Record<string, { type: 'string' | 'boolean' }>>;

type Values<F extends Flags> = { [Name in keyof F]?: F[Name]['type'] extends 'string' ? string : boolean };

export type Parts = {
  settings: Settings;
  clock: typeof systemClock;
  log: Log;
  signal: AbortSignal;
  onProgress(line: string): void;
};

/** A command that works on what an installation has stored. */
export type StoreCommand<F extends Flags> = {
  name: string;
  usage: string;
  flags: F;
  /** The flag without which it can do nothing; null: there is none. */
  required: (keyof F & string) | null;
  /** Whether it is for the embedded database alone. */
  needsEmbedded: boolean;
  /** Returns the line that tells what came of it. */
  run(flags: Values<F>, parts: Parts): Promise<string>;
};

/**
 * Runs it: the result on standard output, everything else on standard error. Ctrl-C ends it in order, a second one
 * at once. Returns the exit code.
 */
export async function runStoreCommand<F extends Flags>(
  command: StoreCommand<F>,
  argv: readonly string[],
): Promise<number> {
  const say = (line: string): void => console.error(`opsfleet ${command.name}: ${line}`);
  if (argv.includes('--help')) {
    console.log(command.usage);
    return 0;
  }
  const flags = readFlags(command, argv);
  if (typeof flags === 'string') {
    say(`${flags}\n\n${command.usage}`);
    return 2;
  }
  const interrupted = new AbortController();
  let interruptedBy: 'SIGINT' | 'SIGTERM' | null = null;
  let atMs = 0;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      // One Ctrl-C may arrive twice, from the terminal and from npm, which passes it on.
      if (interruptedBy !== null && systemClock.monotonicMs() - atMs > 1_000)
        process.exit(exitCodeOf(signal));
      if (interruptedBy !== null) return;
      [interruptedBy, atMs] = [signal, systemClock.monotonicMs()];
      interrupted.abort();
    });
  }
  try {
    const settings = settingsOf(flags, command.needsEmbedded);
    // The control plane beside us comes first.
    setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
    const log = createLog({ level: settings.logLevel });
    const result = await command.run(flags, {
      settings,
      clock: systemClock,
      log,
      signal: interrupted.signal,
      onProgress: say,
    });
    console.log(result);
    return 0;
  } catch (error) {
    if (interruptedBy !== null) {
      say('interrupted; nothing is left of it');
      return exitCodeOf(interruptedBy);
    }
    say(
      error instanceof StartupError ? error.message : error instanceof Error ? error.stack! : String(error),
    );
    return 1;
  }
}

type Run = (argv: readonly string[]) => Promise<number>;

/** A command with commands of its own: runs the one that the first argument names, and returns its exit code. */
export const oneOfCommands =
  (name: string, usage: string, commands: Readonly<Record<string, Run>>): Run =>
  async ([which, ...argv]) => {
    if (which === '--help') {
      console.log(usage);
      return 0;
    }
    const run = Object.entries(commands).find(([known]) => known === which)?.[1];
    if (run !== undefined) return run(argv);
    const either = new Intl.ListFormat('en-GB', { type: 'disjunction' }).format(Object.keys(commands));
    console.error(`opsfleet ${name}: say what: ${either}\n\n${usage}`);
    return 2;
  };

const exitCodeOf = (signal: 'SIGINT' | 'SIGTERM'): number => 128 + constants.signals[signal];

/** The flags, or what is wrong with them. */
function readFlags<F extends Flags>(
  { flags, required }: StoreCommand<F>,
  argv: readonly string[],
): Values<F> | string {
  try {
    const values: Record<string, unknown> = parseArgs({ args: [...argv], options: flags }).values;
    for (const [name, value] of Object.entries(values))
      if (value === '') return `--${name} must not be empty`;
    if (required !== null && values[required] === undefined) return `--${required} is missing`;
    return values as Values<F>;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function settingsOf(flags: Readonly<Record<string, unknown>>, needsEmbedded: boolean): Settings {
  const settings = processSettings();
  if (needsEmbedded && settings.databaseUrl !== null) {
    throw new StartupError(
      'DATABASE_URL is set, so the database is not the embedded one. docs/operations.md tells how to back up and restore your own.',
    );
  }
  const dataDir = flags['data-dir'];
  return typeof dataDir === 'string' ? { ...settings, dataDir: resolve(dataDir) } : settings;
}
