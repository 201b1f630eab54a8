import { expect, it } from 'vitest';
import { createFakeClock } from '../../test/fakes/clock.ts';
import { uncheckedState } from '../health/evaluate.ts';
import { newId, type OrganizationId, type ServerId } from '../ids.ts';
import type { Egress } from '../platform/egress/client.ts';
import { createEgressPolicy } from '../platform/egress/policy.ts';
import { createEnrolment } from './enrolment.ts';
import type { PollStore } from './poll-store.ts';
import { createRoster } from './roster.ts';
import type { Scheduler } from './scheduler.ts';
import type { PolledServer } from './store.ts';

const installationMs = 30_000;

/** In how many milliseconds a server is checked that another worker polled until then; null: when it is due. */
async function firstCheckInMs(ageMs: number, changes: Partial<PolledServer> = {}): Promise<number | null> {
  const clock = createFakeClock();
  const checkedAt = new Date(clock.now().getTime() - ageMs);
  const server: PolledServer = {
    organizationId: newId<OrganizationId>(0),
    id: newId<ServerId>(0),
    slot: 1,
    name: 'web-1',
    apiUrl: 'https://web-1.example.com',
    region: null,
    adapter: 'ops-center',
    intervalMs: { health: null, metrics: null },
    state: { ...uncheckedState(checkedAt), status: 'healthy', reason: 'ok', lastCheckedAt: checkedAt },
    lastMetricsAt: null,
    ...changes,
  };
  const policy = createEgressPolicy({ purpose: 'poll', allow: [], exceptions: [] });
  const store = { loadSlots: async () => [server], loadTokens: async () => [] };
  let healthInMs: number | null | undefined;
  await createEnrolment({
    clock,
    store: store as Partial<PollStore> as PollStore,
    egress: { policy } as Egress,
    roster: createRoster(),
    scheduler: {
      start: (_entry, first) => (healthInMs = first.healthInMs),
    } as Partial<Scheduler> as Scheduler,
    healthIntervalMs: installationMs,
    epochs: () => new Map([[1, 1]]),
  }).load([{ slot: 1, epoch: 1 }], false);
  expect(healthInMs).not.toBe(undefined);
  return healthInMs!;
}

const every = (seconds: number): Partial<PolledServer> => ({
  intervalMs: { health: 1_000 * seconds, metrics: null },
});

it('makes up for a check that fell into the gap between two workers', async () => {
  expect(await firstCheckInMs(installationMs + 1)).toBe(0);
  expect(await firstCheckInMs(installationMs - 1)).toBeNull();
});

it("judges by the server's own interval what fell into the gap", async () => {
  expect(await firstCheckInMs(299_000, every(300))).toBeNull();
  expect(await firstCheckInMs(301_000, every(300))).toBe(0);
  expect(await firstCheckInMs(6_000, every(5))).toBe(0);
});

it('leaves a server that is spared to its longer pace', async () => {
  const now = createFakeClock().now().getTime();
  const state = {
    ...uncheckedState(new Date(now - 2 * 86_400_000)),
    status: 'unreachable' as const,
    reason: 'timeout',
    lastCheckedAt: new Date(now - 200_000),
    breakerOpenedAt: new Date(now - 2 * 86_400_000),
  };
  expect(await firstCheckInMs(0, { state })).toBeNull();
});
