import { type Basis, basisOf, type Cause, statusesOn, transitions } from '../../src/health/transitions.ts';
import type { HealthChange, HealthWrite } from '../../src/polling/store.ts';
import { slotOf } from '../../src/servers/server.ts';
import { isWitnessed } from './ledger.ts';
import type { AppliedWrite } from './memory-tables.ts';
import { type Poll, wallMs } from './network.ts';
import { healthIntervalMs, type World } from './world.ts';

const failuresToDown = 3;
const successesToUp = 2;
const upAfterMs = 15_000;
/** A result may have waited on disk for the database, and the one before it is five minutes older where the server is spared. */
const storedLateMs = 12 * 60_000;
/** Whoever polls fewer cannot tell its own blindness from theirs. */
const fewestToSeeBy = 3;

type StatusChange = Extract<HealthChange, { from: unknown }>;

/**
 * A sentence for everything that was written of a server and not justified by the polls: a change that does not
 * follow from the one before, that no poll caused, that the table of transitions does not have, that came too
 * early, or that our own blindness made.
 */
export function wrongVerdicts(world: World): string[] {
  const evidence = gather(world);
  const told = new Map<string, { status: string; isFlapping: boolean }>();
  return world.database.tables.applied.flatMap(applied => {
    const { write, atMs } = applied;
    const last = told.get(write.id) ?? { status: 'unknown', isFlapping: false };
    told.set(write.id, last);
    const by = evidence.writerOf(write)?.name ?? 'nobody';
    return [...wrongIn(applied, last, evidence), ...forgotten(applied, evidence)].map(
      what => `${write.name} ${what}, written at ${atMs} ms for ${by}`,
    );
  });
}

function wrongIn(
  { write, before }: AppliedWrite,
  last: { status: string; isFlapping: boolean },
  evidence: Evidence,
): string[] {
  const wrong: string[] = [];
  if (before.status !== last.status) wrong.push(`was ${before.status}, and was last called ${last.status}`);
  let basis = basisOf(before);
  for (const change of write.changes) {
    if ('from' in change) {
      if (change.from !== last.status || change.to === change.from) {
        wrong.push(`went from ${change.from} to ${change.to}, and was ${last.status}`);
      }
      wrong.push(...unjustified(write, change, { basis, evidence }));
      basis = basisOf({ ...write.state, status: change.to, reason: change.reason });
      last.status = change.to;
    } else {
      if (change.isFlapping === last.isFlapping) {
        wrong.push(`was told twice that it ${change.isFlapping ? 'flaps' : 'flaps no more'}`);
      }
      last.isFlapping = change.isFlapping;
    }
  }
  const { status, flappingSince } = write.state;
  if (status !== last.status) wrong.push(`is ${status}, and was last called ${last.status}`);
  if ((flappingSince !== null) !== last.isFlapping) wrong.push('flaps or not, and something else was told');
  return wrong;
}

/** A server that is spared is so since the same time until it has answered, whoever has it. */
function forgotten({ write, before, atMs }: AppliedWrite, evidence: Evidence): string[] {
  const [was, is] = [before.breakerOpenedAt, write.state.breakerOpenedAt];
  // Earlier: the clock of the wall was set back.
  if (was === null || (is !== null && is <= was)) return [];
  const answers = evidence.answersWithin(write.id, atMs - storedLateMs, atMs);
  return answers < successesToUp ? [`was spared since ${was.toISOString()}, which is forgotten`] : [];
}

function unjustified(
  write: HealthWrite,
  change: StatusChange,
  { basis, evidence }: { basis: Basis; evidence: Evidence },
): string[] {
  const { from, to, reason } = change;
  const named = `went from ${from} to ${to} (${reason})`;
  const cause = evidence.causeOf(write, change);
  if (cause === null) return [`${named} without a check`];
  const judged = evidence.judge(cause);
  const toBasis = basisOf({ ...write.state, status: to, reason });
  // A server that answers nothing usable may have said the same of itself before, which is no change of status.
  const bases: readonly Basis[] = from === 'critical' ? ['answering', 'down'] : [basis];
  const isLegal = transitions.some(
    each =>
      bases.includes(each.from) &&
      each.to === toBasis &&
      statusesOn[toBasis].includes(to) &&
      judged.some(cause => each.causes.includes(cause)),
  );
  if (!isLegal) return [`${named} because it ${judged.join(' or ')}`];
  const run = evidence.runBefore(write, cause);
  if (toBasis === 'down' && basis !== 'down') {
    if (run.length < failuresToDown) return [`${named} after ${run.length} failures`];
    // Whether others could have looked: see unwitnessed().
    if (run.some(poll => poll.wasCut)) return [];
    if (evidence.polledBy(cause) < fewestToSeeBy) return [];
    const sawNothing = run.every(poll => poll.wasBlind && !evidence.isTestified(poll));
    if (sawNothing) return [`${named} by one that reached nobody`];
    if (evidence.wasWell(cause, run.at(-failuresToDown)!.askedMs)) return [`${named}, and was well`];
  }
  if (toBasis === 'answering' && basis === 'down') {
    const spanMs = wallMs(cause) - Math.min(...run.map(wallMs));
    if (run.length < successesToUp || spanMs < upAfterMs) {
      return [`${named} after ${run.length} answers within ${spanMs} ms`];
    }
  }
  return [];
}

type Evidence = {
  writerOf(write: HealthWrite): World['workers'][number]['process'] | null;
  /** The check that a change was made for, or null where the writer made none then. */
  causeOf(write: HealthWrite, change: HealthChange): Poll | null;
  /** What it may have been to its worker. More than one where no row says it: the row is lost, or another worker's. */
  judge(poll: Poll): readonly Cause[];
  /** Whether its row says what another worker found. */
  isTestified(poll: Poll): boolean;
  /** How many servers its worker polled in the interval before it, and still had then. */
  polledBy(cause: Poll): number;
  /**
   * The checks up to the cause that found the same as it, in a row: those of its writer, and where they reach
   * back to the beginning of its lease, all that others made before, of which it may have been told.
   */
  runBefore(write: HealthWrite, cause: Poll): Poll[];
  answersWithin(id: string, fromMs: number, toMs: number): number;
  /** Whether the server was well from then until that check. */
  wasWell(cause: Poll, fromMs: number): boolean;
};

const causeOf = (found: Poll['found']): Cause => (found === 'well' ? 'answered' : 'failed');

function gather({ network, database, workers }: World): Evidence {
  const { checks, leases } = database.tables;
  const processes = new Map(workers.map(({ id, process }) => [id, process]));
  const byServer = new Map<string, Poll[]>();
  for (const poll of network.polls) {
    if (poll.kind !== 'health' || poll.heardMs === null) continue;
    if (poll.isTestimony && !checks.has(poll.key)) continue;
    const known = byServer.get(poll.server.id) ?? [];
    byServer.set(poll.server.id, known);
    known.push(poll);
  }
  const writerOf: Evidence['writerOf'] = ({ epoch }) =>
    processes.get(leases.get(epoch)?.owner ?? workers[0]!.id) ?? null;

  function judge({ key, found, server }: Poll): readonly Cause[] {
    const own: readonly Cause[] = found === 'nothing' ? ['failed', 'not_checked'] : [causeOf(found)];
    const row = checks.get(key);
    if (row === undefined) return own;
    const isTestified = isWitnessed(row) && row.status === 'healthy';
    const told = row.status === 'error' ? 'not_checked' : causeOf(isTestified ? 'well' : found);
    const isShared = byServer.get(server.id)!.filter(poll => poll.key === key).length > 1;
    return isShared ? [...own, told] : [told];
  }

  return {
    writerOf,
    judge,
    isTestified({ key }) {
      const row = checks.get(key);
      return row !== undefined && isWitnessed(row);
    },
    polledBy({ by, heardMs }) {
      const since = heardMs! - healthIntervalMs;
      const polled = network.polls.filter(poll => poll.by === by && !poll.isTestimony);
      const held = new Set(
        [...leases.values()]
          .filter(({ owner }) => processes.get(owner) === by)
          .filter(({ sinceMs, untilMs }) => sinceMs <= heardMs! && (untilMs === null || untilMs > heardMs!))
          .map(({ slot }) => slot),
      );
      const recent = polled.filter(({ askedMs }) => askedMs >= since && askedMs < heardMs!);
      return new Set(recent.map(({ server }) => server).filter(({ id }) => held.has(slotOf(id)))).size;
    },
    causeOf(write, { at }) {
      const by = writerOf(write);
      return byServer.get(write.id)?.find(poll => poll.by === by && wallMs(poll) === at.getTime()) ?? null;
    },
    runBefore({ id, epoch }, cause) {
      const sinceMs = leases.get(epoch)!.sinceMs;
      const wanted = judge(cause);
      const earlier = byServer.get(id)!.filter(poll => poll.heardMs! <= cause.heardMs!);
      const isOwn = (poll: Poll): boolean => poll.by === cause.by && poll.askedMs >= sinceMs;
      const isLike = (poll: Poll): boolean => judge(poll).some(each => wanted.includes(each));
      const own = earlier.filter(isOwn).filter(poll => judge(poll)[0] !== 'not_checked');
      const broken = own.findLastIndex(poll => !isLike(poll));
      if (broken !== -1) return own.slice(broken + 1);
      return [...earlier.filter(poll => !isOwn(poll) && isLike(poll)), ...own];
    },
    answersWithin: (id, fromMs, toMs) =>
      (byServer.get(id) ?? []).filter(
        ({ heardMs, found }) => found === 'well' && heardMs! >= fromMs && heardMs! <= toMs,
      ).length,
    wasWell: ({ server, heardMs }, fromMs) => network.wasWell(server, fromMs, heardMs!),
  };
}
