import type { HealthCheckRow } from '../../src/health/history.ts';
import { isWitnessed, keyOf } from './ledger.ts';
import type { Network, Poll } from './network.ts';
import type { World } from './world.ts';

/** What became of all that was heard: polls whose row is stored, and those that were lost within their bound. */
export type Accounts = { stored: number; lost: Record<Excuse, number>; broken: string[] };

/**
 * Why a result may be lost with its process. `unsynced`: it had not waited for long enough to be on disk.
 * `refused`: the disk had refused what the process gave it last, and the database was away.
 */
type Excuse = 'unsynced' | 'refused';

/**
 * A result is stored, on disk, or this young; stopped time does not count. A second at most until it is seen in
 * memory, three until what has been seen for so long is taken to disk, and the disk.
 */
const unsyncedMs = 4_000 + 100;
/** What found nothing waits for another worker, as long as a check of that one may take, and two seconds. */
const weighedMs = 12_000;
const testifiedWithinMs = 15_000;

const minuteMs = 60_000;

/**
 * The accounts once every worker has been told to end, and once more after its machine had another one: what a
 * disk did not give back when it was asked for it, the next process finds there.
 */
export async function accountInTheEnd(world: World): Promise<Accounts> {
  const { timeline, machines } = world;
  for (const worker of world.running()) world.stopWorker(worker);
  await timeline.runUntil(timeline.nowMs() + minuteMs);
  for (const machine of machines) world.startWorker(machine);
  await timeline.runUntil(timeline.nowMs() + minuteMs);
  for (const worker of world.running()) world.stopWorker(worker);
  await timeline.runUntil(timeline.nowMs() + minuteMs);
  return account(world);
}

/**
 * Every answer that a process heard is a row of history, once, and says what was answered; or it was lost for a
 * reason that excuses exactly this. No row tells of a poll that was not made. What a disk has acknowledged is
 * never lost. To be asked once every worker has ended and every spool is empty.
 */
function account(world: World): Accounts {
  const { network, database, ledger } = world;
  const accounts: Accounts = { stored: 0, lost: { unsynced: 0, refused: 0 }, broken: [] };
  /** What was found, by the key of the row: two workers may ask one server in the same millisecond. */
  const heard = { health: new Map<string, Poll['found'][]>(), metrics: new Map<string, Poll['found'][]>() };
  const endOf = new Map(world.workers.map(({ process, end }) => [process, end]));
  const isStored = ({ kind, key }: Pick<Poll, 'kind' | 'key'>): boolean =>
    database.tables[kind === 'health' ? 'checks' : 'metrics'].has(key);

  function excuseOf(poll: Poll): Excuse | null {
    const end = endOf.get(poll.by);
    if (end == null) return null;
    const allowedMs = poll.found === 'nothing' ? weighedMs + unsyncedMs : unsyncedMs;
    if (end.how === 'killed' && poll.by.ranMs(poll.heardMs!, end.atMs) <= allowedMs) return 'unsynced';
    return ledger.hasRefused(poll) ? 'refused' : null;
  }

  const testimonies = network.polls.filter(({ isTestimony }) => isTestimony);
  /** Of a worker that took a question and the server itself at the same time, one check was the testimony. */
  const wasForAnother = (poll: Poll): boolean =>
    !isStored(poll) &&
    testimonies.some(
      each =>
        each === poll ||
        (each.by === poll.by &&
          each.server === poll.server &&
          Math.abs(each.askedMs - poll.askedMs) <= testifiedWithinMs &&
          isStored(each)),
    );

  function fateOf(poll: Poll): string {
    const end = endOf.get(poll.by);
    const fate = end == null ? 'it lives' : `it was ${end.how} at ${end.atMs} ms`;
    return ledger.hasAcknowledged(poll) ? `a disk had acknowledged it; ${fate}` : fate;
  }

  for (const poll of network.polls) {
    const { kind, key, by, heardMs, found } = poll;
    // A collection of metrics that found nothing is no row.
    if (kind === 'metrics' && found !== 'well') continue;
    // Whoever asked for a testimony stores what it says, or does not: it is no row of its own.
    if (heardMs === null || wasForAnother(poll)) continue;
    heard[kind].set(key, [...(heard[kind].get(key) ?? []), found]);
    const what = `${kind} of ${poll.server.origin} that ${by.name} heard at ${heardMs} ms`;
    if (isStored(poll)) {
      accounts.stored += 1;
      continue;
    }
    const excuse = ledger.hasAcknowledged(poll) ? null : excuseOf(poll);
    if (excuse !== null) accounts.lost[excuse] += 1;
    else accounts.broken.push(`the ${what} is lost; ${fateOf(poll)}`);
  }
  for (const row of database.tables.checks.values()) {
    const found = isWitnessed(row) ? testimonyOn(network, row) : heard.health.get(keyOf(row));
    const what = `a check of ${row.serverId} dated ${row.at.toISOString()} is stored as ${row.status}`;
    if (found === undefined) accounts.broken.push(`${what}, and nobody heard of it`);
    else if (!found.some(each => (each === 'well') === (row.status === 'healthy'))) {
      accounts.broken.push(`${what}, and found ${found.join(' and ')}`);
    }
  }
  for (const key of database.tables.metrics) {
    if (!heard.metrics.has(key)) accounts.broken.push(`metrics ${key} are stored, and nobody heard of them`);
  }
  return accounts;
}

/** What others found of the server at the time of a check that one of them had to make. */
function testimonyOn({ polls }: Network, row: HealthCheckRow): Poll['found'][] | undefined {
  const own = polls.find(poll => poll.kind === 'health' && poll.key === keyOf(row));
  if (own === undefined) return undefined;
  return polls
    .filter(
      ({ isTestimony, server, askedMs }) =>
        isTestimony && server === own.server && Math.abs(askedMs - own.askedMs) <= testifiedWithinMs,
    )
    .map(({ found }) => found);
}
