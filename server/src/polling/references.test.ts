import { beforeEach, describe, expect, it } from 'vitest';
import { createFakeClock, type FakeClock } from '../../test/fakes/clock.ts';
import { createInstruments, type Instruments } from '../platform/instruments.ts';
import { createLog } from '../platform/log.ts';
import { createReferences, judgeReferences, type References, withReferences } from './references.ts';
import { createSight, sightPolicy } from './sight.ts';

it.each([
  ['sighted', [true, false, null]],
  ['sighted', [true]],
  ['blind', [false, false]],
  ['blind', [false, null]],
  ['unknown', [null, null]],
  ['unknown', []],
] as const)('we are %s where the references say %j', (expected, answers) => {
  expect(judgeReferences(answers)).toBe(expected);
});

let clock: FakeClock;
let instruments: Instruments;
/** What each of two references says, and how often they were asked. */
let says: [boolean | null, boolean | null];
let asked: number;
let blinded: number;
let references: References;

beforeEach(() => {
  clock = createFakeClock();
  instruments = createInstruments();
  [says, asked, blinded] = [[true, true], 0, 0];
  references = create(2);
});
function create(count: number): References {
  return createReferences({
    references: Array.from({ length: count }, (_, n) => ({
      target: `reference ${n}`,
      async ask() {
        asked += 1 / count;
        return says[n]!;
      },
    })),
    clock,
    log: createLog({ level: 'silent' }),
    instruments,
    onBlind: () => (blinded += 1),
  });
}

describe('the references', () => {
  it('are asked when a server is in doubt, once in two seconds, however many are', async () => {
    for (let n = 0; n < 1_000; n += 1) references.doubt();
    await references.known(0);
    await references.known(0);
    expect(asked).toBe(1);
    await clock.advance(2_000);
    await references.known(0);
    expect(asked).toBe(2);
  });

  it('are asked again about what failed after they were asked', async () => {
    await references.known(0);
    await clock.advance(500);
    let isKnown = false;
    void (async () => {
      await references.known(clock.monotonicMs());
      isKnown = true;
    })();
    says = [false, false];
    await clock.advance(1_499);
    expect([asked, isKnown]).toEqual([1, false]);
    await clock.advance(1);
    await clock.advance(0);
    expect([asked, isKnown, references.blindSinceMs() === null]).toEqual([2, true, false]);
  });

  it('say that we are blind when none of them answers, and it is told once', async () => {
    says = [false, false];
    await references.known(0);
    expect([references.blindSinceMs(), blinded]).toEqual([clock.monotonicMs(), 1]);
    await clock.advance(2_000);
    await references.known(0);
    expect([references.blindSinceMs(), blinded]).toEqual([clock.monotonicMs() - 2_000, 1]);
  });

  it('say that we see as long as one of them answers', async () => {
    says = [false, true];
    await references.known(0);
    expect(references.blindSinceMs()).toBeNull();
  });

  it('change nothing where they could not be asked', async () => {
    says = [null, null];
    await references.known(0);
    expect(references.blindSinceMs()).toBeNull();
    says = [false, false];
    await clock.advance(2_000);
    await references.known(0);
    says = [null, null];
    await clock.advance(2_000);
    await references.known(0);
    expect(references.blindSinceMs()).not.toBeNull();
  });

  it('are asked every five seconds while none answers, and not otherwise, until one does', async () => {
    const ending = new AbortController();
    const ended = references.run(ending.signal);
    await clock.advance(600_000);
    expect(asked).toBe(1);
    says = [false, false];
    await references.known(0);
    await clock.advance(20_000);
    expect([asked, references.blindSinceMs() === null]).toEqual([6, false]);
    says = [false, true];
    await clock.advance(5_000);
    expect(references.blindSinceMs()).toBeNull();
    await clock.advance(600_000);
    expect(asked).toBe(7);
    ending.abort();
    await ended;
  });

  it('are shown as they answered last', async () => {
    says = [true, false];
    await references.known(0);
    const { values } = await instruments.referenceUp.get();
    expect(values.map(({ labels, value }) => [labels.target, value])).toEqual([
      ['reference 0', 1],
      ['reference 1', 0],
    ]);
  });

  it('are none where none is named: nobody is blind for it', async () => {
    const none = create(0);
    const ending = new AbortController();
    const ended = none.run(ending.signal);
    await none.known(0);
    ending.abort();
    await ended;
    expect([none.blindSinceMs(), asked]).toEqual([null, 0]);
  });
});

it.each([
  [null, null, null],
  [5, null, 5],
  [null, 7, 7],
  [5, 7, 5],
  [9, 7, 7],
])(
  'blind by many servers since %s and by the references since %s is blind since %s',
  (bySight, byReferences, since) => {
    const sight = { ...createSight(sightPolicy(30_000)), blindSinceMs: () => bySight };
    expect(withReferences(sight, { blindSinceMs: () => byReferences }).blindSinceMs(10)).toBe(since);
  },
);
