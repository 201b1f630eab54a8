import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Context } from './context.ts';
import type { OrganizationId } from './ids.ts';
import { violatedConstraint } from './platform/database-failure.ts';
import { createPrivateFile, readPrivateFile, replacePrivateFile } from './platform/private-file.ts';
import { ensurePinnedSlot } from './polling/slots.ts';
import { changeServer, registerServer } from './servers/register.ts';
import { findPinnedServer } from './servers/store.ts';
import { mintCredential } from './tokens/token.ts';

export type LocalAgent = {
  url: string;
  address: string;
  port: number;
  token: string;
  /** Of the child that runs now. */
  pid(): number | null;
  stop(): Promise<void>;
};

type Parts = { dataDir: string; clock: Context['clock']; log: Context['log'] };

const program = fileURLToPath(new URL('../../agent/src/main.ts', import.meta.url));
const address = '127.0.0.1';
const startTimeoutMs = 10_000;
const stopTimeoutMs = 3_000;
/** After our own kill -9 the old agent goes as soon as its standard input ends; meanwhile it holds the port. */
const portAttempts = 5;
const portRetryMs = 400;
const restartAfterMs = 1_000;

/**
 * Runs the agent for this machine as a child process on loopback, again if it ends. It ends with us, however
 * we end. Port and token stay the same from one start to the next, so that this machine stays the same server.
 */
export async function startLocalAgent(parts: Parts): Promise<LocalAgent> {
  const { dataDir, clock, log } = parts;
  await createPrivateFile(join(dataDir, 'agent-token'), `${mintCredential()}\n`);
  const token = (await readPrivateFile(join(dataDir, 'agent-token')))!.trim();
  const portFile = join(dataDir, 'agent-port');
  const lastPort = Number((await readPrivateFile(portFile))?.trim() ?? 0);
  let agent = await startOnPort(lastPort, token, parts);
  const { port } = agent;
  if (port !== lastPort) await replacePrivateFile(portFile, `${port}\n`);
  const stopped = new AbortController();

  async function keepRunning(): Promise<void> {
    while (!stopped.signal.aborted) {
      if (agent.child.exitCode === null && agent.child.signalCode === null) await once(agent.child, 'exit');
      if (stopped.signal.aborted) return;
      log.error({ code: agent.child.exitCode }, 'the agent for this machine has ended; it is started again');
      await clock.sleep(restartAfterMs, stopped.signal);
      agent = (stopped.signal.aborted ? null : await launch(port, token, parts)) ?? agent;
    }
  }
  const kept = keepRunning();
  return {
    url: `http://${address}:${port}`,
    address,
    port,
    token,
    pid: () => agent.child.pid ?? null,
    async stop() {
      stopped.abort();
      await end(agent.child, clock);
      await kept;
      // One that was just being started again.
      await end(agent.child, clock);
    },
  };
}

type Running = { child: ChildProcess; port: number };

async function startOnPort(port: number, token: string, parts: Parts): Promise<Running> {
  const { clock, log } = parts;
  const attempts = port === 0 ? 0 : portAttempts;
  for (let attempt = 1; attempt <= attempts; attempt += 1) {
    const running = await launch(port, token, parts);
    if (running !== null) return running;
    await clock.sleep(portRetryMs);
  }
  if (port !== 0) log.warn({ port }, 'the port of the local agent is taken; it moves to another');
  const running = await launch(0, token, parts);
  if (running === null)
    throw new Error('the agent for this machine does not start; OPSFLEET_LOG_LEVEL=info shows what it says');
  return running;
}

/** Null where the agent ended instead of listening. */
async function launch(port: number, token: string, { dataDir, clock, log }: Parts): Promise<Running | null> {
  const child = spawn(process.execPath, [program], {
    // Its standard input stays open as long as we live, and ends when we do.
    stdio: ['pipe', 'pipe', 'pipe'],
    // A session of its own: Ctrl-C at the terminal reaches us, and we end it in order.
    detached: true,
    env: {
      PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
      OPSFLEET_AGENT_TOKEN: token,
      OPSFLEET_AGENT_HOST: address,
      OPSFLEET_AGENT_PORT: String(port),
      OPSFLEET_AGENT_TLS: 'off',
      OPSFLEET_AGENT_DATA_DIR: dataDir,
      OPSFLEET_AGENT_EXIT_WITH_PARENT: 'true',
      // What Node made of the sources, kept for the next start: 40 MB less than stripping types again.
      NODE_COMPILE_CACHE: join(dataDir, 'compile-cache'),
    },
  });
  const gaveUp = new AbortController();
  const lines = createInterface({ input: child.stdout });
  createInterface({ input: child.stderr }).on('line', line =>
    log.info({ agent: line }, 'the local agent says'),
  );
  const ready = new Promise<number | null>(resolve => {
    lines.once('line', line => resolve(portOf(line)));
    child.once('exit', () => resolve(null));
    child.once('error', () => resolve(null));
  });
  const listening = await Promise.race([ready, clock.sleep(startTimeoutMs, gaveUp.signal).then(() => null)]);
  gaveUp.abort();
  if (listening === null) {
    await end(child, clock);
    return null;
  }
  return { child, port: listening };
}

function portOf(line: string): number | null {
  try {
    const { listening } = JSON.parse(line) as { listening: string };
    return Number(new URL(listening).port);
  } catch {
    return null;
  }
}

async function end(child: ChildProcess, clock: Context['clock']): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const ended = new Promise<void>(resolve => child.once('exit', () => resolve()));
  const inTime = new AbortController();
  child.kill('SIGTERM');
  await Promise.race([ended, clock.sleep(stopTimeoutMs, inTime.signal)]);
  inTime.abort();
  if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
}

/** Marks the server that this machine is, whatever it is called. */
const tag = 'opsfleet:local';

/**
 * Makes this machine a server of the organization, or corrects the one it is already. It is pinned to the
 * installation that runs the agent: no other process could reach the agent, or may. Returns its name.
 */
export async function enrolLocalAgent(
  context: Context,
  organizationId: OrganizationId,
  { agent, pin }: { agent: Pick<LocalAgent, 'url' | 'token'>; pin: string },
): Promise<string> {
  const db = context.db.tenant(organizationId);
  const slot = await ensurePinnedSlot(context.db.system, pin);
  const known = await findPinnedServer(db, { slot, tag });
  if (known !== null) {
    const hasMoved = known.apiUrl !== agent.url;
    if (hasMoved || known.slot !== slot) {
      const update = hasMoved ? { api_url: agent.url, api_token: agent.token } : {};
      await changeServer(context, db, { id: known.id, update, slot });
    }
    return known.name;
  }
  const name = hostname();
  const registration = {
    hostname: name,
    api_url: agent.url,
    api_token: agent.token,
    description: 'This machine, where opsfleet runs.',
    tags: [tag],
  };
  const names = [name, `${name} (opsfleet)`, `${name} (opsfleet ${pin.slice(0, 8)})`] as const;
  return underFreeName(names, free => registerServer(context, db, { ...registration, name: free }, { slot }));
}

/** Registers under the first of the names that nobody else has, and returns it. */
async function underFreeName(
  [name, ...others]: readonly [string, ...string[]],
  register: (name: string) => Promise<unknown>,
): Promise<string> {
  try {
    await register(name);
    return name;
  } catch (error) {
    const [next, ...rest] = others;
    const isTaken = violatedConstraint(error) === 'managed_servers_organization_id_name_key';
    if (!isTaken || next === undefined) throw error;
    return underFreeName([next, ...rest], register);
  }
}
