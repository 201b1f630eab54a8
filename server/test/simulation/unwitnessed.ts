import type { Fault } from './nemesis.ts';
import { isWell, type ManagedServer } from './network.ts';
import { partitioned } from './partitions.ts';
import { epochMs } from './process.ts';
import type { World } from './world.ts';

/** So long before a verdict its first failure and the asking of others may lie, and a fault that explains it. */
const doubtMs = 90_000;

/**
 * No server is called unreachable that another worker could have reached: one that ran, was connected to the
 * database and to the server, while nothing else was wrong.
 */
export function unwitnessed(world: World, faults: readonly Fault[]): string[] {
  const { network, database, workers } = world;
  const ids = [...database.tables.servers.keys()];
  return database.tables.events.flatMap(event => {
    if (event.type !== 'server.health_changed' || event.data.to !== 'unreachable') return [];
    const server = network.servers[ids.indexOf(event.subject)]!;
    const untilMs = event.at.getTime() - epochMs;
    const sinceMs = untilMs - doubtMs;
    const other = faults.some(
      fault => !fault.name.includes(partitioned) && fault.atMs <= untilMs && fault.untilMs >= sinceMs,
    );
    const cut = network.partitions.cutSince(server, sinceMs);
    const couldBeSeen = workers.some(
      ({ process, end }) => (end === null || end.atMs > untilMs) && !cut.includes(process),
    );
    return wasWell(server, sinceMs, untilMs) && !other && couldBeSeen
      ? [`${event.data.name} was called unreachable at ${untilMs} ms, and others could reach it`]
      : [];
  });
}

const wasWell = ({ history }: ManagedServer, sinceMs: number, untilMs: number): boolean =>
  history.every(
    (each, index) =>
      isWell(each.condition) ||
      each.sinceMs > untilMs ||
      (history[index + 1]?.sinceMs ?? Number.POSITIVE_INFINITY) < sinceMs,
  );
