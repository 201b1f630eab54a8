import type { Clock } from '../platform/clock.ts';

/**
 * How many polls may start in one turn of the event loop, over all lanes. A worker that has more to do than it
 * can would start hundreds, read as many answers in the next turn, and so on: turns of a second, in which the
 * database, the disk and heartbeats wait, and each statement of a flush for the next of them.
 */
export type Starts = {
  /** Whether one may start in this turn; if not, `retry` is called in the next. */
  take(retry: () => void): boolean;
};

/** 64 polls are 8 ms of CPU. */
const startsPerTurn = 64;

export function createStarts(clock: Pick<Clock, 'sleep'>): Starts {
  let taken = 0;
  let refused: (() => void)[] = [];

  async function beginTurn(): Promise<void> {
    await clock.sleep(0);
    taken = 0;
    // Whoever was refused first had the most of this turn: the others first, so that nobody waits for long.
    const [first, ...others] = refused;
    refused = [];
    for (const retry of others) retry();
    first?.();
  }

  return {
    take(retry) {
      if (taken === startsPerTurn) {
        refused.push(retry);
        return false;
      }
      if (taken === 0) void beginTurn();
      taken += 1;
      return true;
    },
  };
}

/** Polls of one lane wait for each other, never for those of another lane. */
export type Lane = {
  /** Runs the task when there is room, in the order of asking. The task must not reject. */
  run(task: () => Promise<void>): void;
  /** Forgets what has not started. */
  clear(): void;
  active(): number;
  waiting(): number;
  /** Resolves when nothing runs and nothing waits. */
  idle(): Promise<void>;
};

export function createLane(concurrency: number, starts: Starts): Lane {
  let queue: (() => Promise<void>)[] = [];
  let head = 0;
  let active = 0;
  let idleWaiters: (() => void)[] = [];
  let isHeldBack = false;

  function retry(): void {
    isHeldBack = false;
    next();
  }

  function next(): void {
    while (active < concurrency && head < queue.length && !isHeldBack) {
      if (!starts.take(retry)) {
        isHeldBack = true;
        break;
      }
      const task = queue[head]!;
      head += 1;
      active += 1;
      void task().finally(() => {
        active -= 1;
        next();
      });
    }
    if (head > 1_024 && head * 2 > queue.length) {
      queue = queue.slice(head);
      head = 0;
    }
    if (active === 0 && head === queue.length) {
      for (const resolve of idleWaiters) resolve();
      idleWaiters = [];
    }
  }

  return {
    run(task) {
      queue.push(task);
      next();
    },
    clear() {
      queue = [];
      head = 0;
      next();
    },
    active: () => active,
    waiting: () => queue.length - head,
    idle: () =>
      active === 0 && head === queue.length
        ? Promise.resolve()
        : new Promise(resolve => idleWaiters.push(resolve)),
  };
}
