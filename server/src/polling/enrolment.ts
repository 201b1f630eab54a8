import { healthIntervalMs } from '../health/breaker.ts';
import { uncheckedState } from '../health/evaluate.ts';
import type { Clock } from '../platform/clock.ts';
import type { Egress } from '../platform/egress/client.ts';
import type { PollStore } from './poll-store.ts';
import { createEntry, type Entry, kinds, type Roster, resolveTarget, type ServerKey } from './roster.ts';
import type { Scheduler } from './scheduler.ts';
import type { Lease } from './slots.ts';
import { isAskedLike, type PolledServer } from './store.ts';

/** Keeps the roster and the schedule in step with what is stored. */
export type Enrolment = {
  /** Takes up the servers of newly leased slots. `isFirst`: the process has just started. */
  load(leases: readonly Lease[], isFirst: boolean): Promise<void>;
  /** Reads servers again that somebody changed. */
  reload(keys: readonly ServerKey[]): Promise<void>;
  dismiss(entry: Entry): void;
};

type Options = {
  store: PollStore;
  clock: Clock;
  egress: Egress;
  roster: Roster;
  scheduler: Scheduler;
  healthIntervalMs: number;
  /** The slots held now, each with the epoch of its lease. */
  epochs(): ReadonlyMap<number, number>;
};

/** On start, a small fleet is looked at again at once; for a large one that would be a stampede. */
const smallFleet = 200;
const firstLookSpreadMs = 1_500;
/** After the first health check, so that a new server's charts begin with its page. */
const firstMetricsDelayMs = 1_000;

export function createEnrolment(options: Options): Enrolment {
  const { store, clock, egress, roster, scheduler } = options;

  function dismiss(entry: Entry): void {
    scheduler.stop(entry);
    roster.remove(entry.server.id);
    if (entry.origin !== '') egress.forget(entry.origin);
  }

  async function enrol(servers: readonly PolledServer[], lookNow: boolean): Promise<void> {
    const tokens = await store.loadTokens(servers);
    const tokenOf = new Map(tokens.map(token => [token.serverId, token]));
    for (const [index, server] of servers.entries()) {
      const epoch = options.epochs().get(server.slot);
      if (epoch === undefined) continue;
      const known = roster.get(server.id);
      if (known !== undefined) {
        refresh(known, server, tokenOf.get(server.id) ?? null);
        continue;
      }
      const entry = createEntry(server, epoch, tokenOf.get(server.id) ?? null, egress);
      roster.set(entry);
      const isNew = server.state.reason === 'not_checked';
      const inMs = lookNow
        ? (index * firstLookSpreadMs) / servers.length
        : isNew
          ? 0
          : overdueInMs(server, index);
      scheduler.start(entry, {
        healthInMs: inMs,
        metricsInMs: isNew || lookNow ? (inMs ?? 0) + firstMetricsDelayMs : null,
      });
    }
  }

  /** A check that fell into the gap between two workers is made up for, spread so that many are no stampede. */
  function overdueInMs({ id, state, intervalMs }: PolledServer, index: number): number | null {
    const at = clock.now();
    const everyMs = healthIntervalMs(state, intervalMs.health ?? options.healthIntervalMs, at, id);
    const ageMs = at.getTime() - (state.lastCheckedAt?.getTime() ?? 0);
    return ageMs > everyMs ? (index * 2) % everyMs : null;
  }

  function refresh(entry: Entry, server: PolledServer, sealedToken: Entry['sealedToken']): void {
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
    const oldOrigin = entry.origin;
    const renewed = sealedToken?.version !== entry.sealedToken?.version;
    entry.server = { ...server, state };
    entry.sealedToken = sealedToken;
    if (regrouped) entry.site = resolveTarget(server, egress).site;
    if (moved) {
      Object.assign(entry, resolveTarget(server, egress));
      if (oldOrigin !== '' && oldOrigin !== entry.origin) egress.forget(oldOrigin);
    }
    if (paced) scheduler.start(entry, { healthInMs: null, metricsInMs: null });
    if (moved || renewed || restarted) for (const kind of kinds) scheduler.request(entry, kind, clock.now());
  }

  async function reload(keys: readonly ServerKey[]): Promise<void> {
    const servers = await store.loadServers(keys);
    const found = new Set(servers.map(server => server.id));
    for (const { id } of keys) {
      const entry = roster.get(id);
      if (entry !== undefined && !found.has(id)) dismiss(entry);
    }
    await enrol(servers, false);
  }

  return {
    async load(leases, isFirst) {
      const servers = await store.loadSlots(leases.map(lease => lease.slot));
      await enrol(servers, isFirst && servers.length <= smallFleet);
    },
    reload,
    dismiss,
  };
}
