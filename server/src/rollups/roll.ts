import type { OrganizationId, ServerId } from '../ids.ts';
import type { Clock } from '../platform/clock.ts';
import { sqlState } from '../platform/database-failure.ts';
import type { SystemDb, SystemTx } from '../platform/db.ts';
import {
  type PeriodOf,
  periodStart,
  type Rollup,
  type RollupPeriod,
  type RollupRange,
  rollupPeriodMs,
  rollupPeriods,
} from './rollup.ts';
import {
  addLate,
  close,
  nextServers,
  progressOf,
  type ServerChunk,
  setRolled,
  takeLate,
  takeTurn,
} from './store.ts';

/** Results reach the database within seconds: what comes later is summed up again. */
const graceMs = 15_000;
/** In one statement: at one collection a minute, 30,000 rows or so, for half a second of the database. */
const serversAtOnce = 500;
const periodsAtOnce: Readonly<Record<RollupPeriod, number>> = { '5m': 12, '15m': 24, '1h': 16, '1d': 2 };
/** Late periods in one transaction, and transactions in one pass. */
const lateAtOnce = 500;
const lateTurns = 200;

/** The statement's time was up. */
const queryCanceled = '57014';

export type RollParts = { db: SystemDb; clock: Pick<Clock, 'now'> };

/**
 * One pass: closes what is over, sums it up, and sums up again what has come late, from the shortest period to the
 * longest. Killed at any moment, the next pass goes on; what is done twice comes out the same. Where another process is
 * at it, it leaves the rest to that one. Returns how many rows changed.
 */
export async function roll(parts: RollParts, rollup: Rollup): Promise<number> {
  let changed = 0;
  let until = new Date(parts.clock.now().getTime() - graceMs);
  for (const period of rollupPeriods) {
    await close(parts.db, rollup.kind, period, periodStart(until, period));
    const caughtUp = await catchUp(parts, rollup, period);
    if (caughtUp === null) return changed;
    changed += caughtUp + (await mend(parts, rollup, period));
    until = (await progressOf(parts.db, rollup.kind, period)).rolledUntil;
  }
  return changed;
}

/** Sums up the periods that are closed and have not been. Null where it is another one's turn. */
async function catchUp({ db }: RollParts, rollup: Rollup, period: RollupPeriod): Promise<number | null> {
  const { kind } = rollup;
  const { closedUntil, rolledUntil } = await progressOf(db, kind, period);
  let changed = 0;
  for (let from = rolledUntil; from < closedUntil; ) {
    const mostMs = periodsAtOnce[period] * rollupPeriodMs[period];
    const to = new Date(Math.min(closedUntil.getTime(), from.getTime() + mostMs));
    for await (const { organizationId, serverIds } of allServers(db)) {
      const rows = await sumUp(db, rollup, period, { organizationId, serverIds, from, to });
      if (rows === null) return null;
      changed += rows;
    }
    await setRolled(db, { kind, period, from, until: to });
    from = to;
  }
  return changed;
}

/** Of half the servers at a time, and so on, where a statement takes longer than it may. */
async function sumUp(
  db: SystemDb,
  rollup: Rollup,
  period: RollupPeriod,
  range: RollupRange,
): Promise<number | null> {
  try {
    return await inTurn(db, rollup, tx => rollup.rollUp(tx, period, range));
  } catch (error) {
    if (sqlState(error) !== queryCanceled || range.serverIds.length < 2) throw error;
  }
  const middle = range.serverIds.length >> 1;
  const halves = [range.serverIds.slice(0, middle), range.serverIds.slice(middle)];
  let changed = 0;
  for (const serverIds of halves) {
    const rows = await sumUp(db, rollup, period, { ...range, serverIds });
    if (rows === null) return null;
    changed += rows;
  }
  return changed;
}

/** Sums up again what has come late, and notes the longer periods it is in. */
async function mend({ db }: RollParts, rollup: Rollup, period: RollupPeriod): Promise<number> {
  let changed = 0;
  let after: OrganizationId | null = null;
  for (let turn = 0; turn < lateTurns; turn += 1) {
    const done = await inTurn(db, rollup, tx => mendSome(tx, rollup, period, after));
    if (done === null) break;
    changed += done.changed;
    after = done.organizationId;
  }
  return changed;
}

async function mendSome(
  tx: SystemTx,
  rollup: Rollup,
  period: RollupPeriod,
  after: OrganizationId | null,
): Promise<{ organizationId: OrganizationId; changed: number } | null> {
  const { kind } = rollup;
  const late = await takeLate(tx, { kind, period, after, limit: lateAtOnce });
  if (late === null) return null;
  const { organizationId } = late;
  const { closedUntil, sourceFrom } = await progressOf(tx, kind, period);
  const isShortest = period === rollupPeriods[0];
  const wholeFromMs = sourceFrom.getTime() + (isShortest ? rollup.lookbackMs : 0);
  // What is late by more than is kept can no longer be summed up.
  const all = late.periods.filter(({ timestamp }) => timestamp.getTime() >= wholeFromMs);
  if (isShortest) {
    const touched = await rollup.touchedBy(tx, organizationId, all);
    all.push(...touched.filter(({ timestamp }) => timestamp < closedUntil));
  }
  let changed = 0;
  for (const [startMs, serverIds] of byStart(all)) {
    const range = {
      organizationId,
      serverIds: [...serverIds],
      from: new Date(startMs),
      to: new Date(startMs + rollupPeriodMs[period]),
    };
    changed += await rollup.rollUp(tx, period, range);
  }
  const longer = rollupPeriods[rollupPeriods.indexOf(period) + 1];
  if (longer !== undefined) {
    const periods = all.map(each => ({ ...each, timestamp: periodStart(each.timestamp, longer) }));
    await addLate(tx, { kind, period: longer }, { organizationId, periods });
  }
  return { organizationId, changed };
}

function byStart(periods: readonly PeriodOf[]): Map<number, Set<ServerId>> {
  const starts = new Map<number, Set<ServerId>>();
  for (const { serverId, timestamp } of periods) {
    const startMs = timestamp.getTime();
    const servers = starts.get(startMs) ?? new Set();
    starts.set(startMs, servers.add(serverId));
  }
  return starts;
}

/** A transaction in which nobody else sums up this kind; null where somebody does. */
function inTurn<T>(
  db: SystemDb,
  { kind }: Rollup,
  work: (tx: SystemTx) => Promise<T | null>,
): Promise<T | null> {
  return db.transaction(async tx => ((await takeTurn(tx, kind)) ? work(tx) : null));
}

async function* allServers(db: SystemDb): AsyncGenerator<ServerChunk> {
  let chunks = await nextServers(db, null, serversAtOnce);
  while (chunks.length > 0) {
    yield* chunks;
    const { organizationId, serverIds } = chunks.at(-1)!;
    chunks = await nextServers(db, { organizationId, serverId: serverIds.at(-1)! }, serversAtOnce);
  }
}
