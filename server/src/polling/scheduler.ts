import { isSuspect } from '../health/evaluate.ts';
import type { Clock } from '../platform/clock.ts';
import type { Instruments } from '../platform/instruments.ts';
import { createLane, createStarts } from './lanes.ts';
import { createLateness } from './lateness.ts';
import type { Due, Entry, Kind } from './roster.ts';
import { createSchedule, firstDueMs, followingDueMs, offsetMs } from './schedule.ts';

/** Runs every poll at its time: fixed rate, stable offsets, never two of one server and kind at once. */
export type Scheduler = {
  /** Puts an entry on the schedule; its first polls are due at the given delays, or as their offset says. */
  start(entry: Entry, first: FirstPolls): void;
  stop(entry: Entry): void;
  /** As soon as possible, in a lane of its own; after the running one, if one is running. */
  request(entry: Entry, kind: Kind, at: Date): void;
  /** The next regular poll is due now, where none is running; those after it keep their rhythm. */
  advance(entry: Entry, kind: Kind): void;
  /** The lateness of the polls of the last minute, 99th percentile, in seconds. */
  latenessP99Seconds(): number;
  /** Polls that run now. */
  inFlight(): Readonly<Record<LaneName, number>>;
  run(signal: AbortSignal): Promise<void>;
  /** Forgets what has not started and resolves when nothing runs any more. */
  drain(): Promise<void>;
};

/** In how long the first polls are due, if that is sooner than their offset; null: it is not. */
export type FirstPolls = { healthInMs: number | null; metricsInMs: number | null };

export type SchedulerOptions = {
  clock: Clock;
  instruments: Instruments;
  /** From one poll to the next, as the server stands now. */
  intervalMs(entry: Entry, kind: Kind): number;
  /** One poll. Returns how soon to look again, if sooner than scheduled. Must not reject. */
  poll(entry: Entry, kind: Kind, requestedAt: Date | null): Promise<number | null>;
};

// A black hole keeps its place for the 3 s of a connect: 10,000 servers of which 30 % are black holes need 300.
const concurrency = { live: 512, suspect: 512, on_demand: 64 } as const;
type LaneName = keyof typeof concurrency;

const longestSleepMs = 1_000;
/**
 * What is due within this starts together, up to so much late. The answers then come together too, and are read in
 * one turn of the event loop: at 500 polls a second and 5 ms, waking up was a third of what a poll cost.
 */
export const gatherMs = 50;
/** Later than this, we were held up (a paused process, a suspended machine), and so was everybody else. */
const missedAfterMs = 1_000;

export function createScheduler(options: SchedulerOptions): Scheduler {
  const { clock, instruments, intervalMs } = options;
  const schedule = createSchedule<Due>();
  const starts = createStarts(clock);
  const lanes = {
    live: createLane(concurrency.live, starts),
    suspect: createLane(concurrency.suspect, starts),
    on_demand: createLane(concurrency.on_demand, starts),
  };
  // Offsets count from midnight 1970, so that a restart, or another worker, keeps every server's rhythm.
  const originMs = clock.monotonicMs() - clock.now().getTime();
  const lateness = createLateness();
  let wake = new AbortController();
  let draining = false;

  function put(entry: Entry, kind: Kind, dueMs: number): void {
    const track = entry.tracks[kind];
    if (track.scheduled !== null) schedule.drop(track.scheduled);
    track.scheduled = schedule.add({ entry, kind }, dueMs);
    // Each call makes an error with its stack, also where it has been made before.
    if (!wake.signal.aborted) wake.abort();
  }

  function due({ entry, kind }: Due, dueMs: number, nowMs: number): void {
    const track = entry.tracks[kind];
    const everyMs = intervalMs(entry, kind);
    if (nowMs >= track.regularDueMs) {
      track.regularDueMs = followingDueMs(track.regularDueMs, nowMs, everyMs);
    }
    const lateMs = nowMs - dueMs;
    if (lateMs > missedAfterMs && track.missedSinceMs === null) {
      // Everybody is overdue at once, and a burst would be late again. As much time as was lost makes twice the
      // usual pace; after a long stall, three times.
      const spreadMs = Math.min(everyMs / 2, lateMs);
      const afterMs = offsetMs(entry.server.id, `missed ${kind}`, spreadMs);
      track.missedSinceMs = dueMs;
      track.scheduled = schedule.add({ entry, kind }, Math.min(nowMs + afterMs, track.regularDueMs));
      return;
    }
    const sinceMs = track.missedSinceMs ?? dueMs;
    track.missedSinceMs = null;
    track.scheduled = schedule.add({ entry, kind }, track.regularDueMs);
    if (track.running) {
      instruments.skipped.inc({ kind });
      return;
    }
    start(entry, kind, {
      lane: isSuspect(entry.server.state) ? 'suspect' : 'live',
      dueMs: sinceMs,
      requestedAt: null,
    });
  }

  function start(
    entry: Entry,
    kind: Kind,
    how: { lane: LaneName; dueMs: number; requestedAt: Date | null },
  ): void {
    const track = entry.tracks[kind];
    track.running = true;
    lanes[how.lane].run(async () => {
      if (!entry.gone) {
        const nowMs = clock.monotonicMs();
        const lateMs = Math.max(0, nowMs - how.dueMs);
        lateness.add(lateMs, nowMs);
        instruments.lateness.observe({ kind }, lateMs / 1000);
        const recheckAfterMs = await options.poll(entry, kind, how.requestedAt);
        plan(entry, kind, recheckAfterMs);
      }
      track.running = false;
      const { requestedAt } = track;
      track.requestedAt = null;
      if (requestedAt !== null && !draining)
        start(entry, kind, { lane: 'on_demand', dueMs: clock.monotonicMs(), requestedAt });
    });
  }

  /** After a poll: sooner than planned where it is in doubt, or is not spared any more. */
  function plan(entry: Entry, kind: Kind, recheckAfterMs: number | null): void {
    if (entry.gone) return;
    const track = entry.tracks[kind];
    const nowMs = clock.monotonicMs();
    const everyMs = intervalMs(entry, kind);
    if (track.regularDueMs > nowMs + everyMs) {
      track.regularDueMs = firstDueMs(nowMs, originMs, offsetMs(entry.server.id, kind, everyMs), everyMs);
      put(entry, kind, track.regularDueMs);
    }
    const dueMs = nowMs + (recheckAfterMs ?? Number.POSITIVE_INFINITY);
    if (dueMs < track.regularDueMs) put(entry, kind, dueMs);
  }

  return {
    start(entry, first) {
      const nowMs = clock.monotonicMs();
      for (const [kind, inMs] of [
        ['health', first.healthInMs],
        ['metrics', first.metricsInMs],
      ] as const) {
        const everyMs = intervalMs(entry, kind);
        const offset = offsetMs(entry.server.id, kind, everyMs);
        entry.tracks[kind].regularDueMs = firstDueMs(nowMs, originMs, offset, everyMs);
        const regular = entry.tracks[kind].regularDueMs;
        put(entry, kind, inMs === null ? regular : Math.min(regular, nowMs + inMs));
      }
    },
    stop(entry) {
      for (const track of Object.values(entry.tracks)) {
        if (track.scheduled !== null) schedule.drop(track.scheduled);
        track.scheduled = null;
        track.requestedAt = null;
      }
    },
    request(entry, kind, at) {
      if (draining) return;
      const track = entry.tracks[kind];
      if (track.running) track.requestedAt = at;
      else start(entry, kind, { lane: 'on_demand', dueMs: clock.monotonicMs(), requestedAt: at });
    },
    advance(entry, kind) {
      if (!entry.tracks[kind].running) put(entry, kind, clock.monotonicMs());
    },
    latenessP99Seconds: () => lateness.p99Ms(clock.monotonicMs()) / 1000,
    inFlight: () => ({
      live: lanes.live.active(),
      suspect: lanes.suspect.active(),
      on_demand: lanes.on_demand.active(),
    }),
    async run(signal) {
      let either = AbortSignal.any([signal, wake.signal]);
      while (!signal.aborted) {
        // Seldom, because a controller costs as much as a poll's bookkeeping.
        if (wake.signal.aborted) {
          wake = new AbortController();
          either = AbortSignal.any([signal, wake.signal]);
        }
        const nowMs = clock.monotonicMs();
        for (let next = schedule.takeDue(nowMs); next !== null; next = schedule.takeDue(nowMs)) {
          due(next.item, next.dueMs, nowMs);
        }
        const untilNextMs = (schedule.nextDueMs() ?? Number.POSITIVE_INFINITY) - clock.monotonicMs();
        const sleepMs = Math.min(longestSleepMs, Math.max(gatherMs, untilNextMs));
        await clock.sleep(sleepMs, either);
      }
    },
    async drain() {
      draining = true;
      for (const lane of Object.values(lanes)) lane.clear();
      await Promise.all(Object.values(lanes).map(lane => lane.idle()));
    },
  };
}
