import { join } from 'node:path';
import { cpuMs, pssBytes } from './proc.ts';
import { type Program, runProgram, startProgram } from './processes.ts';

type PollWorkerOptions = {
  name: string;
  /** Its data directories are made here; whoever made this one removes it. */
  parent: string;
  /** The settings of the installation that it belongs to. */
  env: Readonly<Record<string, string>>;
};

/**
 * A process that only polls (OPSFLEET_ROLE=worker), on the database of a control plane. It can be killed, and
 * started again by the same name, as often as wanted.
 */
export class PollWorker {
  readonly #options: PollWorkerOptions;
  #program: Program | undefined;
  /** Counts the installations that this worker has been. */
  #installation = 0;
  /** CPU of its ended processes, as far as it was known. */
  #endedCpuMs = 0;

  constructor(options: PollWorkerOptions) {
    this.#options = options;
  }

  get name(): string {
    return this.#options.name;
  }

  /**
   * Resolves when it polls. It comes back as who it was, and so takes over at once what it held; `asAnother`: as
   * a new installation, which has to wait until the leases of the old one expire.
   */
  async start(asAnother = false): Promise<void> {
    if (asAnother) this.#installation++;
    const { name, parent, env } = this.#options;
    const dataDir = join(parent, `${name}-${this.#installation}`);
    this.#program = startProgram({
      name,
      script: new URL('../../server/start.mjs', import.meta.url),
      env: { ...env, OPSFLEET_ROLE: 'worker', OPSFLEET_DATA_DIR: dataDir },
    });
    while (!/^\s+polling\s/.test(await this.#program.nextLine()));
  }

  /** SIGKILL. Resolves when it is gone. */
  async kill(): Promise<void> {
    const program = this.#running();
    this.#endedCpuMs += await cpuMs(program.pid);
    await program.kill();
    this.#program = undefined;
  }

  /** SIGSTOP, and SIGCONT after `seconds` or when the bench ends. Resolves when it goes on. */
  async pause(seconds: number): Promise<void> {
    const { pid } = this.#running();
    await runProgram(new URL('./pause.mjs', import.meta.url), JSON.stringify({ pid, seconds }));
  }

  /** CPU so far in milliseconds, that of the processes before it included. */
  async cpuMs(): Promise<number> {
    return this.#endedCpuMs + (this.#program === undefined ? 0 : await cpuMs(this.#program.pid));
  }

  async residentBytes(): Promise<number> {
    return pssBytes(this.#running().pid);
  }

  /** SIGTERM: it stores what it has found and gives its slots back. */
  async stop(): Promise<void> {
    await this.#program?.stop();
    this.#program = undefined;
  }

  #running(): Program {
    if (this.#program === undefined) throw new Error(`${this.name} does not run`);
    return this.#program;
  }
}
