import { describe, expect, it } from 'vitest';
import type { CheckOutcome } from '../health/check.ts';
import { uncheckedState } from '../health/evaluate.ts';
import { needsWitness, weigh } from './witness.ts';

const at = new Date('2026-11-01T00:00:00Z');
const answered: CheckOutcome = {
  kind: 'answered',
  status: 'healthy',
  reason: 'ok',
  detail: null,
  components: {},
  version: '1',
};
const degraded: CheckOutcome = {
  ...answered,
  status: 'degraded',
  reason: 'component_failed',
  detail: 'redis: down',
};
const timeout: CheckOutcome = { kind: 'failed', reason: 'timeout', detail: 'no connection', reached: false };
const refused: CheckOutcome = { ...timeout, reason: 'refused', detail: 'connection refused' };
const unavailable: CheckOutcome = { ...timeout, reason: 'http_503', detail: 'HTTP 503', reached: true };
const fault: CheckOutcome = { kind: 'not_checked', reason: 'local_fault', detail: 'no sockets' };
const aborted: CheckOutcome = { kind: 'not_checked', reason: 'aborted', detail: 'ending' };

describe('another worker is asked', () => {
  const well = { ...uncheckedState(at), status: 'healthy' as const, reason: 'ok', lastSeenAt: at };
  it.each([
    ['of a server that is well', well, false, false],
    ['of one that has failed once', { ...well, consecutiveFailures: 1 }, false, false],
    ['where one more failure calls it down', { ...well, consecutiveFailures: 2 }, false, true],
    ['also where it has never answered', { ...uncheckedState(at), consecutiveFailures: 2 }, false, true],
    ['also where more came while nobody judged', { ...well, consecutiveFailures: 7 }, false, true],
    [
      'of one that is down',
      { ...well, status: 'unreachable' as const, reason: 'timeout', consecutiveFailures: 9 },
      false,
      false,
    ],
    ['each time where others reach it and we do not', well, true, true],
  ])('%s', (_name, state, isOutOfReach, expected) => {
    expect(needsWitness(state, isOutOfReach)).toBe(expected);
  });
});

describe('what counts', () => {
  it.each([
    ['an answer of our own', answered, null, 'own_answer', 'own'],
    ['a bad answer of our own', unavailable, answered, 'own_answer', 'own'],
    ['a check that we could not make', fault, answered, 'own_answer', 'own'],
    ['our failure, where there is nobody else', timeout, null, 'nobody_saw', 'own'],
    ['our failure, where the other could not look', timeout, fault, 'nobody_saw', 'own'],
    ['our failure, where the other fails in its own way', timeout, refused, 'confirmed', 'own'],
    ['an answer to the other', timeout, answered, 'contradicted', 'other'],
    ['a bad answer to the other', refused, unavailable, 'contradicted', 'other'],
    ['nothing, where we end meanwhile', timeout, aborted, 'cut_short', 'other'],
  ] as const)('%s', (_name, own, other, because, whose) => {
    const weighed = weigh(
      { outcome: own, durationMs: 3_000 },
      other === null ? null : { outcome: other, durationMs: 20 },
    );
    expect(weighed.because).toBe(because);
    expect(weighed.finding.durationMs).toBe(whose === 'own' ? 3_000 : 20);
    expect(weighed.finding.outcome).toMatchObject(
      whose === 'own' ? own : { kind: other.kind, reason: other.reason },
    );
  });

  it('says who has measured it, and keeps what the server said', () => {
    const own = { outcome: timeout, durationMs: 3_000 };
    const told = 'measured by another worker: the one that polls this server got no answer (no connection)';
    expect(weigh(own, { outcome: answered, durationMs: 20 }).finding.outcome.detail).toBe(told);
    expect(weigh(own, { outcome: degraded, durationMs: 20 }).finding.outcome.detail).toBe(
      `redis: down — ${told}`,
    );
  });
});
