import { describe, expect, it } from 'vitest';
import { createFakeClock } from '../../test/fakes/clock.ts';
import { polledServer } from '../../test/fakes/polled-server.ts';
import { newId, type ServerId } from '../ids.ts';
import type { Egress } from '../platform/egress/client.ts';
import { createEgressPolicy } from '../platform/egress/policy.ts';
import { createEnrolment } from './enrolment.ts';
import type { PollStore } from './poll-store.ts';
import { createRoster } from './roster.ts';
import type { Scheduler } from './scheduler.ts';
import type { PolledServer } from './store.ts';

const installationMs = 30_000;

const clock = createFakeClock();

const serverOf = (ageMs: number, changes: Partial<PolledServer> = {}): PolledServer =>
  polledServer(new Date(clock.now().getTime() - ageMs), { id: newId<ServerId>(0), ...changes });

/** An enrolment over these servers, of a worker that holds the slots of `epochs`. */
function begin(servers: readonly PolledServer[], epochs = new Map([[1, 1]])) {
  const policy = createEgressPolicy({ purpose: 'poll', allow: [], exceptions: [] });
  const asked: (readonly number[])[] = [];
  const store: Partial<PollStore> = {
    async loadSlots(slots) {
      asked.push(slots);
      return servers.filter(({ slot }) => slots.includes(slot));
    },
    loadServers: async () => [...servers],
    loadTokens: async () => [],
  };
  /** In how many milliseconds each is checked that is on the schedule; null: when it is due. */
  const started = new Map<ServerId, number | null>();
  const metrics = new Map<ServerId, number | null>();
  const scheduler: Partial<Scheduler> = {
    start(entry, first) {
      started.set(entry.server.id, first.healthInMs);
      metrics.set(entry.server.id, first.metricsInMs);
    },
    stop: entry => started.delete(entry.server.id),
  };
  const forgotten: string[] = [];
  const roster = createRoster();
  const enrolment = createEnrolment({
    clock,
    store: store as PollStore,
    egress: { policy, forget: () => undefined } as Partial<Egress> as Egress,
    roster,
    sight: { forget: id => forgotten.push(id) },
    scheduler: scheduler as Scheduler,
    healthIntervalMs: installationMs,
    metricsIntervalMs: 2 * installationMs,
    epochs: () => epochs,
  });
  const leases = [...epochs].map(([slot, epoch]) => ({ slot, epoch }));
  const load = (isFirst: boolean) => enrolment.load(leases, isFirst);
  return { enrolment, roster, store, asked, started, metrics, forgotten, load };
}

async function firstCheckInMs(ageMs: number, changes: Partial<PolledServer> = {}): Promise<number | null> {
  const { started, load } = begin([serverOf(ageMs, changes)]);
  expect(await load(false).next()).toBe(true);
  expect(started.size).toBe(1);
  return [...started.values()][0]!;
}

const every = (seconds: number): Partial<PolledServer> => ({
  intervalMs: { health: 1_000 * seconds, metrics: null },
});

it('makes up for a check that fell into the gap between two workers', async () => {
  expect(await firstCheckInMs(installationMs + 1)).toBe(0);
});

it('checks an interval after the last check, also where the rhythm is another on this worker', async () => {
  expect(await firstCheckInMs(installationMs - 1)).toBe(1);
  expect(await firstCheckInMs(0)).toBe(installationMs);
});

it('makes up for metrics that fell into the gap as well, and leaves those alone that did not', async () => {
  const inMs = async (agoMs: number, changes: Partial<PolledServer> = {}): Promise<number> => {
    const metricsAttemptedAt = new Date(clock.now().getTime() - agoMs);
    const { metrics, load } = begin([serverOf(0, { metricsAttemptedAt, ...changes })]);
    await load(false).next();
    return [...metrics.values()][0]!;
  };
  expect(await inMs(2 * installationMs + 1)).toBe(0);
  expect(await inMs(installationMs)).toBe(installationMs);
  expect(await inMs(6_000, { intervalMs: { health: null, metrics: 5_000 } })).toBe(0);
});

it("judges by the server's own interval what fell into the gap", async () => {
  expect(await firstCheckInMs(299_000, every(300))).toBe(1_000);
  expect(await firstCheckInMs(301_000, every(300))).toBe(0);
  expect(await firstCheckInMs(6_000, every(5))).toBe(0);
});

it('keeps nothing of a server that was deleted', async () => {
  const server = serverOf(0);
  const stored = [server];
  const { enrolment, roster, started, forgotten } = begin(stored);
  await enrolment.reload([server]);
  expect([[...started.keys()], roster.size(), forgotten]).toEqual([[server.id], 1, []]);
  stored.pop();
  await enrolment.reload([server]);
  expect([[...started.keys()], roster.size(), forgotten]).toEqual([[], 0, [server.id]]);
});

describe('what was read of a slot that was lost and came back meanwhile', () => {
  /** The slot changes hands twice while the worker waits for what it asked. */
  function beginLosing(during: 'loadSlots' | 'loadServers' | 'loadTokens') {
    const epochs = new Map([[1, 1]]);
    const server = serverOf(1_000);
    const world = begin([server], epochs);
    const read = world.store[during]!.bind(world.store) as (...args: unknown[]) => Promise<never>;
    world.store[during] = async (...args: unknown[]) => {
      const found = await read(...args);
      epochs.set(1, 3);
      return found;
    };
    return { ...world, server };
  }

  it.each(['loadSlots', 'loadTokens'] as const)('is not taken up (%s): it may be old', async name => {
    const { load, roster } = beginLosing(name);
    expect(await load(false).next()).toBe(true);
    expect(roster.size()).toBe(0);
  });

  it.each(['loadServers', 'loadTokens'] as const)(
    'is not taken up after a change either (%s)',
    async name => {
      const { enrolment, roster, server } = beginLosing(name);
      await enrolment.reload([server]);
      expect(roster.size()).toBe(0);
    },
  );
});

describe('the slots of a large fleet', () => {
  const all = Array.from({ length: 40 }, (_, slot) => slot);
  const everySlot = (): Map<number, number> => new Map(all.map(slot => [slot, 7]));
  const fleet = (perSlot: number): PolledServer[] =>
    all.flatMap(slot => Array.from({ length: perSlot }, () => serverOf(1_000, { slot })));

  it('are loaded some at a time, and their servers polled from then on', async () => {
    const { asked, started, load } = begin(fleet(3), everySlot());
    const loading = load(false);
    expect(await loading.next()).toBe(false);
    expect(started.size).toBe(2 * 3);
    while (!(await loading.next()));
    expect(started.size).toBe(40 * 3);
    expect(asked.map(slots => slots.length)).toEqual(Array.from({ length: 20 }, () => 2));
  });

  it('are left alone where they went to somebody else meanwhile', async () => {
    const epochs = everySlot();
    const { asked, started, load } = begin(fleet(3), epochs);
    const loading = load(false);
    await loading.next();
    for (const slot of all.slice(2)) epochs.delete(slot);
    epochs.set(20, 8);
    while (!(await loading.next()));
    expect(started.size).toBe(2 * 3);
    expect(asked).toHaveLength(1);
  });

  it('are tried again from where the database refused', async () => {
    const { store, asked, started, load } = begin(fleet(1), everySlot());
    const loading = load(false);
    await loading.next();
    const { loadSlots } = store;
    store.loadSlots = () => Promise.reject(new Error('the database is away'));
    await expect(loading.next()).rejects.toThrow('away');
    store.loadSlots = loadSlots!;
    while (!(await loading.next()));
    expect(started.size).toBe(40);
    expect(asked.flat()).toEqual(all);
  });

  it.each([
    ['few servers are looked at at once, when all are known', 5, 0],
    ['many are not: that would be a stampede', 6, installationMs - 1_000],
  ])('after a start, %s', async (_name, perSlot, firstMs) => {
    const { started, load } = begin(fleet(perSlot), everySlot());
    const loading = load(true);
    await loading.next();
    expect(started.size).toBe(0);
    while (!(await loading.next()));
    expect(started.size).toBe(40 * perSlot);
    expect([...started.values()][0]).toBe(firstMs);
  });
});
