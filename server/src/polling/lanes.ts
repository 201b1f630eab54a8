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

export function createLane(concurrency: number): Lane {
  let queue: (() => Promise<void>)[] = [];
  let head = 0;
  let active = 0;
  let idleWaiters: (() => void)[] = [];

  function next(): void {
    while (active < concurrency && head < queue.length) {
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
