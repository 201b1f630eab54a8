import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, request } from 'undici';
import { type MasterKeys, masterKey } from '../../server/src/platform/keyring.ts';
import { readPidFile } from '../../server/src/platform/postgres/pid-file.ts';
import type { ServerRegistration } from '../../server/src/servers/server.ts';
import { PollWorker } from './poll-worker.ts';
import { cpuMs, familyCpuMs, familyPssBytes, killFamily, pssBytes } from './proc.ts';
import { type Program, startProgram, stopWhenInterrupted } from './processes.ts';
import type { Target } from './simulator/identity.ts';

/** The real program with its embedded PostgreSQL, in a data directory of its own that goes with it. */
export type ControlPlane = {
  readonly url: string;
  /** Administers the organization `default`. */
  readonly token: string;
  /** Seals what is stored, for rows that fill the tables themselves. */
  readonly masterKeys: MasterKeys;
  /** Where its PostgreSQL listens, for rows that read or fill the tables themselves. */
  readonly database: { host: string; port: number; user: string; database: string };
  /** A request to its API. Rejects unless the answer is a success; the answer is parsed, not checked. */
  call<T>(method: 'GET' | 'POST', path: string, body?: object): Promise<T>;
  /** Registers the servers, 32 at a time, and resolves when each has been answered. */
  registerFleet(targets: readonly Target[]): Promise<void>;
  /** Starts this many processes more that only poll, on the same database. They end with it. */
  startWorkers(count: number): Promise<PollWorker[]>;
  /** CPU so far in milliseconds: of its own process, and of all processes of PostgreSQL together. */
  cpu(): Promise<{ ownMs: number; postgresMs: number }>;
  /** Memory in bytes, PostgreSQL's shared buffers counted once. Workers count for themselves. */
  residentBytes(): Promise<{ own: number; postgres: number }>;
  /** Kills its process and every process of PostgreSQL at once. Workers live on, without a database. */
  crash(): Promise<void>;
  /** Starts again on what a crash has left, and resolves when the API answers. */
  revive(): Promise<void>;
  /** Ends everything, PostgreSQL included, and removes the data directory. */
  stop(): Promise<void>;
};

const TOKEN = 'opsfleet-bench-admin-token-0123456789';
const START_TIMEOUT_MS = 120_000;
const REGISTRATIONS_AT_ONCE = 32;

/**
 * Starts `server/start.mjs`, as `npm start` does, on a free port, without the local agent and without a rate
 * limit, and resolves when it listens. `settings` are further settings by their variable, such as
 * FLEET_HEALTH_INTERVAL; workers that are started later have the same. `authorities` are certificates (PEM)
 * to trust besides the system's: there is no way yet to give a server its own.
 */
export async function startControlPlane(
  settings: Readonly<Record<string, string>> = {},
  authorities?: string,
): Promise<ControlPlane> {
  const parent = await mkdtemp(join(tmpdir(), 'opsfleet-bench-'));
  // As root, PostgreSQL runs as another user, who has to pass through.
  await chmod(parent, 0o711);
  const trust: Record<string, string> = {};
  if (authorities !== undefined) {
    trust['NODE_EXTRA_CA_CERTS'] = join(parent, 'authorities.pem');
    await writeFile(trust['NODE_EXTRA_CA_CERTS'], authorities);
  }
  const controlPlane = new RunningControlPlane(parent, { ...trust, ...settings });
  try {
    await controlPlane.revive();
    return controlPlane;
  } catch (error) {
    await controlPlane.stop();
    throw error;
  }
}

type Running = { program: Program; url: string; postmaster: { pid: number; host: string; port: number } };

class RunningControlPlane implements ControlPlane {
  readonly token = TOKEN;
  readonly masterKeys: MasterKeys;
  readonly stop: () => Promise<void>;
  readonly #parent: string;
  readonly #dataDir: string;
  readonly #env: Readonly<Record<string, string>>;
  readonly #agent = new Agent({ connections: REGISTRATIONS_AT_ONCE, pipelining: 1 });
  readonly #workers: PollWorker[] = [];
  #running: Running | undefined;

  constructor(parent: string, settings: Readonly<Record<string, string>>) {
    const key = randomBytes(32);
    this.masterKeys = [masterKey(key)];
    this.#parent = parent;
    this.#dataDir = join(parent, 'data');
    // Nothing of ours: a DATABASE_URL or an interval of the person who measures would change what is measured.
    this.#env = {
      PATH: process.env['PATH'] ?? '',
      OPSFLEET_PORT: '0',
      OPSFLEET_ADMIN_TOKEN: TOKEN,
      OPSFLEET_MASTER_KEY: key.toString('hex'),
      OPSFLEET_LOCAL_AGENT: 'false',
      OPSFLEET_EGRESS_ALLOW: '127.0.0.0/8',
      OPSFLEET_RATE_LIMIT: '0',
      ...settings,
    };
    this.stop = stopWhenInterrupted(() => this.#end());
  }

  get url(): string {
    return this.#part().url;
  }

  get database(): ControlPlane['database'] {
    const { host, port } = this.#part().postmaster;
    return { host, port, user: 'opsfleet', database: 'opsfleet' };
  }

  async revive(): Promise<void> {
    const program = startProgram({
      name: 'control plane',
      script: new URL('../../server/start.mjs', import.meta.url),
      env: { ...this.#env, OPSFLEET_DATA_DIR: this.#dataDir },
    });
    try {
      const url = await announcedUrl(program);
      const postmaster = await readPidFile(join(this.#dataDir, 'pgdata'));
      if (postmaster?.address === undefined)
        throw new Error('The embedded PostgreSQL does not say where it is');
      this.#running = { program, url, postmaster: { pid: postmaster.pid, ...postmaster.address } };
    } catch (error) {
      await program.stop();
      throw error;
    }
  }

  async crash(): Promise<void> {
    const { program, postmaster } = this.#part();
    this.#running = undefined;
    await killFamily(postmaster.pid);
    await program.kill();
  }

  async startWorkers(count: number): Promise<PollWorker[]> {
    const { host, port } = this.#part().postmaster;
    const databaseUrl = `postgres://opsfleet@localhost/opsfleet?host=${encodeURIComponent(host)}&port=${port}`;
    const env = { ...this.#env, DATABASE_URL: databaseUrl };
    const parent = this.#parent;
    const added = Array.from({ length: count }, (_, index) => {
      return new PollWorker({ name: `worker-${this.#workers.length + index + 1}`, parent, env });
    });
    this.#workers.push(...added);
    await Promise.all(added.map(worker => worker.start()));
    return added;
  }

  async call<T>(method: 'GET' | 'POST', path: string, body?: object): Promise<T> {
    const { statusCode, body: answer } = await request(this.url + path, {
      dispatcher: this.#agent,
      method,
      headers: {
        authorization: `Bearer ${TOKEN}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (statusCode >= 300)
      throw new Error(`${method} ${path} was answered ${statusCode}: ${text.slice(0, 500)}`);
    return JSON.parse(text) as T;
  }

  registerFleet(targets: readonly Target[]): Promise<void> {
    return inLanes(REGISTRATIONS_AT_ONCE, targets, target =>
      this.call('POST', '/api/v1/fleet/servers', registrationOf(target)),
    );
  }

  async cpu(): Promise<{ ownMs: number; postgresMs: number }> {
    const { program, postmaster } = this.#part();
    const [ownMs, postgresMs] = await Promise.all([cpuMs(program.pid), familyCpuMs(postmaster.pid)]);
    return { ownMs, postgresMs };
  }

  async residentBytes(): Promise<{ own: number; postgres: number }> {
    const { program, postmaster } = this.#part();
    return { own: await pssBytes(program.pid), postgres: await familyPssBytes(postmaster.pid) };
  }

  #part(): Running {
    if (this.#running === undefined) throw new Error('The control plane does not run');
    return this.#running;
  }

  async #end(): Promise<void> {
    await Promise.all(this.#workers.map(worker => worker.stop()));
    await this.#agent.destroy();
    await this.#running?.program.stop();
    await endPostgres(this.#dataDir);
    await rm(this.#parent, { recursive: true, force: true });
  }
}

/** Reads what it prints until it names its API; what it prints after that is of no interest. */
async function announcedUrl(program: Program): Promise<string> {
  const timeout = setTimeout(() => void program.stop(), START_TIMEOUT_MS);
  try {
    for (;;) {
      const line = await program.nextLine();
      const url = /^\s+API\s+(http\S+)\/api\/v1\/fleet,/.exec(line)?.[1];
      if (url !== undefined) return url;
    }
  } finally {
    clearTimeout(timeout);
  }
}

/** A server as it is registered through the API; a filled table holds the same. */
export function registrationOf({ index, address, url, token }: Target): ServerRegistration {
  return {
    name: `server-${index}`,
    hostname: address,
    api_url: url,
    api_token: token,
    region: `region-${index % 5}`,
    environment: index % 10 === 0 ? 'staging' : 'production',
  };
}

/** Works on the items, at most so many at once; rejects on the first that fails. */
export async function inLanes<T>(
  lanes: number,
  items: readonly T[],
  work: (item: T) => Promise<unknown>,
): Promise<void> {
  const rest = items.values();
  await Promise.all(
    Array.from({ length: lanes }, async () => {
      // The lanes share one iterator: each takes the next item that nobody has taken.
      for (const item of rest) await work(item);
    }),
  );
}

/** A control plane that was killed leaves its PostgreSQL running: nobody will adopt this one. */
async function endPostgres(dataDir: string): Promise<void> {
  const file = await readPidFile(join(dataDir, 'pgdata'));
  const isOurs = async (pid: number): Promise<boolean> => {
    const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    return commandLine.includes(dataDir);
  };
  if (file === undefined || !(await isOurs(file.pid))) return;
  process.kill(file.pid, 'SIGQUIT');
  while (await isOurs(file.pid)) await sleep(50);
}
