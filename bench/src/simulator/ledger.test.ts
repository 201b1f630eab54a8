import { beforeEach, describe, expect, it } from 'vitest';
import type { Behaviour } from './behaviour.ts';
import { type Cadence, Ledger, RECENT_ARRIVALS } from './ledger.ts';

let nowMs: number;
let behaviours: Behaviour[];
let ledger: Ledger;

beforeEach(() => {
  nowMs = 1_000;
  behaviours = ['healthy', 'healthy', 'error', 'blackhole'];
  ledger = new Ledger(behaviours, { health: 30_000, metrics: 60_000 }, () => nowMs);
});

/** A health check of server 0 at each of these times, answered before the next. */
function checkAt(...timesMs: number[]): void {
  for (nowMs of timesMs) {
    ledger.begin(0, 'health');
    ledger.finish(0, 'health', true);
  }
}

function healthy(): Cadence {
  return ledger.stats().cadence.healthy!.health;
}

describe('Ledger', () => {
  it('finds nothing to blame in a steady schedule', () => {
    checkAt(5_000, 35_000, 65_000, 95_000);
    expect(healthy()).toEqual({
      servers: 2,
      neverChecked: 1,
      checks: 4,
      latenessMs: { p50: 0, p90: 0, p99: 0, max: 0 },
      late: 0,
      missed: 0,
      early: 0,
      overlaps: 0,
    });
  });

  it('measures lateness against the interval of the kind', () => {
    checkAt(0, 30_250, 60_250, 92_251);
    expect(healthy()).toMatchObject({ latenessMs: { p50: 260, p90: 2_001, max: 2_001 }, late: 1 });

    ledger.begin(0, 'metrics');
    nowMs += 60_000;
    ledger.begin(0, 'metrics');
    expect(ledger.stats().cadence.healthy!.metrics.latenessMs.max).toBe(0);
  });

  it('does not call two seconds late, and calls more than two seconds late', () => {
    checkAt(0, 32_000);
    expect(healthy().late).toBe(0);
    checkAt(64_001);
    expect(healthy().late).toBe(1);
  });

  it('counts as missed what comes, or has not come, more than two intervals after its predecessor', () => {
    checkAt(0, 60_000);
    expect(healthy().missed).toBe(0);
    checkAt(120_001);
    expect(healthy().missed).toBe(1);
    nowMs = 180_002;
    expect(healthy().missed).toBe(2);
  });

  it('counts what each server has answered with success, whatever is reset', () => {
    checkAt(0, 30_000);
    ledger.begin(1, 'health');
    ledger.finish(1, 'health', false);
    ledger.reset();
    checkAt(60_000);
    expect(ledger.answered('health')).toEqual([3, 0, 0, 0]);
    expect(ledger.answered('metrics')).toEqual([0, 0, 0, 0]);
  });

  it('blames a schedule that has stopped, without a further check', () => {
    checkAt(0);
    nowMs = 40_000;
    expect(healthy()).toMatchObject({ latenessMs: { max: 10_000 }, late: 1 });
    expect(ledger.stats().worst).toEqual([{ index: 0, kind: 'health', latenessMs: 10_000 }]);
  });

  it('counts a second check within half an interval as early', () => {
    checkAt(0, 14_999, 29_999);
    expect(healthy().early).toBe(1);
  });

  it('reads lateness beyond its histogram exactly', () => {
    checkAt(0, 630_000);
    expect(healthy().latenessMs).toEqual({ p50: 600_000, p90: 600_000, p99: 600_000, max: 600_000 });
  });

  it('counts a check that begins while another of its kind is in flight', () => {
    ledger.begin(0, 'health');
    ledger.begin(0, 'metrics');
    ledger.begin(1, 'health');
    expect(healthy().overlaps).toBe(0);
    ledger.begin(0, 'health');
    expect(healthy().overlaps).toBe(1);
    ledger.finish(0, 'health', true);
    ledger.begin(0, 'health');
    expect(healthy().overlaps).toBe(2);
    ledger.finish(0, 'health', true);
    ledger.finish(0, 'health', true);
    ledger.begin(0, 'health');
    expect(healthy().overlaps).toBe(2);
  });

  it('keeps behaviours apart and leaves out whom no check can reach', () => {
    ledger.begin(2, 'health');
    const { cadence } = ledger.stats();
    expect(Object.keys(cadence)).toEqual(['healthy', 'error']);
    expect(cadence.healthy!.health.checks).toBe(0);
    expect(cadence.error!.health).toMatchObject({ servers: 1, neverChecked: 0, checks: 1 });
  });

  it('starts a cadence anew when a server changes its behaviour', () => {
    checkAt(0);
    behaviours[0] = 'hang';
    ledger.forget(0);
    checkAt(500_000);
    expect(ledger.stats().cadence.hang!.health).toMatchObject({ checks: 1, early: 0, late: 0 });
    expect(ledger.stats().worst).toEqual([]);
  });

  it('forgets the past on reset but not what is in flight', () => {
    checkAt(0, 90_000);
    ledger.begin(1, 'health');
    ledger.reset();
    expect(healthy()).toMatchObject({ neverChecked: 2, checks: 0, late: 0, latenessMs: { max: 0 } });
    expect(ledger.stats()).toMatchObject({ elapsedMs: 0, worst: [] });
    ledger.begin(1, 'health');
    expect(healthy().overlaps).toBe(1);
  });

  it('keeps the last arrivals in order, and no more', () => {
    const timesMs = Array.from({ length: RECENT_ARRIVALS + 3 }, (_, i) => i * 30_000);
    checkAt(...timesMs);
    expect(ledger.recentArrivalsMs(0, 'health')).toEqual(timesMs.slice(3));
    expect(ledger.recentArrivalsMs(0, 'metrics')).toEqual([]);
  });

  it('names at most the five worst servers, the worst first', () => {
    behaviours = Array.from<Behaviour>({ length: 8 }).fill('healthy');
    nowMs = 0;
    ledger = new Ledger(behaviours, { health: 1_000, metrics: 1_000 }, () => nowMs);
    for (const index of behaviours.keys()) {
      nowMs = index * 10;
      ledger.begin(index, 'health');
    }
    nowMs = 5_000;
    expect(ledger.stats().worst.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4]);
  });
});
