import { createHash, randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type pg from 'pg';
import { type App, startApp } from './app.ts';
import { bootstrap, createSignInLink } from './bootstrap.ts';
import { processSettings, type Settings, withHost } from './config.ts';
import { enrolLocalAgent, type LocalAgent, startLocalAgent } from './local-agent.ts';
import { systemClock } from './platform/clock.ts';
import { descriptorLimit } from './platform/descriptors.ts';
import { StartupError } from './platform/errors.ts';
import { createLog, type Log } from './platform/log.ts';
import { loadMasterKeys } from './platform/master-key.ts';
import { openDataDir } from './platform/postgres/data-dir.ts';
import { startEmbeddedPostgres } from './platform/postgres/embedded.ts';
import { acquireInstanceLock } from './platform/postgres/instance-lock.ts';
import { createPrivateFile, readPrivateFile } from './platform/private-file.ts';
import { acquireProcessLock } from './platform/process-lock.ts';
import { version } from './version.ts';

const clock = systemClock;
const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

/** What has been started so far; stopped in reverse. */
const started: { name: string; stop(): Promise<void> }[] = [];
let stopping: Promise<void> | undefined;

async function main(): Promise<void> {
  const settings = processSettings();
  const log = createLog({ level: settings.logLevel });
  const interrupted = new AbortController();
  let interruptedAtMs = 0;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      // The second time is meant seriously; the database recovers at the next start. But one Ctrl-C may arrive
      // twice, from the terminal and from a parent that passes it on.
      if (interrupted.signal.aborted && clock.monotonicMs() - interruptedAtMs > 1_000) process.exit(1);
      if (interrupted.signal.aborted) return;
      interruptedAtMs = clock.monotonicMs();
      interrupted.abort();
      void end(0);
    });
  }
  const dataDir = await openDataDir(settings.dataDir, process.geteuid?.() ?? -1);
  settings.dataDir = dataDir.path;
  const masterKeys = await loadMasterKeys({
    fromEnvironment: settings.masterKey,
    file: settings.masterKeyFile,
    dataDir: settings.dataDir,
    log,
  });
  const database = await openDatabaseServer(settings, log, interrupted.signal);
  const agent = await maybeLocalAgent(settings, log);
  const descriptors = descriptorLimit();
  const app = await startApp({
    settings,
    connection: database.connection,
    masterKeys,
    clock,
    log,
    instance: database.instance,
    workerName: `${hostname()}:${process.pid}`,
    pin: agent?.pin ?? null,
    ...(descriptors === null ? {} : { maxConnections: Math.floor(descriptors * 0.8) }),
    egressExceptions: agent === null ? [] : [{ address: agent.address, port: agent.port }],
  });
  started.push({ name: 'app', stop: () => app.stop() });
  if (interrupted.signal.aborted) return;
  await announce(app, settings, database.description, agent);
}

type DatabaseServer = { connection: pg.ClientConfig; description: string; instance: string | null };

/** The operator's PostgreSQL, or our own. */
async function openDatabaseServer(
  settings: Settings,
  log: Log,
  signal: AbortSignal,
): Promise<DatabaseServer> {
  if (settings.databaseUrl !== null) {
    const { host, pathname, searchParams } = new URL(withHost(settings.databaseUrl));
    return {
      connection: { connectionString: settings.databaseUrl },
      description: `PostgreSQL at ${searchParams.get('host') ?? host}${pathname}`,
      instance: holdDataDir(settings.dataDir) ? await instanceId(settings.dataDir) : null,
    };
  }
  const embedded = await startEmbeddedPostgres({
    dataDir: settings.dataDir,
    settings: { shared_buffers: `${settings.sharedBuffersMib}MB`, huge_pages: settings.hugePages },
    log,
    clock,
    signal,
    onProgress: line => say(`${line}…`),
  });
  started.push({ name: 'database', stop: () => embedded.stop() });
  embedded.onExit(info => {
    log.fatal(info, 'the embedded PostgreSQL has ended');
    void end(1);
  });
  return {
    connection: embedded.connection,
    description: `embedded PostgreSQL ${embedded.version} in ${settings.dataDir}`,
    instance: await instanceId(settings.dataDir),
  };
}

/**
 * Several workers may share a data directory with an outside database. The one that holds its lock knows that
 * whoever held it before is dead; the others wait for leases to expire.
 */
function holdDataDir(dataDir: string): boolean {
  try {
    acquireInstanceLock(dataDir);
    return true;
  } catch (error) {
    if (error instanceof StartupError) return false;
    throw error;
  }
}

/** A name for this data directory that no copy of the path on another machine shares. */
async function instanceId(dataDir: string): Promise<string> {
  const path = join(dataDir, 'instance-id');
  await createPrivateFile(path, `${randomUUID()}\n`);
  const id = (await readPrivateFile(path))!.trim();
  return createHash('sha256').update(`${id} ${dataDir}`).digest('hex').slice(0, 32);
}

/** The agent of this machine, and the installation to which it is pinned. */
type PinnedAgent = LocalAgent & { pin: string };

async function maybeLocalAgent({ dataDir, ...settings }: Settings, log: Log): Promise<PinnedAgent | null> {
  if (!settings.localAgent || settings.role !== 'all') return null;
  if (acquireProcessLock(join(dataDir, 'agent.lock')) === null) {
    log.warn({ dataDir }, 'another opsfleet with this data directory watches this machine already');
    return null;
  }
  const agent = await startLocalAgent({ dataDir, clock, log });
  started.push({ name: 'agent', stop: () => agent.stop() });
  return { ...agent, pin: await instanceId(dataDir) };
}

async function announce(
  app: App,
  settings: Settings,
  database: string,
  agent: PinnedAgent | null,
): Promise<void> {
  say(`opsfleet ${version}`);
  if (app.url === null) {
    say(`  polling    with ${database}`);
    return;
  }
  const { organizationId, token } = await bootstrap(app.context);
  const name =
    agent === null ? null : await enrolLocalAgent(app.context, organizationId, { agent, pin: agent.pin });
  const link = await createSignInLink(app.context, organizationId);
  const url = settings.publicUrl ?? app.url;
  say(`  dashboard  ${url}/sign-in#link=${link}`);
  say('             (works once, for 15 minutes; after that, sign in with the token below)');
  say(`  API        ${url}/api/v1/fleet, described at ${url}/api`);
  say(`  API token  ${token.given ? 'as set in OPSFLEET_ADMIN_TOKEN' : token.token}`);
  say(`  database   ${database}`);
  if (name !== null) say(`  agent      watches this machine as "${name}"`);
  say('Stop with Ctrl-C.');
}

/** Stops what was started, in reverse, and ends the process. */
function end(code: number): Promise<void> {
  stopping ??= (async () => {
    for (const part of started.toReversed()) {
      await part.stop().catch((error: unknown) => {
        process.stderr.write(`${part.name} did not stop cleanly: ${String(error)}\n`);
      });
    }
    process.exit(code);
  })();
  return stopping;
}

try {
  await main();
} catch (error) {
  if (error instanceof StartupError) process.stderr.write(`opsfleet cannot start: ${error.message}\n`);
  else
    process.stderr.write(`opsfleet cannot start: ${error instanceof Error ? error.stack : String(error)}\n`);
  await end(1);
}
