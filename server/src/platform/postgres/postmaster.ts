import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { Address } from './connection.ts';
import { errorCode } from './files.ts';
import { isPostmasterOf, type PidFile, readPidFile } from './pid-file.ts';

/** How a postmaster ended. Both are null for an adopted one, of which nobody tells us. */
export type ExitInfo = { code: number | null; signal: string | null };

/** A running postmaster, ours or one that an earlier opsfleet left behind. */
export type Postmaster = Address & {
  pid: number;
  /** Resolves when the process has ended. */
  exited: Promise<ExitInfo>;
  /** Does nothing once it has ended. */
  kill(signal: NodeJS.Signals): void;
};

/** What it takes to wait for the postmaster of a cluster. */
export type Waiting = {
  clusterDir: string;
  clock: Clock;
  signal?: AbortSignal | undefined;
  onProgress: (line: string) => void;
};

const pollMs = 20;
const watchMs = 200;
const progressEveryMs = 5_000;
const stopPatienceMs = 10_000;

/**
 * The postmaster that already runs on this cluster, once it is ready: one that starts up or recovers is
 * waited for. Undefined when there is none, or when the one there was has shut down meanwhile.
 */
export async function findPostmaster(waiting: Waiting): Promise<Postmaster | undefined> {
  const ready = await awaitReady(waiting);
  return ready && adopt(ready.file, ready.address, waiting);
}

/** As `findPostmaster`, for who only wants to connect: whether it ends is not watched. */
export async function findAddress(waiting: Waiting): Promise<Address | undefined> {
  return (await awaitReady(waiting))?.address;
}

async function awaitReady(waiting: Waiting): Promise<{ file: PidFile; address: Address } | undefined> {
  const { clusterDir } = waiting;
  for await (const report of polls(waiting)) {
    const file = await readPidFile(clusterDir);
    if (!file || !(await isPostmasterOf(clusterDir, file))) return undefined;
    if (file.status === 'ready' && file.address) return { file, address: file.address };
    report(`Waiting for PostgreSQL (process ${file.pid}), which is ${file.status ?? 'starting'}`);
  }
  return undefined;
}

function adopt(file: PidFile, address: Address, { clusterDir, clock }: Waiting): Postmaster {
  let running = true;
  // It is no child of ours, so nobody tells us when it ends: look five times a second.
  const watch = async (): Promise<ExitInfo> => {
    while (await isPostmasterOf(clusterDir, file)) await clock.sleep(watchMs);
    running = false;
    return { code: null, signal: null };
  };
  return {
    ...address,
    pid: file.pid,
    exited: watch(),
    kill(signal) {
      // Once it has ended, its number may belong to another program.
      if (running) killIfThere(file.pid, signal);
    },
  };
}

/** Ends the postmaster of a cluster whose data nobody needs, if one runs there, whatever it is doing. */
export async function endPostmaster(options: { clusterDir: string; clock: Clock; log: Log }): Promise<void> {
  const { clusterDir, clock } = options;
  const file = await readPidFile(clusterDir);
  if (!file || !(await isPostmasterOf(clusterDir, file))) return;
  // Nobody connects to it, so it does not matter whether it listens yet.
  const postmaster = adopt(file, { host: '', port: 0 }, { clusterDir, clock, onProgress: () => undefined });
  await stopPostmaster(postmaster, { mode: 'immediate', ...options });
}

function killIfThere(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (errorCode(error) !== 'ESRCH') throw error;
  }
}

/**
 * Yields at once and then every 20 ms until the signal aborts, which it throws. What is yielded passes a
 * line on to the person who waits, at most one in 5 s and none in the first.
 */
export async function* polls({ clock, signal, onProgress }: Waiting): AsyncGenerator<(line: string) => void> {
  let nextLineMs = clock.monotonicMs() + progressEveryMs;
  const report = (line: string): void => {
    if (clock.monotonicMs() < nextLineMs) return;
    nextLineMs += progressEveryMs;
    onProgress(line);
  };
  for (;;) {
    signal?.throwIfAborted();
    yield report;
    await clock.sleep(pollMs, signal);
  }
}

/**
 * Ends a postmaster and resolves when it is gone. `fast` lets it write everything out, and turns into
 * `immediate` after 10 s, from which it recovers at the next start. (Signals: PostgreSQL's manual, "Shutting
 * Down the Server".)
 */
export async function stopPostmaster(
  postmaster: Postmaster,
  options: { mode: 'fast' | 'immediate'; clock: Clock; log: Log },
): Promise<void> {
  const steps: NodeJS.Signals[] = ['SIGINT', 'SIGQUIT', 'SIGKILL'];
  for (const signal of options.mode === 'immediate' ? steps.slice(1) : steps) {
    postmaster.kill(signal);
    if (await endsWithin(stopPatienceMs, postmaster, options.clock)) return;
    options.log.warn({ pid: postmaster.pid, signal }, 'PostgreSQL did not stop in 10 s');
  }
}

async function endsWithin(ms: number, postmaster: Postmaster, clock: Clock): Promise<boolean> {
  const ended = new AbortController();
  const waitForEnd = async (): Promise<boolean> => {
    await postmaster.exited;
    ended.abort();
    return true;
  };
  const waitForTime = async (): Promise<boolean> => {
    await clock.sleep(ms, ended.signal);
    return ended.signal.aborted;
  };
  return Promise.race([waitForEnd(), waitForTime()]);
}
