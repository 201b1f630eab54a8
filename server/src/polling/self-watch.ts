import type { Conditions } from '../conditions/condition.ts';
import { isSuspect, withoutDoubt } from '../health/evaluate.ts';
import type { Clock } from '../platform/clock.ts';
import type { References } from './references.ts';
import type { Entry, Roster } from './roster.ts';
import type { Sight } from './sight.ts';

/** What a worker finds out about itself: whether it is late, and whether it sees. */
export type SelfWatch = {
  /** What is wrong now, given the lateness of the last minute. */
  conditions(latenessP99Seconds: number): Conditions;
  /** A server that was well does not answer: sees to it that others are asked before it is judged. */
  onDoubt(entry: Entry): void;
  /** It has turned out that we see nothing: failures counted before that are taken back, they were ours. */
  onBlind(): void;
};

type Options = {
  clock: Clock;
  roster: Pick<Roster, 'all'>;
  /** Includes what the references say. */
  sight: Pick<Sight, 'blindSinceMs' | 'reachedSince'>;
  references: Pick<References, 'blindSinceMs' | 'doubt'>;
  /** Asks a server for its health, now. */
  ask(entry: Entry): void;
  /** How many servers do not answer this worker, and do answer others. */
  outOfReach(): number;
  /** How this worker is called where it is told of. */
  name: string;
};

/** Polls that start later than this, one of a hundred of a minute, are a condition of the installation. */
const lateAfterSeconds = 2;
const lateDetail = `1 of 100 polls starts more than ${lateAfterSeconds} s late: the workers have more to do than they can.`;
const blindDetail =
  'Many servers that have nothing in common seem to have failed at once: our own network has. Nobody is called down for it.';
const cutOffDetail =
  'None of the targets in OPSFLEET_REFERENCES answers: our own network seems to have failed, or they have. Nobody is called down for it.';
const othersAsked = 4;
const othersAskedEveryMs = 2_000;

const partialDetail = (name: string, count: number): string =>
  `Worker ${name} cannot reach ${count === 1 ? 'a server that answers' : `${count} servers that answer`} other workers: look at its network. They are judged by what the others find.`;

export function createSelfWatch({ clock, roster, sight, references, ask, ...options }: Options): SelfWatch {
  let lateSince: Date | null = null;
  let blindSince: Date | null = null;
  let partialSince: Date | null = null;
  let wasBlind = false;
  let othersAskedMs = Number.NEGATIVE_INFINITY;

  function onBlind(): void {
    for (const entry of roster.all()) entry.server.state = withoutDoubt(entry.server.state);
  }

  return {
    conditions(latenessP99Seconds) {
      // Half of it ends it, so that it does not come and go.
      const isLate = latenessP99Seconds > (lateSince === null ? lateAfterSeconds : lateAfterSeconds / 2);
      lateSince = isLate ? (lateSince ?? clock.now()) : null;
      const isBlind = sight.blindSinceMs(clock.monotonicMs()) !== null;
      blindSince = isBlind ? (blindSince ?? clock.now()) : null;
      const detail = references.blindSinceMs() === null ? blindDetail : cutOffDetail;
      const outOfReach = options.outOfReach();
      partialSince = outOfReach > 0 ? (partialSince ?? clock.now()) : null;
      return {
        ...(lateSince === null ? {} : { polling_late: { since: lateSince, detail: lateDetail } }),
        ...(blindSince === null ? {} : { polling_blind: { since: blindSince, detail } }),
        ...(partialSince === null
          ? {}
          : { polling_partial: { since: partialSince, detail: partialDetail(options.name, outOfReach) } }),
      };
    },
    onBlind,
    onDoubt(doubted) {
      references.doubt();
      const nowMs = clock.monotonicMs();
      const isBlind = sight.blindSinceMs(nowMs) !== null;
      if (isBlind && !wasBlind) onBlind();
      wasBlind = isBlind;
      // In a large fleet somebody has just answered. In a small one it takes a while until others are asked by
      // themselves, and by then a server may have failed three times.
      if (isBlind || sight.reachedSince(nowMs - othersAskedEveryMs)) return;
      if (nowMs < othersAskedMs + othersAskedEveryMs) return;
      othersAskedMs = nowMs;
      for (const entry of wellOthers(roster, doubted)) ask(entry);
    },
  };
}

function wellOthers(roster: Pick<Roster, 'all'>, doubted: Entry): Entry[] {
  const others: Entry[] = [];
  for (const entry of roster.all()) {
    const { state } = entry.server;
    if (entry === doubted || isSuspect(state) || state.lastSeenAt === null) continue;
    if (others.push(entry) === othersAsked) break;
  }
  return others;
}
