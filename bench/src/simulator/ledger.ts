import { BEHAVIOURS, type Behaviour, isReachable } from './behaviour.ts';
import { KINDS, type Kind } from './request.ts';

/** A check that comes later than its interval by more than this is counted as late. */
const LATE_MS = 2_000;

/** Arrivals kept for each server and kind. */
export const RECENT_ARRIVALS = 16;

const BUCKET_MS = 10;
const BUCKETS = 6_000;
const WORST = 5;

/** How the checks of one kind reached one group of servers. All durations are milliseconds. */
export type Cadence = {
  servers: number;
  /** Not one check since the start, the last reset, or the last change of the server's behaviour. */
  neverChecked: number;
  checks: number;
  /** How much later than one interval after its predecessor a check came; resolution 10 ms, `max` exact. */
  latenessMs: { p50: number; p90: number; p99: number; max: number };
  /** Checks that were late by more than 2 s, and servers whose next check is overdue by as much now. */
  late: number;
  /** Checks that came more than two intervals after their predecessor, and servers that wait for as long now. */
  missed: number;
  /** Checks that came less than half an interval after their predecessor. */
  early: number;
  /** Checks that came while one of the same kind was still unanswered. */
  overlaps: number;
};

type LateServer = { index: number; kind: Kind; latenessMs: number };

export type LedgerStats = {
  elapsedMs: number;
  /** Only behaviours that some server has and whose checks reach the simulator. */
  cadence: Partial<Record<Behaviour, Record<Kind, Cadence>>>;
  /** The servers furthest behind, the worst first, at most five. */
  worst: LateServer[];
};

type Group = {
  checks: number;
  late: number;
  missed: number;
  early: number;
  overlaps: number;
  maxMs: number;
  buckets: Uint32Array;
};

/**
 * Who was checked when, as the servers saw it. It judges the schedule of a control plane without trusting
 * anything the control plane says. Memory is bounded: per server and kind a ring of arrivals and a few
 * numbers, per behaviour and kind a histogram; 10,000 servers take about 4 MB.
 */
export class Ledger {
  readonly #behaviours: readonly Behaviour[];
  readonly #intervalMs: Readonly<Record<Kind, number>>;
  readonly #nowMs: () => number;
  readonly #arrivals: Float64Array;
  readonly #count: Uint32Array;
  readonly #inFlight: Uint16Array;
  readonly #answered: Uint32Array;
  readonly #maxLatenessMs: Float64Array;
  #groups = new Map<string, Group>();
  #sinceMs: number;

  /** `behaviours` is the fleet's live table: the ledger reads it and never writes it. */
  constructor(
    behaviours: readonly Behaviour[],
    intervalMs: Readonly<Record<Kind, number>>,
    nowMs: () => number,
  ) {
    const cells = behaviours.length * KINDS.length;
    this.#behaviours = behaviours;
    this.#intervalMs = intervalMs;
    this.#nowMs = nowMs;
    this.#arrivals = new Float64Array(cells * RECENT_ARRIVALS);
    this.#count = new Uint32Array(cells);
    this.#inFlight = new Uint16Array(cells);
    this.#answered = new Uint32Array(cells);
    this.#maxLatenessMs = new Float64Array(cells);
    this.#sinceMs = nowMs();
  }

  /** A check arrived. Every `begin` is followed by one `finish`. */
  begin(index: number, kind: Kind): void {
    const cell = cellOf(index, kind);
    const group = this.#group(this.#behaviours[index]!, kind);
    const nowMs = this.#nowMs();
    group.checks++;
    if (this.#inFlight[cell]! > 0) group.overlaps++;
    this.#inFlight[cell]!++;

    const count = this.#count[cell]!;
    if (count > 0) this.#judge(cell, group, nowMs - this.#lastArrivalMs(cell), this.#intervalMs[kind]);
    this.#arrivals[cell * RECENT_ARRIVALS + (count % RECENT_ARRIVALS)] = nowMs;
    this.#count[cell] = count + 1;
  }

  /** The check was answered, or its connection ended. `success`: with 200. */
  finish(index: number, kind: Kind, success: boolean): void {
    const cell = cellOf(index, kind);
    this.#inFlight[cell]!--;
    if (success) this.#answered[cell]!++;
  }

  /** Checks answered with 200 by each server since the start: nothing resets them. */
  answered(kind: Kind): number[] {
    return Array.from(this.#behaviours, (_, index) => this.#answered[cellOf(index, kind)]!);
  }

  /** Starts the server's cadence anew: after a change of behaviour its schedule is meant to change. */
  forget(index: number): void {
    for (const kind of KINDS) {
      this.#count[cellOf(index, kind)] = 0;
      this.#maxLatenessMs[cellOf(index, kind)] = 0;
    }
  }

  /** Forgets everything but what is in flight, so that a measurement can begin after the warm-up. */
  reset(): void {
    this.#groups = new Map();
    this.#count.fill(0);
    this.#maxLatenessMs.fill(0);
    this.#sinceMs = this.#nowMs();
  }

  /** The last arrivals, oldest first, in milliseconds of the injected clock; at most 16. */
  recentArrivalsMs(index: number, kind: Kind): number[] {
    const cell = cellOf(index, kind);
    const count = this.#count[cell]!;
    const kept = Math.min(count, RECENT_ARRIVALS);
    return Array.from(
      { length: kept },
      (_, i) => this.#arrivals[cell * RECENT_ARRIVALS + ((count - kept + i) % RECENT_ARRIVALS)]!,
    );
  }

  stats(): LedgerStats {
    const nowMs = this.#nowMs();
    const cadence: LedgerStats['cadence'] = {};
    for (const behaviour of BEHAVIOURS) {
      if (!isReachable(behaviour)) continue;
      const members = this.#members(behaviour);
      if (members.length === 0) continue;
      cadence[behaviour] = {
        health: this.#cadence(behaviour, members, 'health', nowMs),
        metrics: this.#cadence(behaviour, members, 'metrics', nowMs),
      };
    }
    return { elapsedMs: Math.round(nowMs - this.#sinceMs), cadence, worst: this.#worst(nowMs) };
  }

  #judge(cell: number, group: Group, gapMs: number, intervalMs: number): void {
    const latenessMs = Math.max(0, gapMs - intervalMs);
    const bucket = Math.min(BUCKETS - 1, Math.floor(latenessMs / BUCKET_MS));
    group.buckets[bucket]!++;
    if (latenessMs > LATE_MS) group.late++;
    if (latenessMs > intervalMs) group.missed++;
    if (gapMs < intervalMs / 2) group.early++;
    if (latenessMs > group.maxMs) group.maxMs = latenessMs;
    if (latenessMs > this.#maxLatenessMs[cell]!) this.#maxLatenessMs[cell] = latenessMs;
  }

  #cadence(behaviour: Behaviour, members: readonly number[], kind: Kind, nowMs: number): Cadence {
    const group = this.#group(behaviour, kind);
    const overdueMs = members.map(index => this.#overdueMs(index, kind, nowMs));
    // A server that is no longer checked has no further gap to be late by; what is open now counts too.
    const maxMs = overdueMs.reduce((max, ms) => Math.max(max, ms), group.maxMs);
    return {
      servers: members.length,
      neverChecked: members.filter(index => this.#count[cellOf(index, kind)] === 0).length,
      checks: group.checks,
      latenessMs: {
        p50: percentile(group, 0.5),
        p90: percentile(group, 0.9),
        p99: percentile(group, 0.99),
        max: Math.round(maxMs),
      },
      late: group.late + overdueMs.filter(ms => ms > LATE_MS).length,
      missed: group.missed + overdueMs.filter(ms => ms > this.#intervalMs[kind]).length,
      early: group.early,
      overlaps: group.overlaps,
    };
  }

  #worst(nowMs: number): LateServer[] {
    const late: LateServer[] = [];
    for (const [index, behaviour] of this.#behaviours.entries()) {
      if (!isReachable(behaviour)) continue;
      for (const kind of KINDS) {
        const latenessMs = Math.max(
          this.#maxLatenessMs[cellOf(index, kind)]!,
          this.#overdueMs(index, kind, nowMs),
        );
        if (latenessMs > 0) late.push({ index, kind, latenessMs: Math.round(latenessMs) });
      }
    }
    return late.toSorted((a, b) => b.latenessMs - a.latenessMs).slice(0, WORST);
  }

  #overdueMs(index: number, kind: Kind, nowMs: number): number {
    const cell = cellOf(index, kind);
    if (this.#count[cell] === 0) return 0;
    return Math.max(0, nowMs - this.#lastArrivalMs(cell) - this.#intervalMs[kind]);
  }

  #lastArrivalMs(cell: number): number {
    return this.#arrivals[cell * RECENT_ARRIVALS + ((this.#count[cell]! - 1) % RECENT_ARRIVALS)]!;
  }

  #members(behaviour: Behaviour): number[] {
    return [...this.#behaviours.keys()].filter(index => this.#behaviours[index] === behaviour);
  }

  #group(behaviour: Behaviour, kind: Kind): Group {
    const key = behaviour + kind;
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = {
        checks: 0,
        late: 0,
        missed: 0,
        early: 0,
        overlaps: 0,
        maxMs: 0,
        buckets: new Uint32Array(BUCKETS),
      };
      this.#groups.set(key, group);
    }
    return group;
  }
}

function cellOf(index: number, kind: Kind): number {
  return index * KINDS.length + (kind === 'health' ? 0 : 1);
}

/** The upper edge of the bucket that holds the quantile; never more than the exact maximum. The last bucket is open. */
function percentile(group: Group, quantile: number): number {
  const total = group.buckets.reduce((sum, count) => sum + count, 0);
  let seen = 0;
  for (const [bucket, count] of group.buckets.entries()) {
    seen += count;
    if (count === 0 || seen < quantile * total) continue;
    const edgeMs = bucket === BUCKETS - 1 ? group.maxMs : (bucket + 1) * BUCKET_MS;
    return Math.round(Math.min(group.maxMs, edgeMs));
  }
  return 0;
}
