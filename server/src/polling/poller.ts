import { setMaxListeners } from 'node:events';
import type { StoredEvent } from '../events/event.ts';
import type { EventFeed } from '../events/feed.ts';
import { healthIntervalMs } from '../health/breaker.ts';
import type { JobId, ServerId } from '../ids.ts';
import type { Clock } from '../platform/clock.ts';
import type { Egress } from '../platform/egress/client.ts';
import type { Instruments } from '../platform/instruments.ts';
import type { Log } from '../platform/log.ts';
import { slotOf } from '../servers/server.ts';
import { createEnrolment } from './enrolment.ts';
import { createLeases } from './leases.ts';
import type { PollStore } from './poll-store.ts';
import { type OpenToken, type PollParts, pollHealth, pollMetrics } from './polls.ts';
import { createResults } from './results.ts';
import { createRoster, type ServerKey } from './roster.ts';
import { createScheduler } from './scheduler.ts';
import { createSelfWatch } from './self-watch.ts';
import { createSight, sightPolicy } from './sight.ts';
import { type WorkerRow, type WorkerStats } from './slots.ts';

export type Poller = {
  /** Takes slots and polls their servers until `stop`. */
  start(): Promise<void>;
  /** Starts nothing new, waits for what runs, stores it, gives the slots back. */
  stop(): Promise<void>;
  stats(): WorkerStats;
};

export type PollerOptions = {
  store: PollStore;
  clock: Clock;
  log: Log;
  egress: Egress;
  openToken: OpenToken;
  instruments: Instruments;
  feed: Pick<EventFeed, 'subscribe' | 'announce'>;
  worker: WorkerRow;
  healthIntervalMs: number;
  metricsIntervalMs: number;
};

// A batch costs PostgreSQL much the same whether it is small or large; what somebody waits for is not held back.
const flushIntervalMs = 1_000;
/** A poll that takes longer is forgotten: whoever takes the server over asks it again at once. */
const drainTimeoutMs = 2_000;
const noStats = (): WorkerStats => ({
  health: { performed: 0, successful: 0, failed: 0, lastRun: null, lastDurationSeconds: null },
  metrics: {
    performed: 0,
    successful: 0,
    failed: 0,
    lastRun: null,
    lastDurationSeconds: null,
    valuesCollected: 0,
  },
  servers: 0,
  slots: 0,
  latenessP99Seconds: 0,
});

/** The heart: leases slots, keeps their servers in memory, polls them, hands what it finds to be stored. */
export function createPoller(options: PollerOptions): Poller {
  const { store, clock, log, egress, instruments, feed } = options;
  const ended = new AbortController();
  // Every sleep of every loop listens to it.
  setMaxListeners(0, ended.signal);
  const roster = createRoster();
  const stats = noStats();
  let seq = 0;
  let flushSoon = new AbortController();
  let tasks: Promise<unknown>[] = [];
  /** Work on the roster runs one after the other: two loads of one server must not overtake each other. */
  let rosterWork: Promise<void> = Promise.resolve();

  const results = createResults({ store, log, instruments, onChanges: () => feed.announce() });
  const sight = createSight(sightPolicy(options.healthIntervalMs));
  const selfWatch = createSelfWatch({
    clock,
    roster,
    sight,
    ask: entry => scheduler.request(entry, 'health', clock.now()),
  });
  const parts: PollParts = {
    clock,
    egress,
    openToken: options.openToken,
    instruments,
    results,
    healthIntervalMs: options.healthIntervalMs,
    sight,
    onDoubt: entry => selfWatch.onDoubt(entry),
    stats,
    nextSeq: () => ++seq,
  };
  const scheduler = createScheduler({
    clock,
    instruments,
    intervalMs({ server: { state, intervalMs, id } }, kind) {
      if (kind === 'metrics') return intervalMs.metrics ?? options.metricsIntervalMs;
      return healthIntervalMs(state, intervalMs.health ?? options.healthIntervalMs, clock.now(), id);
    },
    async poll(entry, kind, requestedAt) {
      try {
        if (kind === 'health') return await pollHealth(parts, entry, requestedAt);
        await pollMetrics(parts, entry, requestedAt);
      } catch (error) {
        // A bug of ours: said loudly, and never the server's fault.
        log.error({ err: error, server: entry.server.id, kind }, 'a poll failed unexpectedly');
      } finally {
        if (requestedAt !== null) flushSoon.abort();
      }
      return null;
    },
  });
  const leases = createLeases({
    store,
    clock,
    log,
    worker: options.worker,
    report: () => ({ stats: current(), conditions: selfWatch.conditions(stats.latenessP99Seconds) }),
    announce: () => feed.announce(),
    gained: gained => queue(() => enrolment.load(gained, stats.health.performed === 0)),
    lost: async slots => {
      for (const slot of slots) for (const entry of roster.ofSlot(slot)) enrolment.dismiss(entry);
      // Whoever takes them over begins with what is stored.
      await results.flush().catch(() => undefined);
    },
  });

  const enrolment = createEnrolment({ ...options, roster, scheduler, epochs: leases.held });

  function current(): WorkerStats {
    stats.servers = roster.size();
    stats.slots = leases.held().size;
    stats.latenessP99Seconds = scheduler.latenessP99Seconds();
    instruments.scheduled.set(stats.servers);
    instruments.slots.set(stats.slots);
    return stats;
  }

  function onEvents(events: readonly StoredEvent[]): void {
    const changed = new Map<ServerId, ServerKey>();
    for (const event of events) {
      if (event.type === 'workers.changed') {
        if (event.subject !== options.worker.id) leases.wake();
      } else if (event.type === 'server.check_requested' && leases.held().has(slotOf(event.subject))) {
        const { subject, at, data } = event;
        void queue(async () => request([subject], data.kinds, at));
      } else if (event.type === 'fleet.check_requested') {
        const { organizationId, subject, at } = event;
        void queue(async () =>
          request(await store.loadJobServers(organizationId, subject as JobId), ['health'], at),
        );
      } else if (
        (event.type === 'server.registered' ||
          event.type === 'server.updated' ||
          event.type === 'server.deleted') &&
        leases.held().has(slotOf(event.subject))
      ) {
        changed.set(event.subject, { organizationId: event.organizationId, id: event.subject });
      }
    }
    if (changed.size > 0) void queue(() => enrolment.reload([...changed.values()]));
  }

  function request(ids: readonly ServerId[], wanted: readonly ('health' | 'metrics')[], at: Date): void {
    for (const id of ids) {
      const entry = roster.get(id);
      if (entry !== undefined) for (const kind of wanted) scheduler.request(entry, kind, at);
    }
  }

  /** Appends to the work on the roster; what the database refuses for now is tried until it works. */
  function queue(work: () => Promise<void>): Promise<void> {
    const before = rosterWork;
    rosterWork = (async () => {
      await before;
      await untilDone(work);
    })();
    return rosterWork;
  }

  async function untilDone(work: () => Promise<void>): Promise<void> {
    while (!ended.signal.aborted) {
      try {
        await work();
        return;
      } catch (error) {
        log.warn({ err: error }, 'servers cannot be read; trying again');
        await clock.sleep(1_000, ended.signal);
      }
    }
  }

  async function flushLoop(): Promise<void> {
    while (!ended.signal.aborted) {
      flushSoon = new AbortController();
      try {
        await results.flush();
      } catch (error) {
        log.warn({ err: error, waiting: results.waiting() }, 'results cannot be stored; they wait in memory');
      }
      await clock.sleep(flushIntervalMs, AbortSignal.any([ended.signal, flushSoon.signal]));
    }
  }

  let unsubscribe = (): void => {};
  return {
    async start() {
      // First listen, then load: what is committed in between is seen twice and not missed.
      unsubscribe = feed.subscribe(onEvents);
      await leases.start();
      tasks = [scheduler.run(ended.signal), flushLoop(), leases.run(ended.signal)];
    },
    async stop() {
      unsubscribe();
      ended.abort();
      await Promise.all([...tasks, rosterWork]);
      await Promise.race([scheduler.drain(), clock.sleep(drainTimeoutMs)]);
      for (const entry of roster.all()) enrolment.dismiss(entry);
      await results.flush().catch(error => {
        log.error({ err: error, lost: results.waiting() }, 'results could not be stored before the end');
      });
      await leases.stop();
    },
    stats: current,
  };
}
