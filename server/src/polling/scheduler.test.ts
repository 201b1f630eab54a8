import { afterEach, describe, expect, it } from 'vitest';
import { createFakeClock } from '../../test/fakes/clock.ts';
import { polledServer } from '../../test/fakes/polled-server.ts';
import type { ServerId } from '../ids.ts';
import { createEgress } from '../platform/egress/client.ts';
import { createEgressPolicy } from '../platform/egress/policy.ts';
import { createInstruments, exposePolls } from '../platform/instruments.ts';
import { slotOf } from '../servers/server.ts';
import { createEntry, type Entry, type Kind } from './roster.ts';
import { offsetMs } from './schedule.ts';
import { createScheduler, gatherMs } from './scheduler.ts';

const start = new Date('2026-11-01T00:00:00Z');
const intervalMs = { health: 30_000, metrics: 60_000 };

type Poll = { server: number; kind: Kind; atMs: number; requestedAt: Date | null };
/** How long a poll of a fake server takes, and how soon it wants to be looked at again. */
type Behaviour = (poll: Poll) => { tookMs: number; recheckAfterMs?: number };

let stop = async (): Promise<void> => {};
afterEach(() => stop());

/** A scheduler in virtual time, over fake servers that are polled by their offsets. */
function begin(servers: number, behave: Behaviour, now = start) {
  const clock = createFakeClock(now);
  const startMs = clock.monotonicMs();
  const instruments = createInstruments();
  const egress = createEgress({ policy: createEgressPolicy({ purpose: 'poll' }), clock, keepAliveMs: 1 });
  const polls: Poll[] = [];
  const running = new Map<string, number>();
  let overlaps = 0;
  const entries = Array.from({ length: servers }, (_, index) => {
    // Fixed, because the offsets follow from them.
    const id = `019e0000-0000-7000-8000-${index.toString(16).padStart(12, '0')}` as ServerId;
    return createEntry(
      polledServer(start, { id, slot: slotOf(id), apiUrl: `https://${id}.example.com` }),
      1,
      null,
      egress,
    );
  });
  const scheduler = createScheduler({
    clock,
    instruments,
    intervalMs: (entry, kind) => entry.server.intervalMs[kind] ?? intervalMs[kind],
    async poll(entry, kind, requestedAt) {
      const server = entries.indexOf(entry);
      const poll = { server, kind, atMs: clock.monotonicMs() - startMs, requestedAt };
      const key = `${server} ${kind}`;
      polls.push(poll);
      running.set(key, (running.get(key) ?? 0) + 1);
      overlaps = Math.max(overlaps, running.get(key)! - 1);
      const { tookMs, recheckAfterMs } = behave(poll);
      await clock.sleep(tookMs);
      running.set(key, running.get(key)! - 1);
      return recheckAfterMs ?? null;
    },
  });
  exposePolls(instruments, scheduler.inFlight);
  for (const entry of entries) scheduler.start(entry, { healthInMs: null, metricsInMs: null });
  const ended = new AbortController();
  const loop = scheduler.run(ended.signal);
  stop = async () => {
    ended.abort();
    await loop;
    await egress.close();
  };
  return {
    clock,
    scheduler,
    entries,
    polls,
    stop,
    overlaps: () => overlaps,
    /** What `/metrics` says of the lane of regular polls. */
    inFlight: async () =>
      Number(
        /^opsfleet_polls_in_flight\{lane="live"\} (\d+)$/m.exec(await instruments.registry.metrics())?.[1],
      ),
    skipped: async () => (await instruments.skipped.get()).values.reduce((sum, { value }) => sum + value, 0),
    /** When a server was polled, in ms since the start. */
    times: (server: number, kind: Kind = 'health') =>
      polls.filter(poll => poll.server === server && poll.kind === kind).map(poll => poll.atMs),
    offset: (server: number, kind: Kind = 'health') =>
      offsetMs(entries[server]!.server.id, kind, intervalMs[kind]),
  };
}

const quick: Behaviour = () => ({ tookMs: 20 });
const suspect = (entry: Entry): void => {
  entry.server.state = { ...entry.server.state, consecutiveFailures: 1 };
};

describe('the rhythm of a server', () => {
  it('is a fixed rate for each kind, at its offset, without drift', async () => {
    const world = begin(20, poll => ({ tookMs: (poll.atMs * 7) % 9_000 }));
    await world.clock.advance(600_000);
    for (const kind of ['health', 'metrics'] as const) {
      for (const server of world.entries.keys()) {
        const times = world.times(server, kind);
        expect(times).toHaveLength(600_000 / intervalMs[kind]);
        for (const [round, atMs] of times.entries()) {
          const dueMs = world.offset(server, kind) + round * intervalMs[kind];
          expect(atMs - dueMs).toBeGreaterThan(-1);
          expect(atMs - dueMs).toBeLessThanOrEqual(gatherMs);
        }
      }
    }
  });

  it('stays the same when another process takes over, which has started at another time', async () => {
    const before = begin(20, quick);
    await before.clock.advance(30_000);
    await before.stop();
    const lateMs = 12_345;
    const after = begin(20, quick, new Date(start.getTime() + lateMs));
    await after.clock.advance(30_000);
    for (const server of before.entries.keys()) {
      const [first] = before.times(server);
      const [second] = after.times(server);
      const movedMs = (lateMs + second! - first! + 15_000) % 30_000;
      expect(movedMs).toBeCloseTo(15_000, -1);
    }
  });

  it('shows how many polls run, also when none does any more', async () => {
    const world = begin(1, ({ kind }) => ({ tookMs: kind === 'health' ? 5_000 : 1 }));
    expect(await world.inFlight()).toBe(0);
    await world.clock.advance(world.offset(0) + gatherMs + 1_000);
    expect(world.times(0)).toHaveLength(1);
    expect(await world.inFlight()).toBe(1);
    await world.clock.advance(5_000);
    expect(await world.inFlight()).toBe(0);
  });

  it('stays the same when the wall clock jumps', async () => {
    const world = begin(5, quick);
    await world.clock.advance(60_000);
    world.clock.setWall(new Date('2026-11-02T01:00:00Z'));
    await world.clock.advance(60_000);
    world.clock.setWall(new Date('2026-10-01T00:00:00Z'));
    await world.clock.advance(60_000);
    for (const server of world.entries.keys()) {
      const times = world.times(server);
      expect(times).toHaveLength(6);
      for (const [index, atMs] of times.slice(1).entries())
        expect(Math.abs(atMs - times[index]! - 30_000)).toBeLessThanOrEqual(gatherMs);
    }
  });

  it.each([3_000, 40_000, 600_000])(
    'goes on after a stall of %i ms without a burst: at no more than three times the usual pace',
    async stallMs => {
      const servers = 300;
      const world = begin(servers, quick);
      await world.clock.advance(60_000);
      const before = world.polls.length;
      world.clock.stall(stallMs);
      await world.clock.advance(60_000);
      const woken = world.polls.slice(before);
      const perSecond = new Map<number, number>();
      for (const { atMs } of woken) {
        const second = Math.floor(atMs / 1_000);
        perSecond.set(second, (perSecond.get(second) ?? 0) + 1);
      }
      const usual = servers / 30 + servers / 60;
      // Hashes spread well, not evenly.
      expect(Math.max(...perSecond.values())).toBeLessThanOrEqual(3 * usual * 1.6);
      // Everybody is made up for within one interval, once.
      for (const server of world.entries.keys()) {
        const [first, second, third] = world.times(server).filter(atMs => atMs > 60_000 + stallMs - 1);
        expect(first! - 60_000 - stallMs).toBeLessThanOrEqual(30_000);
        expect((third ?? Number.POSITIVE_INFINITY) - first!).toBeGreaterThanOrEqual(30_000 - gatherMs);
        expect(second! - first!).toBeGreaterThan(0);
      }
    },
  );

  it('counts what a stall has delayed as late, from the time it was due', async () => {
    const world = begin(100, quick);
    await world.clock.advance(60_000);
    expect(world.scheduler.latenessP99Seconds()).toBeLessThanOrEqual((1.1 * gatherMs) / 1000);
    world.clock.stall(20_000);
    await world.clock.advance(25_000);
    expect(world.scheduler.latenessP99Seconds()).toBeGreaterThan(15);
  });
});

describe('a server that takes longer than its interval', () => {
  it('is never polled twice at once; what falls into a running poll is skipped and counted', async () => {
    const world = begin(1, () => ({ tookMs: 40_000 }));
    await world.clock.advance(600_000);
    expect(world.overlaps()).toBe(0);
    // Of 20 due times every second one falls into the poll before; of the 10 for metrics none does.
    expect(world.times(0)).toHaveLength(10);
    expect(world.times(0, 'metrics')).toHaveLength(10);
    expect(await world.skipped()).toBe(10);
  });

  it('delays no other one, even if most of the fleet hangs', async () => {
    const dead = 600;
    const world = begin(dead + 20, ({ server }) => ({ tookMs: server < dead ? 3_000_000 : 20 }));
    for (const entry of world.entries.slice(0, dead)) suspect(entry);
    await world.clock.advance(120_000);
    for (const server of Array.from({ length: 20 }, (_, index) => dead + index)) {
      const times = world.times(server);
      expect(times).toHaveLength(4);
      for (const [round, atMs] of times.entries()) {
        expect(atMs - world.offset(server) - round * 30_000).toBeLessThanOrEqual(gatherMs);
      }
    }
  });
});

describe('a poll somebody asks for', () => {
  it('starts at once, although the lanes of its server are full', async () => {
    const world = begin(600, ({ requestedAt }) => ({ tookMs: requestedAt === null ? 3_000_000 : 20 }));
    for (const entry of world.entries) suspect(entry);
    // The last one to be due finds 599 before it in a lane that has room for 512.
    const last = [...world.entries.keys()].toSorted((a, b) => world.offset(b) - world.offset(a))[0]!;
    await world.clock.advance(world.offset(last) - 1_000);
    world.scheduler.request(world.entries[last]!, 'health', world.clock.now());
    await world.clock.advance(0);
    expect(world.polls.at(-1)).toMatchObject({
      server: last,
      kind: 'health',
      requestedAt: world.clock.now(),
    });
  });

  it('waits for the one that runs, then starts, once however many asked', async () => {
    const world = begin(1, ({ requestedAt }) => ({ tookMs: requestedAt === null ? 10_000 : 20 }));
    const [entry] = world.entries;
    await world.clock.advance(world.offset(0) + 100);
    for (let asked = 0; asked < 5; asked += 1) world.scheduler.request(entry!, 'health', world.clock.now());
    await world.clock.advance(11_000);
    expect(world.overlaps()).toBe(0);
    const times = world.times(0);
    expect(times).toHaveLength(2);
    expect(times[1]! - times[0]!).toBe(10_000);
    expect(world.polls.findLast(poll => poll.kind === 'health')!.requestedAt).not.toBeNull();
  });

  it('does not disturb the rhythm', async () => {
    const world = begin(1, quick);
    await world.clock.advance(60_000);
    world.scheduler.request(world.entries[0]!, 'health', world.clock.now());
    await world.clock.advance(60_000);
    const regular = world.polls.filter(poll => poll.kind === 'health' && poll.requestedAt === null);
    expect(regular).toHaveLength(4);
    expect(world.times(0)).toHaveLength(5);
  });
});

describe('a poll that is brought forward', () => {
  it('starts at once, and those after it keep their rhythm', async () => {
    const world = begin(1, quick);
    await world.clock.advance(60_000);
    const before = world.times(0).length;
    world.scheduler.advance(world.entries[0]!, 'health');
    await world.clock.advance(gatherMs);
    expect(world.times(0)).toHaveLength(before + 1);
    expect(world.polls.at(-1)!.requestedAt).toBeNull();
    await world.clock.advance(60_000 - gatherMs);
    expect(world.times(0)).toHaveLength(before + 3);
  });

  it('is the one that runs, where one does', async () => {
    const world = begin(1, () => ({ tookMs: 10_000 }));
    await world.clock.advance(world.offset(0) + 100);
    world.scheduler.advance(world.entries[0]!, 'health');
    await world.clock.advance(15_000);
    expect(world.times(0)).toHaveLength(1);
  });
});

describe('a server in doubt', () => {
  it('is looked at again as soon as it wants, and then goes on in its rhythm', async () => {
    const rechecks = [5_000, 10_000];
    const world = begin(1, ({ kind }) => ({
      tookMs: 0,
      ...(kind === 'health' && rechecks.length > 0 ? { recheckAfterMs: rechecks.shift()! } : {}),
    }));
    await world.clock.advance(90_000);
    const offset = world.offset(0);
    const expected = [0, 5_000, 15_000, 30_000, 60_000].map(ms => offset + ms);
    const times = world.times(0);
    expect(times).toHaveLength(5);
    for (const [index, atMs] of times.entries())
      expect(Math.abs(atMs - expected[index]!)).toBeLessThanOrEqual(15);
  });

  it('is back in the rhythm of the others as soon as it is not spared any more', async () => {
    const world = begin(1, ({ kind, atMs }) => {
      if (kind === 'health' && atMs > 200_000) entry!.server.intervalMs.health = null;
      return { tookMs: 0 };
    });
    const [entry] = world.entries;
    entry!.server.intervalMs.health = 300_000;
    await world.clock.advance(700_000);
    const times = world.times(0);
    const back = times.findIndex(atMs => atMs > 200_000);
    expect(times[back + 1]! - times[back]!).toBeLessThanOrEqual(30_005);
    for (const [index, atMs] of times.slice(back + 2).entries())
      expect(atMs - times[back + 1 + index]!).toBeCloseTo(30_000, -1);
  });

  it('is not looked at later than it would have been anyway', async () => {
    const world = begin(1, () => ({ tookMs: 29_000, recheckAfterMs: 5_000 }));
    await world.clock.advance(90_000);
    expect(world.times(0)).toHaveLength(3);
  });
});

describe('the end', () => {
  it('of one server: nothing of it starts any more, whatever was asked', async () => {
    const world = begin(2, () => ({ tookMs: 10_000, recheckAfterMs: 1_000 }));
    const [entry] = world.entries;
    await world.clock.advance(world.offset(0) + 100);
    world.scheduler.request(entry!, 'health', world.clock.now());
    entry!.gone = true;
    world.scheduler.stop(entry!);
    const before = world.times(0).length + world.times(0, 'metrics').length;
    await world.clock.advance(120_000);
    expect(world.times(0).length + world.times(0, 'metrics').length).toBe(before);
    expect(world.times(1).length).toBeGreaterThan(3);
  });

  it('of all: nobody is asked any more, although one that still runs wants others to be', async () => {
    const world = begin(2, ({ server, kind }) => ({
      tookMs: server === 0 && kind === 'health' ? 10_000 : 20,
    }));
    const [first, second] = world.entries;
    world.scheduler.request(first!, 'health', world.clock.now());
    await world.stop();
    const drained = world.scheduler.drain();
    const before = world.polls.length;
    world.scheduler.request(second!, 'health', world.clock.now());
    await world.clock.advance(10_000);
    await drained;
    expect(world.polls).toHaveLength(before);
  });

  it('of all: what runs is waited for, what waits is forgotten, and a poll asked for meanwhile does not start', async () => {
    const world = begin(1, () => ({ tookMs: 10_000 }));
    const [entry] = world.entries;
    await world.clock.advance(world.offset(0) + 100);
    world.scheduler.request(entry!, 'health', world.clock.now());
    const before = world.polls.length;
    let drained = false;
    const stopped = world.stop().then(() => world.scheduler.drain().then(() => (drained = true)));
    await world.clock.advance(5_000);
    expect(drained).toBe(false);
    await world.clock.advance(6_000);
    await stopped;
    expect(world.polls).toHaveLength(before);
  });
});
