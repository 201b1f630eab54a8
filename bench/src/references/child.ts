import { type Target, targetOf } from '../simulator/identity.ts';
import type { Loop } from './loop.ts';
import { LOOPS, type LoopName } from './loops.ts';
import { paced } from './pace.ts';

/** What the parent passes as its one argument, in JSON. */
export type LoopRun = {
  loop: LoopName;
  seed: string;
  port: number;
  targets: number;
  /** Measured rounds over all targets, after one unmeasured round that opens the connections. */
  rounds: number;
  concurrency: number;
  /** Starts checks at this even pace, however many are in flight, instead of keeping `concurrency` in flight. */
  checksPerSecond?: number | undefined;
};

/** What the child prints, in JSON. The CPU is that of the whole process, all threads, user and system. */
export type LoopResult = { checks: number; cpuUs: number; wallMs: number };

async function measure(run: LoopRun): Promise<LoopResult> {
  const loop = LOOPS[run.loop]();
  const targets = Array.from({ length: run.targets }, (_, index) =>
    targetOf({ ...run, scheme: 'http' }, index),
  );
  await checkAll(loop, targets, 1, run.concurrency);

  const cpuBefore = process.cpuUsage();
  const startedMs = performance.now();
  if (run.checksPerSecond === undefined) await checkAll(loop, targets, run.rounds, run.concurrency);
  else await checkPaced(loop, targets, run.rounds, run.checksPerSecond);
  const wallMs = performance.now() - startedMs;
  const { user, system } = process.cpuUsage(cpuBefore);
  await loop.close();
  return { checks: targets.length * run.rounds, cpuUs: user + system, wallMs };
}

/** Goes round the targets with at most `concurrency` checks in flight; rejects on the first that fails. */
function checkAll(
  loop: Loop,
  targets: readonly Target[],
  rounds: number,
  concurrency: number,
): Promise<void> {
  const total = targets.length * rounds;
  let started = 0;
  let finished = 0;
  return new Promise((resolve, reject) => {
    const next = (): void => {
      const target = targets[started % targets.length]!;
      started++;
      loop.check(target, error => {
        finished++;
        if (error !== undefined) reject(error);
        else if (started < total) next();
        else if (finished === total) resolve();
      });
    };
    // Fewer in flight than there are targets, so that no target is asked twice at once.
    const inFlight = Math.min(concurrency, targets.length, total);
    for (let lane = 0; lane < inFlight; lane++) next();
  });
}

/** Goes round the targets at an even pace; rejects on the first check that fails. */
async function checkPaced(
  loop: Loop,
  targets: readonly Target[],
  rounds: number,
  checksPerSecond: number,
): Promise<void> {
  const total = targets.length * rounds;
  let finished = 0;
  await new Promise<void>((resolve, reject) => {
    void paced(total, checksPerSecond, index => {
      loop.check(targets[index % targets.length]!, error => {
        finished++;
        if (error !== undefined) reject(error);
        else if (finished === total) resolve();
      });
    });
  });
}

const run: LoopRun = JSON.parse(process.argv[2] ?? '');
process.stdout.write(`${JSON.stringify(await measure(run))}\n`);
