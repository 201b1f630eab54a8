import { beforeEach, describe, expect, it } from 'vitest';
import { createFakeClock, type FakeClock } from '../../test/fakes/clock.ts';
import { polledServer } from '../../test/fakes/polled-server.ts';
import type { CheckOutcome } from '../health/check.ts';
import type { OrganizationId, ServerId, WorkerId } from '../ids.ts';
import { createEgress } from '../platform/egress/client.ts';
import { createEgressPolicy } from '../platform/egress/policy.ts';
import { createLog } from '../platform/log.ts';
import type { PolledServer } from './store.ts';
import { createTestimony, type Testimony } from './testimony.ts';
import type { TakenQuestion, WitnessAnswer } from './witness-store.ts';

const organizationId = '019e0000-0000-7000-8000-000000000000' as OrganizationId;
const idOf = (n: number): ServerId => `019e0000-0000-7000-8000-${String(n).padStart(12, '0')}` as ServerId;
const asker = '019e0000-0000-7000-9000-000000000001' as WorkerId;
const refused: CheckOutcome = { kind: 'failed', reason: 'refused', detail: 'refused', reached: false };

let clock: FakeClock;
/** What others ask, what each statement took, and what each wrote down. */
let open: TakenQuestion[];
let rooms: number[];
let answered: (readonly WitnessAnswer[])[];
let blindSinceMs: number | null;
let deleted: Set<ServerId>;
/** Ends the checks that run. */
let running: ((outcome: CheckOutcome) => void)[];
let testimony: Testimony;

beforeEach(() => {
  clock = createFakeClock();
  [open, rooms, answered, running, blindSinceMs, deleted] = [[], [], [], [], null, new Set()];
  const serverOf = (id: ServerId): PolledServer =>
    polledServer(clock.now(), { organizationId, id, apiUrl: `https://${id}.example.com` });
  testimony = createTestimony({
    store: {
      async takeQuestions(_witness, count) {
        rooms.push(count);
        return open.splice(0, count);
      },
      async answerQuestions(_witness, answers) {
        answered.push(answers);
      },
      loadServers: async keys => keys.filter(({ id }) => !deleted.has(id)).map(({ id }) => serverOf(id)),
      loadTokens: async () => [],
    },
    clock,
    log: createLog({ level: 'silent' }),
    egress: createEgress({ policy: createEgressPolicy({ purpose: 'poll' }), clock, keepAliveMs: 1 }),
    id: '019e0000-0000-7000-9000-000000000002' as WorkerId,
    sight: { blindSinceMs: () => blindSinceMs },
    check: () => new Promise(resolve => running.push(resolve)),
  });
  void testimony.run(new AbortController().signal);
});

async function ask(count: number): Promise<void> {
  for (let n = 0; n < count; n += 1) open.push({ organizationId, id: idOf(n), asker, number: n });
  testimony.wake();
  await clock.advance(0);
}
const end = (count: number): void => {
  for (const resolve of running.splice(0, count)) resolve(refused);
};

describe('a worker that is asked', () => {
  it('checks, and tells what it found and how long it took', async () => {
    await ask(1);
    await clock.advance(3_000);
    end(1);
    await clock.advance(250);
    expect(answered).toEqual([
      [{ organizationId, asker, number: 0, finding: { outcome: refused, durationMs: 3_000 } }],
    ]);
  });

  it('tells all that it found meanwhile in one statement', async () => {
    await ask(100);
    end(100);
    await clock.advance(250);
    expect(answered.map(batch => batch.length)).toEqual([100]);
  });

  it('takes no more than it has room for, and the rest when it has', async () => {
    await ask(300);
    await clock.advance(1_000);
    expect([running.length, open.length]).toEqual([256, 44]);
    end(10);
    await clock.advance(500);
    expect([running.length, open.length]).toEqual([256, 34]);
    expect(rooms).toEqual([256, 10]);
  });

  it('takes nothing while it sees nothing itself: others may', async () => {
    blindSinceMs = 0;
    await ask(1);
    await clock.advance(1_000);
    expect([rooms, open.length]).toEqual([[], 1]);
  });

  it('has no opinion of a server that was deleted meanwhile', async () => {
    deleted.add(idOf(0));
    await ask(1);
    await clock.advance(250);
    expect(answered.flat()).toMatchObject([{ finding: { outcome: { kind: 'not_checked' } } }]);
  });

  it('does not ask the database again until it is told to', async () => {
    await ask(1);
    end(1);
    await clock.advance(600_000);
    expect([rooms.length, answered.length]).toEqual([1, 1]);
    await ask(1);
    expect(rooms.length).toBe(2);
  });
});
