import { spawn } from 'node:child_process';
import type { Owner } from './owner.ts';

export type CommandResult = { code: number | null; output: string };

const outputLimitChars = 16_384;

// PostgreSQL takes its defaults from PG* and LC_* variables; ours come from arguments alone.
export const commandEnv = { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };

/**
 * Runs a program to its end as the given user, in a session of its own so that Ctrl-C in a terminal reaches
 * only us. Returns its exit code and the tail of its output (16 Ki characters); rejects when it cannot be
 * started or the signal aborts, which also ends it.
 */
export function runCommand(
  file: string,
  args: readonly string[],
  options: { owner: Owner; signal?: AbortSignal | undefined },
): Promise<CommandResult> {
  const { promise, resolve, reject } = Promise.withResolvers<CommandResult>();
  const child = spawn(file, args, {
    ...options.owner,
    cwd: '/',
    env: commandEnv,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(options.signal && { signal: options.signal }),
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      output = (output + chunk).slice(-outputLimitChars);
    });
  }
  child.on('error', reject);
  child.on('close', code => resolve({ code, output }));
  return promise;
}
