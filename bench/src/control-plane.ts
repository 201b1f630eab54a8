import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, request } from 'undici';
import { readPidFile } from '../../server/src/platform/postgres/pid-file.ts';
import { cpuMs, familyCpuMs, familyPssBytes, pssBytes } from './proc.ts';
import { type Program, startProgram, stopWhenInterrupted } from './processes.ts';
import type { Target } from './simulator/identity.ts';

/** The real program with its embedded PostgreSQL, in a data directory of its own that goes with it. */
export type ControlPlane = {
  readonly url: string;
  /** Administers the organization `default`. */
  readonly token: string;
  /** Where its PostgreSQL listens, for rows that read or fill the tables themselves. */
  readonly database: { host: string; port: number; user: string; database: string };
  /** A request to its API. Rejects unless the answer is a success; the answer is parsed, not checked. */
  call<T>(method: 'GET' | 'POST', path: string, body?: object): Promise<T>;
  /** Registers the servers, 32 at a time, and resolves when each has been answered. */
  registerFleet(targets: readonly Target[]): Promise<void>;
  /** CPU so far in milliseconds: of its own process, and of all processes of PostgreSQL together. */
  cpu(): Promise<{ pollerMs: number; postgresMs: number }>;
  /** Memory of all its processes in bytes, PostgreSQL's shared buffers counted once. */
  residentBytes(): Promise<number>;
  /** Ends everything, PostgreSQL included, and removes the data directory. */
  stop(): Promise<void>;
};

const TOKEN = 'opsfleet-bench-admin-token-0123456789';
const START_TIMEOUT_MS = 120_000;
const REGISTRATIONS_AT_ONCE = 32;

/**
 * Starts `server/start.mjs`, as `npm start` does, on a free port, without the local agent and without a rate
 * limit, and resolves when it listens. `settings` are further settings by their variable, such as
 * FLEET_HEALTH_INTERVAL.
 */
export async function startControlPlane(
  settings: Readonly<Record<string, string>> = {},
): Promise<ControlPlane> {
  const parent = await mkdtemp(join(tmpdir(), 'opsfleet-bench-'));
  // As root, PostgreSQL runs as another user, who has to pass through.
  await chmod(parent, 0o711);
  const dataDir = join(parent, 'data');
  const program = startProgram({
    name: 'control plane',
    script: new URL('../../server/start.mjs', import.meta.url),
    // Nothing of ours: a DATABASE_URL or an interval of the person who measures would change what is measured.
    env: {
      PATH: process.env['PATH'] ?? '',
      OPSFLEET_DATA_DIR: dataDir,
      OPSFLEET_PORT: '0',
      OPSFLEET_ADMIN_TOKEN: TOKEN,
      OPSFLEET_LOCAL_AGENT: 'false',
      OPSFLEET_EGRESS_ALLOW: '127.0.0.0/8',
      OPSFLEET_RATE_LIMIT: '0',
      ...settings,
    },
  });
  const agent = new Agent({ connections: REGISTRATIONS_AT_ONCE, pipelining: 1 });
  const stop = stopWhenInterrupted(async () => {
    await agent.destroy();
    await program.stop();
    await endPostgres(dataDir);
    await rm(parent, { recursive: true, force: true });
  });
  try {
    const url = await announcedUrl(program);
    const postmaster = await readPidFile(join(dataDir, 'pgdata'));
    if (postmaster?.address === undefined)
      throw new Error('The embedded PostgreSQL does not say where it is');
    const call = caller(url, agent);
    const { pid, address } = postmaster;
    return {
      url,
      token: TOKEN,
      database: { ...address, user: 'opsfleet', database: 'opsfleet' },
      call,
      registerFleet: targets => inLanes(REGISTRATIONS_AT_ONCE, targets, target => register(call, target)),
      async cpu() {
        const [pollerMs, postgresMs] = await Promise.all([cpuMs(program.pid), familyCpuMs(pid)]);
        return { pollerMs, postgresMs };
      },
      residentBytes: async () => (await pssBytes(program.pid)) + (await familyPssBytes(pid)),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
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

function caller(url: string, dispatcher: Agent): ControlPlane['call'] {
  return async <T>(method: 'GET' | 'POST', path: string, body?: object): Promise<T> => {
    const { statusCode, body: answer } = await request(url + path, {
      dispatcher,
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
  };
}

function register(call: ControlPlane['call'], { index, address, url, token }: Target): Promise<unknown> {
  return call('POST', '/api/v1/fleet/servers', {
    name: `server-${index}`,
    hostname: address,
    api_url: url,
    api_token: token,
    region: `region-${index % 5}`,
    environment: index % 10 === 0 ? 'staging' : 'production',
  });
}

async function inLanes<T>(
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
