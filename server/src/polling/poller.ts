import { setMaxListeners } from 'node:events';
import type { StoredEvent } from '../events/event.ts';
import type { EventFeed } from '../events/feed.ts';
import { healthIntervalMs } from '../health/breaker.ts';
import type { JobId, ServerId } from '../ids.ts';
import type { Clock } from '../platform/clock.ts';
import type { Egress } from '../platform/egress/client.ts';
import type { Instruments } from '../platform/instruments.ts';
import type { Log } from '../platform/log.ts';
import type { Spool } from '../platform/spool.ts';
import { slotCount, slotOf } from '../servers/server.ts';
import { createEnrolment } from './enrolment.ts';
import { createLeases } from './leases.ts';
import { createOutlook } from './outlook.ts';
import type { PollStore } from './poll-store.ts';
import { type OpenToken, type PollParts, pollHealth, pollMetrics } from './polls.ts';
import type { ReferenceProbe } from './references.ts';
import { createResults } from './results.ts';
import { createRoster, type ServerKey } from './roster.ts';
import { createRosterWork } from './roster-work.ts';
import { createScheduler, type Scheduler } from './scheduler.ts';
import type { WorkerReport, WorkerRow, WorkerStats } from './slots.ts';
import { createStoring } from './storing.ts';

export type Poller = {
  /** Takes slots, loads their servers and polls them, until `stop`. Resolves when the first slots are leased. */
  start(): Promise<void>;
  /** Starts nothing new, waits for what runs, stores it, gives the slots back. */
  stop(): Promise<void>;
  stats(): WorkerStats;
  /** Polls that run now, by lane. */
  inFlight: Scheduler['inFlight'];
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
  /** What tells whether our own network works; none where nobody has named any. */
  references: readonly ReferenceProbe[];
  /** The installation for which this process polls what is pinned to it; null: none. */
  pin: string | null;
  /** Where results wait while the database is away. Null: in memory. */
  spool: Spool | null;
  healthIntervalMs: number;
  metricsIntervalMs: number;
};

/** A poll that takes longer is not waited for: whoever takes the server over asks it again at once. */
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
  spooled: { bytes: 0, records: 0, oldestAgeSeconds: 0, refused: 0, corrupt: 0 },
});

/** The heart: leases slots, keeps their servers in memory, polls them, hands what it finds to be stored. */
export function createPoller(options: PollerOptions): Poller {
  const { store, clock, log, instruments, feed, spool } = options;
  const ended = new AbortController();
  // Every sleep of every loop listens to it.
  setMaxListeners(0, ended.signal);
  const roster = createRoster();
  const work = createRosterWork({ clock, log, ended: ended.signal });
  const stats = noStats();
  let seq = 0;
  let tasks: Promise<unknown>[] = [];

  const results = createResults({ store, clock, log, instruments, spool, onChanges: () => feed.announce() });
  const storing = createStoring({ results, clock, log, ended: ended.signal });
  const outlook = createOutlook({
    ...options,
    roster,
    ask: entry => scheduler.advance(entry, 'health'),
    hasOthers: () => leases.hasOthers(),
  });
  const parts: PollParts = { ...options, ...outlook, results, stats, nextSeq: () => ++seq };
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
        if (requestedAt !== null) storing.soon();
      }
      return null;
    },
  });
  const leases = createLeases({
    ...options,
    report,
    announce: () => feed.announce(),
    gained: gained => void work.load(enrolment.load(gained, stats.health.performed === 0)),
    lost: async slots => {
      for (const slot of slots) for (const entry of roster.ofSlot(slot)) enrolment.dismiss(entry);
      // Whoever takes them over begins with what is stored.
      await results.flushStates().catch(() => undefined);
    },
  });

  const enrolment = createEnrolment({
    ...options,
    roster,
    scheduler,
    sight: outlook.sight,
    epochs: leases.held,
  });

  function report(): WorkerReport {
    const { latenessP99Seconds } = current();
    return { stats, conditions: { ...outlook.conditions(latenessP99Seconds), ...storing.conditions() } };
  }

  function current(): WorkerStats {
    stats.servers = roster.size();
    stats.slots = [...leases.held().keys()].filter(slot => slot < slotCount).length;
    stats.latenessP99Seconds = scheduler.latenessP99Seconds();
    stats.spooled = spooled();
    instruments.scheduled.set(stats.servers);
    instruments.slots.set(stats.slots);
    return stats;
  }

  function spooled(): WorkerStats['spooled'] {
    const { bytes = 0, records = 0, oldestAt = null, torn = 0, corrupt = 0 } = spool?.stats() ?? {};
    const ageMs = oldestAt === null ? 0 : clock.now().getTime() - oldestAt.getTime();
    const oldestAgeSeconds = Math.max(0, Math.round(ageMs / 1000));
    instruments.spoolBytes.set(bytes);
    instruments.spoolRecords.set(records);
    instruments.spoolAge.set(oldestAgeSeconds);
    instruments.spoolCorrupt.set(torn + corrupt);
    return { bytes, records, oldestAgeSeconds, refused: results.refused(), corrupt: torn + corrupt };
  }

  /** The number of a pinned slot is not in the id. */
  const mayBeOurs = (id: ServerId): boolean => options.pin !== null || leases.held().has(slotOf(id));

  function onEvents(events: readonly StoredEvent[]): void {
    const changed = new Map<ServerId, ServerKey>();
    for (const event of events) {
      if (event.type === 'workers.changed') {
        if (event.subject !== options.worker.id) leases.wake();
      } else if (event.type === 'witness.asked') {
        if (event.subject !== options.worker.id) outlook.onAsked();
      } else if (event.type === 'server.check_requested' && mayBeOurs(event.subject)) {
        const { subject, at, data } = event;
        void work.queue(async () => request([subject], data.kinds, at));
      } else if (event.type === 'fleet.check_requested') {
        const { organizationId, subject, at } = event;
        void work.queue(async () =>
          request(await store.loadJobServers(organizationId, subject as JobId), ['health'], at),
        );
      } else if (
        (event.type === 'server.registered' ||
          event.type === 'server.updated' ||
          event.type === 'server.deleted') &&
        mayBeOurs(event.subject)
      ) {
        changed.set(event.subject, { organizationId: event.organizationId, id: event.subject });
      }
    }
    if (changed.size > 0) void work.queue(() => enrolment.reload([...changed.values()]));
  }

  function request(ids: readonly ServerId[], wanted: readonly ('health' | 'metrics')[], at: Date): void {
    for (const id of ids) {
      const entry = roster.get(id);
      if (entry !== undefined) for (const kind of wanted) scheduler.request(entry, kind, at);
    }
  }

  let unsubscribe = (): void => {};
  return {
    async start() {
      // First listen, then load: what is committed in between is seen twice and not missed.
      unsubscribe = feed.subscribe(onEvents);
      // A lease writes with a higher epoch than any before it: what an earlier process left must come first.
      await storing.storeWhatIsLeft();
      await leases.start();
      const { signal } = ended;
      tasks = [scheduler.run(signal), storing.run(), leases.run(signal), outlook.run(signal)];
    },
    async stop() {
      unsubscribe();
      ended.abort();
      await Promise.all([...tasks, work.idle()]);
      await Promise.race([scheduler.drain(), clock.sleep(drainTimeoutMs)]);
      for (const entry of roster.all()) enrolment.dismiss(entry);
      await storing.storeTheRest();
      await leases.stop();
      // A poll that was not waited for may have had its answer since.
      await storing.storeTheRest();
    },
    stats: current,
    inFlight: scheduler.inFlight,
  };
}
