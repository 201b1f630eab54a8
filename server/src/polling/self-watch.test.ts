import { expect, it } from 'vitest';
import { createFakeClock } from '../../test/fakes/clock.ts';
import { uncheckedState } from '../health/evaluate.ts';
import type { Entry } from './roster.ts';
import { createSelfWatch } from './self-watch.ts';

const clock = createFakeClock();

/** A server that was well and has failed so many times since. */
const entry = (consecutiveFailures: number): Entry =>
  ({
    server: {
      state: {
        ...uncheckedState(clock.now()),
        status: 'healthy',
        reason: 'ok',
        lastSeenAt: clock.now(),
        consecutiveFailures,
        suspectSince: consecutiveFailures === 0 ? null : clock.now(),
      },
    },
  }) as Entry;

/** The watch of a worker with these servers. */
function begin(entries: readonly Entry[]) {
  const known = { isBlind: false, reachedMs: Number.NEGATIVE_INFINITY, asked: [] as Entry[] };
  const watch = createSelfWatch({
    clock,
    roster: { all: () => entries.values() },
    sight: {
      blindSinceMs: () => (known.isBlind ? clock.monotonicMs() : null),
      reachedSince: (ms: number) => known.reachedMs >= ms,
    },
    references: { blindSinceMs: () => null, doubt: () => undefined },
    ask: asked => known.asked.push(asked),
    outOfReach: () => 0,
    name: 'worker',
  });
  return { known, watch };
}
const failures = (entries: readonly Entry[]): number[] =>
  entries.map(({ server }) => server.state.consecutiveFailures);

it('what counted against servers before blindness was found is taken back once, and what is found later counts', () => {
  const entries = [entry(2), entry(1), entry(0)];
  const { known, watch } = begin(entries);
  watch.onDoubt(entries[0]!);
  expect(failures(entries)).toEqual([2, 1, 0]);

  known.isBlind = true;
  watch.onDoubt(entries[0]!);
  expect(failures(entries)).toEqual([0, 0, 0]);
  expect(entries[0]!.server.state.suspectSince).toBeNull();

  const again = Object.assign(entries[1]!, entry(2));
  watch.onDoubt(again);
  expect(failures(entries)).toEqual([0, 2, 0]);
});

it('four others are asked where a server fails and nobody has answered lately, and once in two seconds', async () => {
  const entries = Array.from({ length: 9 }, () => entry(0));
  const doubtful = entry(1);
  const { known, watch } = begin([doubtful, ...entries]);
  watch.onDoubt(doubtful);
  watch.onDoubt(doubtful);
  expect(known.asked).toEqual(entries.slice(0, 4));
  await clock.advance(2_000);
  watch.onDoubt(doubtful);
  expect(known.asked).toHaveLength(8);
  await clock.advance(2_000);
  known.reachedMs = clock.monotonicMs();
  watch.onDoubt(doubtful);
  expect(known.asked).toHaveLength(8);
});
