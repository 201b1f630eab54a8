import { uncheckedState } from '../health/evaluate.ts';
import type { Clock } from '../platform/clock.ts';
import type { Egress } from '../platform/egress/client.ts';
import type { PollStore } from './poll-store.ts';
import {
  createEntry,
  type Entry,
  kinds,
  type Roster,
  resolveTarget,
  type ServerKey,
  storedToken,
  type Token,
} from './roster.ts';
import type { FirstPolls, Scheduler } from './scheduler.ts';
import type { Sight } from './sight.ts';
import type { Lease } from './slots.ts';
import { isAskedLike, type PolledServer } from './store.ts';

/** Keeps the roster and the schedule in step with what is stored. */
export type Enrolment = {
  /** Takes up the servers of newly leased slots. `isFirst`: the process has just started. */
  load(leases: readonly Lease[], isFirst: boolean): Loading;
  /** Reads servers again that somebody changed. */
  reload(keys: readonly ServerKey[]): Promise<void>;
  dismiss(entry: Entry): void;
};

/** Loads some slots at a time: a statement for all of a large fleet takes longer than statements may. */
export type Loading = {
  /** Takes up a few slots more, those that are still ours. Whether that was all. After a rejection, it tries them again. */
  next(): Promise<boolean>;
};

type Options = {
  store: PollStore;
  clock: Clock;
  egress: Egress;
  roster: Roster;
  scheduler: Scheduler;
  sight: Pick<Sight, 'forget'>;
  healthIntervalMs: number;
  metricsIntervalMs: number;
  /** The slots held now, each with the epoch of its lease. */
  epochs(): Epochs;
};

type Epochs = ReadonlyMap<number, number>;

/** On start, a small fleet is looked at again at once; for a large one that would be a stampede. */
const smallFleet = 200;
const firstLookSpreadMs = 1_500;
/**
 * Of 100,000 servers, 780: less than a socket's buffer. With more, the database waits for a busy worker to read, and
 * the statement runs out of its time.
 */
const slotsAtOnce = 2;
/** After the first health check, so that a new server's charts begin with its page. */
const firstMetricsDelayMs = 1_000;

export function createEnrolment(options: Options): Enrolment {
  const { store, clock, egress, roster, scheduler } = options;

  function dismiss(entry: Entry): void {
    scheduler.stop(entry);
    roster.remove(entry.server.id);
    options.sight.forget(entry.server.id);
    if (entry.origin !== '') egress.forget(entry.origin);
  }

  /**
   * `under`: the leases that were held before the servers were read. Of a slot that was lost and came back meanwhile,
   * somebody else has written newer states.
   */
  async function enrol(
    servers: readonly PolledServer[],
    { under, lookNow }: { under: Epochs; lookNow: boolean },
  ): Promise<void> {
    const tokens = await store.loadTokens(servers);
    const tokenOf = new Map(tokens.map(token => [token.serverId, token]));
    for (const [index, server] of servers.entries()) {
      const epoch = under.get(server.slot);
      if (epoch === undefined || options.epochs().get(server.slot) !== epoch) continue;
      const known = roster.get(server.id);
      if (known !== undefined && known.server.slot === server.slot) {
        refresh(known, server, storedToken(tokenOf.get(server.id) ?? null));
        continue;
      }
      const entry = createEntry(
        known === undefined ? server : moved(known, server),
        epoch,
        tokenOf.get(server.id) ?? null,
        egress,
      );
      roster.set(entry);
      const isNew = server.state.reason === 'not_checked';
      const inMs = lookNow ? (index * firstLookSpreadMs) / servers.length : 0;
      scheduler.start(
        entry,
        isNew || lookNow
          ? { healthInMs: inMs, metricsInMs: inMs + firstMetricsDelayMs }
          : nextOf(server, index),
      );
    }
  }

  /** The server as it comes into another slot of ours, with a lease of its own. Our state is ahead of the stored one. */
  function moved(known: Entry, server: PolledServer): PolledServer {
    dismiss(known);
    return server.state.reason === 'not_checked' ? server : { ...server, state: known.server.state };
  }

  /**
   * An interval after the last poll, whoever made it: the rhythm may be another here, where the clock of the wall
   * has jumped. One that fell into the gap between two workers is made up for, spread so that many are no stampede.
   */
  function nextInMs(lastAt: Date | null, everyMs: number, index: number): number {
    const ageMs = clock.now().getTime() - (lastAt?.getTime() ?? 0);
    return ageMs > everyMs ? (index * 2) % everyMs : everyMs - ageMs;
  }

  /** In how long a server that is taken over is polled. */
  function nextOf({ state, intervalMs, metricsAttemptedAt }: PolledServer, index: number): FirstPolls {
    // As configured also for one that is spared: its rhythm may be another here, and it had no check for so long.
    const healthMs = intervalMs.health ?? options.healthIntervalMs;
    const metricsMs = intervalMs.metrics ?? options.metricsIntervalMs;
    return {
      healthInMs: nextInMs(state.lastCheckedAt, healthMs, index),
      metricsInMs: nextInMs(metricsAttemptedAt, metricsMs, index),
    };
  }

  function refresh(entry: Entry, server: PolledServer, token: Token | null): void {
    const moved = !isAskedLike(entry.server, server);
    const regrouped = entry.server.region !== server.region;
    const paced =
      entry.server.intervalMs.health !== server.intervalMs.health ||
      entry.server.intervalMs.metrics !== server.intervalMs.metrics;
    // Our state is ahead of the stored one, except where the API started the server anew, at a time of its own.
    const restarted =
      server.state.reason === 'not_checked' && server.state.since.getTime() !== entry.knownSince.getTime();
    // A result of the old address may have been written over the row that the API started anew.
    const state = restarted ? server.state : moved ? uncheckedState(clock.now()) : entry.server.state;
    entry.knownSince = server.state.since;
    // The API has cleared them.
    if (moved || restarted) entry.toldComponents = null;
    const oldOrigin = entry.origin;
    const renewed = token?.version !== entry.token?.version;
    entry.server = { ...server, state };
    entry.token = token;
    if (regrouped) entry.site = resolveTarget(server, egress).site;
    if (moved) {
      Object.assign(entry, resolveTarget(server, egress));
      if (oldOrigin !== '' && oldOrigin !== entry.origin) egress.forget(oldOrigin);
    }
    if (paced) scheduler.start(entry, { healthInMs: null, metricsInMs: null });
    if (moved || renewed || restarted) for (const kind of kinds) scheduler.request(entry, kind, clock.now());
  }

  async function reload(keys: readonly ServerKey[]): Promise<void> {
    const under = new Map(options.epochs());
    // One that was moved to a slot of somebody else is not ours any more.
    const servers = (await store.loadServers(keys)).filter(server => options.epochs().has(server.slot));
    const found = new Set(servers.map(server => server.id));
    for (const { id } of keys) {
      const entry = roster.get(id);
      if (entry !== undefined && !found.has(id)) dismiss(entry);
    }
    await enrol(servers, { under, lookNow: false });
  }

  return {
    load(leases, isFirst) {
      const under = new Map(leases.map(({ slot, epoch }) => [slot, epoch]));
      let done = 0;
      // While it may still turn out to be a small fleet, nobody is taken up.
      let held: PolledServer[] | null = isFirst ? [] : null;
      return {
        async next() {
          const part = leases.slice(done, done + slotsAtOnce);
          const ours = part.filter(({ slot, epoch }) => options.epochs().get(slot) === epoch);
          const loaded = ours.length === 0 ? [] : await store.loadSlots(ours.map(({ slot }) => slot));
          const isLast = done + part.length === leases.length;
          const servers = [...(held ?? []), ...loaded];
          if (held !== null && servers.length <= smallFleet && !isLast) held = servers;
          else {
            await enrol(servers, { under, lookNow: held !== null && servers.length <= smallFleet });
            held = null;
          }
          done += part.length;
          return isLast;
        },
      };
    },
    reload,
    dismiss,
  };
}
