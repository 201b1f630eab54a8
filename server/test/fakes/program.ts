import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

const main = join(import.meta.dirname, '../../src/main.ts');

/** The program as `npm start` runs it, in a process of its own. */
export type Program = {
  process: ChildProcess;
  /** Where it said that its API is. */
  url: string;
  /** Sends the signal and waits for the end. Returns the exit code, null where the signal ended it. */
  end(signal: NodeJS.Signals): Promise<number | null>;
};

export type Environment = Record<string, string>;

/** Starts it and waits until it is announced. Throws with everything it printed when it ends instead. */
export async function startProgram(environment: Environment): Promise<Program> {
  const child = launch(environment);
  let printed = '';
  const url = await new Promise<string>((resolve, reject) => {
    const read = (chunk: Buffer): void => {
      printed += String(chunk);
      const found = /API {2,}(http:\/\/[^/\s]+)/.exec(printed)?.[1];
      if (found !== undefined && printed.includes('Ctrl-C')) resolve(found);
    };
    child.stdout!.on('data', read);
    child.stderr!.on('data', read);
    child.once('exit', code => reject(new Error(`it ended with ${code}:\n${printed}`)));
  });
  return {
    process: child,
    url,
    async end(signal) {
      if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
      const exited = once(child, 'exit');
      child.kill(signal);
      const [code] = (await exited) as [number | null];
      return code;
    },
  };
}

/** Runs it where it cannot start. Returns its exit code and what it said. */
export async function failToStart(environment: Environment): Promise<{ code: number | null; said: string }> {
  const child = launch(environment);
  let said = '';
  child.stdout!.on('data', chunk => (said += String(chunk)));
  child.stderr!.on('data', chunk => (said += String(chunk)));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, said };
}

function launch(environment: Environment): ChildProcess {
  return spawn(process.execPath, [main], {
    env: { PATH: process.env['PATH'], OPSFLEET_PORT: '0', OPSFLEET_LOCAL_AGENT: 'false', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** Processes of this machine that name the text in their command line, but for this one. Linux alone knows. */
export async function processesNaming(text: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of (await readdir('/proc')).filter(
    name => /^\d+$/.test(name) && Number(name) !== process.pid,
  )) {
    const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (commandLine.includes(text)) found.push(`${pid} ${commandLine.replaceAll('\0', ' ')}`);
  }
  return found;
}
