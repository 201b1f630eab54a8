import type { StoredEvent } from '../../src/events/event.ts';
import type { Fault } from './nemesis.ts';
import { isWell } from './network.ts';
import { epochMs } from './process.ts';
import { healthIntervalMs, type World } from './world.ts';

/** A sentence for every promise that was broken, once all workers have ended. */
export function broken(world: World, faults: readonly Fault[], options: { storm: boolean }): string[] {
  return [
    ...lostOrRepeated(world, faults),
    ...falseVerdicts(world),
    ...brokenChains(world),
    ...(options.storm ? [] : late(world)),
  ];
}

/** What a process may hold that is not stored yet: one flush, and the one under way. */
const unflushedMs = 3_000;
/** Of a killed one that much: a worker that has just started looks at all 40 servers at once. */
const unflushedRows = 45;

/** Every result is stored once: all of a worker that lived or ended in order, of a killed one all but the last. */
function lostOrRepeated({ workers, database }: World, faults: readonly Fault[]): string[] {
  return workers.flatMap(({ process, poller, end }) => {
    const found = poller.stats().health.performed;
    const stored = database.rowsStoredBy(process);
    const missing = found - stored;
    if (missing < 0) return [`${process.name} found ${found} and stored ${stored} health rows`];
    if (missing === 0) return [];
    // Waiting in memory when the process was killed, or when it was ended without a database.
    const wasTroubled = faults.some(
      ({ name, atMs, untilMs }) =>
        name.includes('database') && end !== null && atMs <= end.atMs && end.atMs <= untilMs + unflushedMs,
    );
    const allowed = end?.how === 'killed' ? unflushedRows : 0;
    if (wasTroubled || missing <= allowed) return [];
    return [`${process.name} (${end?.how ?? 'alive'}) lost ${missing} of ${found} health rows`];
  });
}

/** No server is called down that was well: whatever we saw was our own doing. */
function falseVerdicts({ database, network }: World): string[] {
  return changes(database.tables.events).flatMap(({ subject, at, data }) => {
    if (data.to !== 'unreachable' && data.to !== 'critical') return [];
    const server = network.servers[[...database.tables.servers.keys()].indexOf(subject)]!;
    const atMs = at.getTime() - epochMs;
    // The last of three failures may have waited in memory for the database.
    const storedLateMs = 6 * 60_000;
    return network.wasWellSince(server, atMs - storedLateMs)
      ? [`${data.name} was called ${data.to} (${data.reason}) at ${atMs} ms, and had been well`]
      : [];
  });
}

/** Each change begins where the one before has ended. */
function brokenChains({ database }: World): string[] {
  const last = new Map<string, string>();
  return changes(database.tables.events).flatMap(({ subject, data, at }) => {
    const before = last.get(subject) ?? 'unknown';
    last.set(subject, data.to);
    return data.from === before && data.from !== data.to
      ? []
      : [
          `${data.name} went from ${data.from} to ${data.to} at ${at.getTime() - epochMs} ms, and was ${before}`,
        ];
  });
}

/** Left alone for long enough, we know the truth about everybody. */
export function wrongInTheEnd({ database, network, running }: World): string[] {
  const owned = database.tables.slots.filter(({ owner }) => owner !== null).length;
  const wrong = [...database.tables.servers.values()].flatMap(({ name, state }, index) => {
    const server = network.servers[index]!;
    return (state.status === 'healthy') === isWell(network.conditionOf(server))
      ? []
      : [
          `${name} is ${network.conditionOf(server)} in the end, and is called ${state.status} (${state.reason})`,
        ];
  });
  return [
    ...wrong,
    ...(owned === database.tables.slots.length ? [] : [`only ${owned} slots are polled in the end`]),
    ...(running().length === 0 ? ['no worker runs in the end'] : []),
  ];
}

/** No check starts more than two intervals after the one before, whatever single fault there was. */
function late({ network, workers }: World): string[] {
  const limitMs = 2 * healthIntervalMs;
  const lastStopMs = Math.max(...workers.map(({ end }) => end?.atMs ?? 0));
  return network.servers.flatMap(({ asked, origin }) => {
    const times = [0, ...asked.map(({ atMs }) => atMs), lastStopMs];
    const gaps = times.slice(1).map((atMs, index) => ({ atMs, gapMs: atMs - times[index]! }));
    const worst = gaps.toSorted((a, b) => b.gapMs - a.gapMs)[0]!;
    return worst.gapMs > limitMs
      ? [`${origin} was left alone for ${worst.gapMs} ms until ${worst.atMs} ms`]
      : [];
  });
}

type Change = Extract<StoredEvent, { type: 'server.health_changed' }>;
const changes = (events: readonly StoredEvent[]): Change[] =>
  events.filter((event): event is Change => event.type === 'server.health_changed');
