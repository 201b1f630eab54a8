import type { Clock } from '../../src/platform/clock.ts';
import type { Timeline } from './timeline.ts';

/** A process of the operating system: it runs, is stopped for a while, or is dead for good. */
export type Process = {
  readonly name: string;
  readonly clock: Clock;
  isAlive(): boolean;
  /** Whether its packets arrive; set by the nemesis. */
  reaches: { database: boolean; servers: boolean };
  /** Does something in the process: now, when it is resumed, or never. */
  run(work: () => void): void;
  /** SIGKILL. */
  kill(): void;
  /** SIGSTOP and SIGCONT. */
  pause(): void;
  resume(): void;
};

/** `wallOffsetMs` is asked each time: the machine's clock may jump, its monotonic one does not. */
export function createProcess(name: string, timeline: Timeline, wallOffsetMs: () => number): Process {
  let state: 'running' | 'paused' | 'dead' = 'running';
  let held: (() => void)[] = [];
  const run = (work: () => void): void => {
    if (state === 'running') work();
    else if (state === 'paused') held.push(work);
  };
  return {
    name,
    clock: {
      now: () => new Date(Math.floor(epochMs + timeline.nowMs() + wallOffsetMs())),
      monotonicMs: () => timeline.nowMs(),
      sleep: (ms, signal) =>
        new Promise(resolve => {
          if (signal?.aborted) {
            resolve();
            return;
          }
          const onAbort = (): void => {
            cancel();
            resolve();
          };
          const cancel = timeline.after(ms, () =>
            run(() => {
              signal?.removeEventListener('abort', onAbort);
              resolve();
            }),
          );
          signal?.addEventListener('abort', onAbort, { once: true });
        }),
    },
    isAlive: () => state !== 'dead',
    reaches: { database: true, servers: true },
    run,
    kill() {
      state = 'dead';
      held = [];
    },
    pause() {
      if (state === 'running') state = 'paused';
    },
    resume() {
      if (state !== 'paused') return;
      state = 'running';
      for (const work of held.splice(0)) run(work);
    },
  };
}

export const epochMs = Date.parse('2026-11-01T00:00:00Z');
