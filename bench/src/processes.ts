import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type FleetPart, type Target, targetsOf } from './simulator/identity.ts';
import type { Kind } from './simulator/request.ts';
import type { SimulatorStats } from './simulator/simulator.ts';

/** A program in a process of its own that ends when the bench ends. */
export type Program = {
  readonly pid: number;
  /** The next line it prints. Rejects when it ends first. */
  nextLine(): Promise<string>;
  /** Writes a line to its standard input. */
  tell(line: string): void;
  /** Ends it at once, without a word. Resolves when it is gone. */
  kill(): Promise<void>;
  /** Ends it: SIGTERM, and SIGKILL when that was not heard. Resolves when it is gone. */
  stop(): Promise<void>;
};

type ProgramOptions = {
  /** How it is called in errors. */
  name: string;
  script: URL;
  args?: readonly string[];
  /** Its whole environment; by default ours. */
  env?: Readonly<Record<string, string>>;
};

/** More than a control plane needs to drain its polls. */
const STOP_TIMEOUT_MS = 30_000;

const END_WITH_PARENT = new URL('./end-with-parent.mjs', import.meta.url).href;

const running = new Set<{ stop(): Promise<void> }>();

/** Starts a program of the project. What it writes to standard error is shown. */
export function startProgram({ name, script, args = [], env }: ProgramOptions): Program {
  const argv = ['--import', END_WITH_PARENT, fileURLToPath(script), ...args];
  const child = spawn(process.execPath, argv, {
    env: env ?? process.env,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  // A program that ended is reported by whoever waits for its next line.
  child.stdin.on('error', () => {});
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  if (child.pid === undefined) throw new Error(`The ${name} cannot be started`);
  const stop = stopWhenInterrupted(() => end(child));
  return {
    pid: child.pid,
    async nextLine() {
      const { value, done } = await lines.next();
      if (done === true) throw new Error(`The ${name} ended before it answered`);
      return value;
    },
    tell: line => void child.stdin.write(`${line}\n`),
    async kill() {
      child.kill('SIGKILL');
      await stop();
    },
    stop,
  };
}

/**
 * Has `stop` called when the bench is interrupted. Returns a function that calls it once, however often it is
 * called itself, and ends the watch.
 */
export function stopWhenInterrupted(stop: () => Promise<void>): () => Promise<void> {
  let stopping: Promise<void> | undefined;
  const part = { stop: () => (stopping ??= stop().finally(() => running.delete(part))) };
  running.add(part);
  return part.stop;
}

/** Ends everything that is still running, for a bench that is interrupted. */
export async function stopEverything(): Promise<void> {
  await Promise.all([...running].map(part => part.stop()));
}

/** A simulator in a process of its own, so that its CPU and its event loop are not those measured. */
export type SimulatorProcess = FleetPart & {
  readonly pid: number;
  readonly targets: readonly Target[];
  /** What a client must trust, PEM; undefined for plain http. */
  readonly authorities: string | undefined;
  stats(): Promise<SimulatorProcessStats>;
  /** Checks answered with 200 since the start, by place. */
  answered(kind: Kind): Promise<number[]>;
  /** Begins the judgement of the schedule anew. */
  reset(): Promise<void>;
  stop(): Promise<void>;
};

export type SimulatorProcessStats = SimulatorStats & { cpuMs: number; loopDelayMaxMs: number };

/** Starts `simulator/main.ts` on a free port; `flags` are its further flags. Resolves when it is ready. */
export async function spawnSimulator(
  servers: number,
  flags: readonly string[] = [],
): Promise<SimulatorProcess> {
  const seed = 'bench';
  const program = startProgram({
    name: 'simulator',
    script: new URL('./simulator/main.ts', import.meta.url),
    args: ['--servers', String(servers), '--port', '0', '--seed', seed, ...flags],
  });
  const ready: Omit<FleetPart, 'seed'> = JSON.parse(await program.nextLine());
  const { port, first, scheme } = ready;
  const part: FleetPart = { seed, port, scheme, first, servers };
  const ask = async (command: string) => {
    program.tell(command);
    return JSON.parse(await program.nextLine());
  };
  return {
    ...part,
    pid: program.pid,
    targets: targetsOf(part),
    authorities: (await ask('authorities')).authorities,
    stats: () => ask('stats'),
    answered: async kind => (await ask(`answered ${kind}`)).answered,
    async reset() {
      await ask('reset');
    },
    stop: () => program.stop(),
  };
}

/** Runs a program of the bench to its end and returns what it printed. Its errors go to our stderr. */
export async function runProgram(script: URL, argument: string): Promise<string> {
  const child = spawn(process.execPath, ['--import', END_WITH_PARENT, fileURLToPath(script), argument], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const output: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`${script.pathname} ended with code ${code}`);
  return Buffer.concat(output).toString();
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  // One that is stopped hears nothing.
  child.kill('SIGCONT');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await exited;
  clearTimeout(timer);
}
