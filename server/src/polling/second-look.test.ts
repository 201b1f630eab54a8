import { beforeEach, describe, expect, it } from 'vitest';
import { createFakeClock, type FakeClock } from '../../test/fakes/clock.ts';
import type { CheckOutcome } from '../health/check.ts';
import { uncheckedState } from '../health/evaluate.ts';
import { createInstruments } from '../platform/instruments.ts';
import type { Entry } from './roster.ts';
import { createSecondLook, type SecondLook } from './second-look.ts';

const at = new Date('2026-11-01T00:00:00Z');
const answered: CheckOutcome = {
  kind: 'answered',
  status: 'healthy',
  reason: 'ok',
  detail: null,
  components: {},
  version: null,
};
const timeout: CheckOutcome = { kind: 'failed', reason: 'timeout', detail: 'no connection', reached: false };
const heldUp: CheckOutcome = { kind: 'not_checked', reason: 'local_fault', detail: 'held up' };

let secondLook: SecondLook;
/** What another worker finds; null: there is none. */
let other: CheckOutcome | null;
let asked: number;
/** Resolves when it is known whether the reference targets answer. */
let known: Promise<void>;
/** Of when that has to be known. */
let doubtedMs: number;
let clock: FakeClock;
let entry: Entry;

beforeEach(() => {
  clock = createFakeClock(at);
  [other, asked, known, doubtedMs] = [answered, 0, Promise.resolve(), 0];
  secondLook = createSecondLook({
    questions: {
      ask() {
        asked += 1;
        const finding = other === null ? null : { outcome: other, durationMs: 1 };
        return other === null ? null : { finding: async () => finding, giveUp: () => undefined };
      },
    },
    references: {
      known(sinceMs) {
        doubtedMs = sinceMs;
        return known;
      },
    },
    clock,
    instruments: createInstruments(),
  });
  // Nothing else of it is looked at.
  entry = { server: { state: uncheckedState(at) }, gone: false } as Entry;
});

const doubt = (failures: number): void => {
  entry.server.state = { ...uncheckedState(at), status: 'healthy', consecutiveFailures: failures };
};
async function check(own: CheckOutcome): Promise<string> {
  const look = secondLook.begin(entry);
  if (look === null) return own.reason;
  return (await look.weigh({ outcome: own, durationMs: 1 })).outcome.reason;
}

describe('a server that another worker reaches and this one does not', () => {
  beforeEach(async () => {
    doubt(2);
    expect(await check(timeout)).toBe('ok');
    doubt(0);
  });

  it('is looked at by both from then on, each time', async () => {
    expect([await check(timeout), await check(timeout)]).toEqual(['ok', 'ok']);
    expect(asked).toBe(3);
  });

  it('is told of when that has happened twice in a row, for as long as it lasts', async () => {
    expect(secondLook.outOfReach()).toBe(0);
    await check(timeout);
    expect(secondLook.outOfReach()).toBe(1);
    await check(answered);
    expect([secondLook.outOfReach(), secondLook.begin(entry)]).toEqual([0, null]);
  });

  it('is not told of any more when it answers nobody, and still looked at by both, for when it is back', async () => {
    await check(timeout);
    other = timeout;
    expect(await check(timeout)).toBe('timeout');
    expect(secondLook.outOfReach()).toBe(0);
    entry.server.state = { ...entry.server.state, status: 'unreachable', reason: 'timeout' };
    other = answered;
    expect(await check(timeout)).toBe('ok');
  });

  it('is still told of while there is nobody to ask', async () => {
    await check(timeout);
    other = null;
    expect(await check(timeout)).toBe('timeout');
    expect(secondLook.outOfReach()).toBe(1);
  });

  it('is still told of after a check that failed here, and looked at by both', async () => {
    await check(timeout);
    expect(await check(heldUp)).toBe('local_fault');
    expect(secondLook.outOfReach()).toBe(1);
    expect(await check(timeout)).toBe('ok');
  });

  it('is forgotten with its entry', async () => {
    await check(timeout);
    entry.gone = true;
    expect(secondLook.outOfReach()).toBe(0);
    entry.gone = false;
    expect(secondLook.begin(entry)).toBeNull();
  });
});

it('wants to know what the reference targets say since the server first failed, whatever the wall clock does', async () => {
  doubt(2);
  await check(timeout);
  expect(doubtedMs).toBe(clock.monotonicMs());
  entry.server.state = { ...entry.server.state, suspectSince: at };
  clock.stall(15_000);
  await check(timeout);
  expect(doubtedMs).toBe(clock.monotonicMs() - 15_000);
  clock.setWall(new Date(at.getTime() - 3_600_000));
  await check(timeout);
  expect(doubtedMs).toBe(clock.monotonicMs());
});

it('waits for what the reference targets say, also where there is no other worker', async () => {
  doubt(2);
  other = null;
  const { promise, resolve } = Promise.withResolvers<void>();
  known = promise;
  const order: string[] = [];
  const checked = (async () => {
    await check(timeout);
    order.push('judged');
  })();
  await check(answered);
  order.push('known');
  resolve();
  await checked;
  expect(order).toEqual(['known', 'judged']);
});

it('asks nobody about a server that is not in doubt, and remembers none that answers nobody', async () => {
  doubt(1);
  expect([secondLook.begin(entry), asked]).toEqual([null, 0]);
  doubt(2);
  other = timeout;
  await check(timeout);
  doubt(0);
  expect(secondLook.begin(entry)).toBeNull();
});
