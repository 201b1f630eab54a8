import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

const timeoutMs = 2_000;
const maxOutputBytes = 4 * 1024 * 1024;

/** Standard output of a program, in the C locale. Rejects when it fails, or has not ended after 2 s. */
export async function output(program: string, args: readonly string[]): Promise<string> {
  const { stdout } = await run(program, args, {
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
    maxBuffer: maxOutputBytes,
    // Nothing else of the agent's environment: its token may be in there.
    env: { LC_ALL: 'C', PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' },
  });
  return stdout;
}
