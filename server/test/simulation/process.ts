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
  /** How much of the time from then to then it was not stopped. */
  ranMs(fromMs: number, toMs: number): number;
};

/** `wallOffsetMs` is asked each time: the machine's clock may jump, its monotonic one does not. */
export function createProcess(name: string, timeline: Timeline, wallOffsetMs: () => number): Process {
  let state: 'running' | 'paused' | 'dead' = 'running';
  let held: (() => void)[] = [];
  /** What nobody will end once the process is dead: a signal that is listened to is never collected. */
  const sleeping = new Set<() => void>();
  const pauses: { fromMs: number; toMs: number }[] = [];
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
          const forget = (): void => {
            signal?.removeEventListener('abort', onAbort);
            sleeping.delete(forget);
          };
          const onAbort = (): void => {
            cancel();
            sleeping.delete(forget);
            resolve();
          };
          const cancel = timeline.after(ms, () =>
            run(() => {
              forget();
              resolve();
            }),
          );
          signal?.addEventListener('abort', onAbort, { once: true });
          sleeping.add(forget);
        }),
    },
    isAlive: () => state !== 'dead',
    reaches: { database: true, servers: true },
    run,
    kill() {
      state = 'dead';
      held = [];
      for (const forget of sleeping) forget();
    },
    pause() {
      if (state !== 'running') return;
      state = 'paused';
      pauses.push({ fromMs: timeline.nowMs(), toMs: Number.POSITIVE_INFINITY });
    },
    resume() {
      if (state !== 'paused') return;
      state = 'running';
      pauses.at(-1)!.toMs = timeline.nowMs();
      for (const work of held.splice(0)) run(work);
    },
    ranMs: (fromMs, toMs) =>
      pauses.reduce(
        (leftMs, pause) => leftMs - Math.max(0, Math.min(toMs, pause.toMs) - Math.max(fromMs, pause.fromMs)),
        toMs - fromMs,
      ),
  };
}

export const epochMs = Date.parse('2026-11-01T00:00:00Z');
