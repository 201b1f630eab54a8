import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createAuthenticator } from './auth/authenticate.ts';
import type { Settings } from './config.ts';
import type { Context } from './context.ts';
import { isDistributed } from './distribution/state.ts';
import { createEventFeed } from './events/feed.ts';
import { adoptRestoredEvents } from './events/store.ts';
import { newId, type WorkerId } from './ids.ts';
import { awaitDatabase } from './platform/await-database.ts';
import type { Clock } from './platform/clock.ts';
import { type Database, openDatabase } from './platform/db.ts';
import { createEgress, type Egress } from './platform/egress/client.ts';
import { createEgressPolicy } from './platform/egress/policy.ts';
import { askReference, referencePolicy } from './platform/egress/reference.ts';
import type { Lookup } from './platform/egress/resolver.ts';
import { StartupError } from './platform/errors.ts';
import { mountReference } from './platform/http/reference.ts';
import { buildHttpServer } from './platform/http/server.ts';
import { mountDashboard } from './platform/http/static.ts';
import { createInstruments, exposeEgress, exposePolls } from './platform/instruments.ts';
import { createKeyring, type Keyring, type MasterKeys } from './platform/keyring.ts';
import type { Log } from './platform/log.ts';
import { migrate, readOwnMigrations } from './platform/migrate.ts';
import { runLoop } from './platform/runtime/loop.ts';
import { openSpool, type Spool } from './platform/spool.ts';
import { claimSpoolDirectory, spoolFilesOf } from './platform/spool-directory.ts';
import { stepDown } from './platform/step-down.ts';
import { createPollStore } from './polling/poll-store.ts';
import { createPoller, type Poller } from './polling/poller.ts';
import type { ReferenceProbe } from './polling/references.ts';
import { resultQueues } from './polling/results.ts';
import { ensurePinnedSlot, type WorkerRow } from './polling/slots.ts';
import { ensurePartitions } from './retention/maintain.ts';
import { routes } from './routes.ts';
import { openServerToken } from './secrets/secrets.ts';
import { rewrapDataKeys, verifyKeys } from './secrets/store.ts';
import { version } from './version.ts';
import { workers } from './workers.ts';

export type AppOptions = {
  settings: Settings;
  connection: Parameters<typeof openDatabase>[0]['connection'];
  masterKeys: MasterKeys;
  clock: Clock;
  log: Log;
  /** Names this installation of the program while nobody else can bear the name; null where that is unknown. */
  instance: string | null;
  workerName: string;
  /** The installation for which this process alone polls what is pinned to it; null: none. */
  pin: string | null;
  /** Listeners of our own that may be polled although they are on loopback. */
  egressExceptions?: readonly { address: string; port: number }[];
  lookup?: Lookup;
  maxConnections?: number;
};

export type App = {
  context: Context;
  /** Where the API listens, or null in a worker. */
  url: string | null;
  poller: Poller | null;
  stop(): Promise<void>;
};

const dashboardDirectory = fileURLToPath(new URL('../../web/dist', import.meta.url));

const databaseTimeoutMs = 30_000;
// Reads that take longer than this are no use to the person who waits for them.
const statementTimeoutMs = 5_000;

/**
 * Wires every part from the settings and starts the roles. Tests start it the same way, with a clock, a
 * resolver and a database of their own. Throws StartupError for what the operator has to mend; what was
 * started by then has been stopped.
 */
export async function startApp(options: AppOptions): Promise<App> {
  const stops: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    for (const each of stops.splice(0).toReversed()) await each();
  };
  try {
    const db = await openChecked(options);
    stops.push(() => db.close());
    const prepared = { ...options, isDistributed: await prepareDatabase(db, options) };
    return { ...(await startRoles(db, prepared, stops)), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The database once it answers, as a role that row security binds. */
async function openChecked({ settings, connection, clock, log }: AppOptions): Promise<Database> {
  const access = { connection, poolSize: settings.databasePoolSize, statementTimeoutMs, log, clock };
  const entrance = openDatabase(access);
  await awaitDatabase(entrance, {
    clock,
    timeoutMs: databaseTimeoutMs,
    onWaiting: () => log.warn('waiting for the database'),
  });
  return openDatabase({ ...access, role: await stepDown(entrance) });
}

/** Whether its tables are spread over several machines. */
async function prepareDatabase(db: Database, { settings, clock, log }: AppOptions): Promise<boolean> {
  const client = await db.dedicated();
  try {
    const applied = await migrate(client, await readOwnMigrations());
    if (applied.length > 0) log.info({ applied }, 'database schema brought up to date');
  } finally {
    await client.end();
  }
  const isSpread = await isDistributed(db.system);
  await ensurePartitions(db.system, { now: clock.now(), interval: settings.partitionInterval });
  const adopted = await adoptRestoredEvents(db.system);
  if (adopted > 0) {
    log.warn(
      { events: adopted },
      'the database was restored from another; its events were put before the new ones',
    );
  }
  return isSpread;
}

type Stops = (() => Promise<void>)[];

async function startRoles(
  db: Database,
  options: AppOptions & { isDistributed: boolean },
  stops: Stops,
): Promise<Omit<App, 'stop'>> {
  const { settings, clock, log } = options;
  const secure = settings.publicUrl?.startsWith('https:') ?? false;
  const stopping = new AbortController();
  let poller: Poller | null = null;
  const egress = createOutboundCalls(options);
  const instruments = createInstruments();
  exposeEgress(instruments, egress.stats);
  const context: Context = {
    settings,
    db,
    clock,
    log,
    egress,
    keyring: await openKeyring(db, options),
    instruments,
    feed: createEventFeed({ db, clock, log }),
    authenticator: createAuthenticator({ db: db.system, clock, log, secure }),
    stopping: stopping.signal,
    isPolling: () => settings.role === 'api' || poller !== null,
  };
  stops.push(() => context.egress.close());
  context.feed.subscribe(events => {
    if (events.some(({ type }) => type === 'organization.deleted')) context.authenticator.forget();
  });
  await context.feed.start();
  stops.push(() => context.feed.stop());
  // Before the poller: a port that is taken should stop a start that has not touched any server.
  const http = settings.role === 'worker' ? null : await listen(context, secure);
  if (settings.role !== 'api') {
    if (options.pin !== null) await ensurePinnedSlot(db.system, options.pin);
    poller = createPoller({
      ...context,
      ...settings,
      references: referenceProbes(options, stops),
      store: createPollStore(
        db.system,
        clock,
        { interval: settings.partitionInterval, retention: settings.retention },
        options.isDistributed,
      ),
      openToken: (sealed, origin) => openServerToken(context.keyring, sealed, origin),
      worker: workerOf(options),
      pin: options.pin,
      spool: await openWorkerSpool(options, stops),
    });
    exposePolls(instruments, poller.inFlight);
    await poller.start();
    stops.push(poller.stop);
  }
  if (http !== null) stops.push(http.close);
  const upkeep = workers(context).map(task => runLoop(task, { clock, log, signal: stopping.signal }));
  stops.push(async () => {
    stopping.abort();
    await Promise.all(upkeep);
    await context.authenticator.flush().catch(() => undefined);
  });
  return { context, url: http?.url ?? null, poller };
}

function createOutboundCalls({ settings, clock, log, ...options }: AppOptions): Egress {
  return createEgress({
    policy: createEgressPolicy({
      purpose: 'poll',
      allow: settings.egressAllow,
      exceptions: options.egressExceptions ?? [],
    }),
    clock,
    log,
    // Longer than the interval, or no connection would ever serve a second poll.
    keepAliveMs: Math.max(75_000, settings.metricsIntervalMs * 1.25),
    ...(options.lookup === undefined ? {} : { lookup: options.lookup }),
    ...(options.maxConnections === undefined ? {} : { maxConnections: options.maxConnections }),
  });
}

/** A way out of their own: where references are, no server may be polled for that. */
function referenceProbes({ settings, clock, log, lookup }: AppOptions, stops: Stops): ReferenceProbe[] {
  const egress = createEgress({
    policy: referencePolicy,
    clock,
    log,
    keepAliveMs: 0,
    ...(lookup === undefined ? {} : { lookup }),
  });
  stops.push(() => egress.close());
  return settings.references.map(reference => ({
    target: reference.target,
    ask: () => askReference(egress, reference),
  }));
}

async function openKeyring(db: Database, { masterKeys, log }: AppOptions): Promise<Keyring> {
  const keyring = createKeyring(masterKeys);
  await verifyKeys(db.system, keyring);
  const rewrapped = await rewrapDataKeys(db.system, keyring);
  if (rewrapped.failed > 0) log.error(rewrapped, 'data keys could not be moved to the newest master key');
  return keyring;
}

/** Where results wait while the database is away, with what earlier processes of this data directory left. */
async function openWorkerSpool({ settings, clock, log }: AppOptions, stops: Stops): Promise<Spool> {
  const directory = await claimSpoolDirectory(join(settings.dataDir, 'spool'));
  stops.push(async () => directory.release());
  return openSpool({
    files: spoolFilesOf(directory.path),
    queues: resultQueues,
    limitBytes: settings.spoolLimitBytes,
    now: () => clock.now(),
    log,
  });
}

function workerOf({ clock, workerName, instance }: AppOptions): WorkerRow {
  const startedAt = clock.now();
  return { id: newId<WorkerId>(startedAt.getTime()), name: workerName, instance, version, startedAt };
}

async function listen(context: Context, secure: boolean): Promise<{ url: string; close(): Promise<void> }> {
  const { host, port } = context.settings;
  const { authenticate } = context.authenticator;
  const app = await buildHttpServer({ context, routes, authenticate, secure });
  mountReference(app, routes);
  await mountDashboard(app, dashboardDirectory);
  try {
    const url = await app.listen({ host, port });
    return { url, close: () => app.close() };
  } catch (error) {
    await app.close();
    const why = { EADDRINUSE: 'is in use', EACCES: 'needs more rights' }[
      (error as { code?: string }).code ?? ''
    ];
    if (why === undefined) throw error;
    throw new StartupError(`OPSFLEET_PORT: port ${port} of ${host} ${why}; choose another.`, {
      cause: error,
    });
  }
}
