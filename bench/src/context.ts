import { type ControlPlane, startControlPlane } from './control-plane.ts';
import type { LoadResult, LoadRun } from './load.ts';
import { runProgram, type SimulatorProcess, spawnSimulator } from './processes.ts';
import type { LoopResult, LoopRun } from './references/child.ts';
import type { LoopName } from './references/loops.ts';
import type { Measurement } from './report.ts';

/** One file of `rows/`: something worth a budget, and how to measure it. */
export type Row = {
  name: string;
  run(context: Context): Promise<Measurement[]>;
};

/** How much work a row does. `quick` shows in seconds that the rows run; its numbers are noisier. */
export type Scale = 'full' | 'quick';

const REFERENCE_SCALES = {
  full: { targets: 4_000, rounds: 5 },
  quick: { targets: 200, rounds: 10 },
};

const CONCURRENCY = 64;

type LoopOptions = { loop: LoopName; targets: number; rounds: number; checksPerSecond?: number };

/** What one run of a reference loop cost its own process and the simulator that served it. */
type LoopCost = {
  /** CPU of the client for each measured check. */
  clientCpuUs: number;
  /** Time the measured checks took together. */
  wallMs: number;
  /** CPU of the simulator for everything it served, the connections and the unmeasured round included. */
  simulatorCpuUs: number;
  served: number;
};

/** What rows share. Runs that several rows compare with are made once. */
export class Context {
  readonly scale: Scale;
  /** Decides what is left to chance, so that a run can be made again. */
  readonly seed: string;
  readonly #references = new Map<LoopName, Promise<LoopCost>>();

  readonly #seconds: number | undefined;

  /** `seconds`: how long the rows measure that take minutes, instead of what their scale says. */
  constructor({ scale, seed, seconds }: { scale: Scale; seed: string; seconds?: number | undefined }) {
    this.scale = scale;
    this.seed = seed;
    this.#seconds = seconds;
  }

  /** The scale of a long row, with the duration that was asked for. */
  timed<T extends { seconds: number }>(scales: Record<Scale, T>): T {
    const scale = scales[this.scale];
    return { ...scale, seconds: this.#seconds ?? scale.seconds };
  }

  /** A reference loop at the scale of this run. */
  reference(loop: LoopName): Promise<LoopCost> {
    let cost = this.#references.get(loop);
    if (cost === undefined) {
      cost = this.longReference(loop, 1);
      this.#references.set(loop, cost);
    }
    return cost;
  }

  /** The same, `times` as long, and made anew. */
  longReference(loop: LoopName, times: number): Promise<LoopCost> {
    const { targets, rounds } = REFERENCE_SCALES[this.scale];
    return this.runLoop({ loop, targets, rounds: rounds * times });
  }

  /** A reference loop in a process of its own, against a fresh simulator of healthy servers. */
  runLoop(options: LoopOptions): Promise<LoopCost> {
    return this.withSimulator(options.targets, [], async simulator => {
      const { seed, port } = simulator;
      const run: LoopRun = { ...options, seed, port, concurrency: CONCURRENCY };
      const before = await simulator.stats();
      const result: LoopResult = JSON.parse(
        await runProgram(new URL('./references/child.ts', import.meta.url), JSON.stringify(run)),
      );
      const after = await simulator.stats();
      return {
        clientCpuUs: result.cpuUs / result.checks,
        wallMs: result.wallMs,
        simulatorCpuUs: (after.cpuMs - before.cpuMs) * 1000,
        served: after.traffic.answers[200] ?? 0,
      };
    });
  }

  /** The load generator in a process of its own. */
  async runLoad(run: LoadRun): Promise<LoadResult> {
    return JSON.parse(await runProgram(new URL('./load.ts', import.meta.url), JSON.stringify(run)));
  }

  /** Runs `use` beside a simulator, which is stopped whatever happens. */
  async withSimulator<T>(
    servers: number,
    flags: readonly string[],
    use: (simulator: SimulatorProcess) => Promise<T>,
  ): Promise<T> {
    const simulator = await spawnSimulator(servers, flags);
    try {
      return await use(simulator);
    } finally {
      await simulator.stop();
    }
  }

  /** Runs `use` beside a control plane with these settings, which is stopped whatever happens. */
  async withControlPlane<T>(
    settings: Readonly<Record<string, string>>,
    use: (controlPlane: ControlPlane) => Promise<T>,
  ): Promise<T> {
    const controlPlane = await startControlPlane(settings);
    try {
      return await use(controlPlane);
    } finally {
      await controlPlane.stop();
    }
  }
}
