import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { SimulatorStats } from './simulator/simulator.ts';

/** A program in a process of its own that ends when the bench ends. */
export type Program = {
  readonly pid: number;
  /** The next line it prints. Rejects when it ends first. */
  nextLine(): Promise<string>;
  /** Writes a line to its standard input. */
  tell(line: string): void;
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
  return {
    pid: child.pid,
    async nextLine() {
      const { value, done } = await lines.next();
      if (done === true) throw new Error(`The ${name} ended before it answered`);
      return value;
    },
    tell: line => void child.stdin.write(`${line}\n`),
    stop: stopWhenInterrupted(() => end(child)),
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
export type SimulatorProcess = {
  readonly port: number;
  readonly seed: string;
  readonly servers: number;
  stats(): Promise<SimulatorProcessStats>;
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
  const ready: { port: number } = JSON.parse(await program.nextLine());

  return {
    port: ready.port,
    seed,
    servers,
    async stats() {
      program.tell('stats');
      return JSON.parse(await program.nextLine());
    },
    async reset() {
      program.tell('reset');
      await program.nextLine();
    },
    stop: () => program.stop(),
  };
}

/** Runs a program of the bench to its end and returns what it printed. Its errors go to our stderr. */
export async function runProgram(script: URL, argument: string): Promise<string> {
  const child = spawn(process.execPath, [fileURLToPath(script), argument], {
    stdio: ['ignore', 'pipe', 'inherit'],
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
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await exited;
  clearTimeout(timer);
}
