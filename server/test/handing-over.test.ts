import { describe, expect, it } from 'vitest';
import { accountInTheEnd } from './simulation/accounts.ts';
import { createWorld, type World } from './simulation/world.ts';

/**
 * What one process leaves to the next, on the virtual time and the disks of the simulation: there the moment can be
 * chosen in which it matters.
 */

/** A fleet that one worker has polled for a while. */
async function begin(): Promise<World> {
  const world = createWorld({ seed: 1, servers: 40, workers: 1 });
  await world.timeline.runUntil(90_000);
  expect(world.database.tables.applied.length).toBeGreaterThan(40);
  return world;
}
const passes = (world: World, ms: number): Promise<void> =>
  world.timeline.runUntil(world.timeline.nowMs() + ms);

describe('a worker that stops', () => {
  it('stores also what is answered after it has stopped waiting, as long as it lives', async () => {
    const world = await begin();
    const [worker] = world.running();
    for (const server of world.network.servers) world.network.change(server, 'slow');
    await passes(world, 40_000);
    // It waits for the answers for two seconds, and then for the database, which refuses it first, and then hangs.
    world.database.trouble.isDown = true;
    await passes(world, 5_000);
    const isAnsweredLate = (): boolean =>
      world.network.polls.some(
        ({ heardMs, answeredMs }) => heardMs === null && answeredMs > world.timeline.nowMs() + 2_500,
      );
    while (!isAnsweredLate()) await passes(world, 100);
    world.stopWorker(worker!);
    const stoppedMs = world.timeline.nowMs();
    await passes(world, 1_950);
    world.database.trouble.isDown = false;
    worker!.process.reaches.database = false;
    await passes(world, 20_000);
    expect(worker!.end?.how).toBe('stopped');
    const late = world.network.polls.filter(
      ({ heardMs }) => heardMs !== null && heardMs > stoppedMs + 2_000 && heardMs <= worker!.end!.atMs,
    );
    expect(late.length).toBeGreaterThan(0);
    expect((await accountInTheEnd(world)).broken).toEqual([]);
  });
});

describe('a worker that gives slots back', () => {
  it('has stored by then what it knows of their servers, however much that is', async () => {
    const world = await begin();
    world.database.trouble.isDown = true;
    await passes(world, 40_000);
    Object.assign(world.database.trouble, { isDown: false, slowMs: 500 });
    world.startWorker(world.machines[1]!);
    await passes(world, 60_000);
    const [first, second] = world.running();
    const { leases, fenced } = world.database.tables;
    const taken = [...leases.values()].filter(({ owner }) => owner === second!.id);
    expect([first!.end, taken.length]).toEqual([null, 128]);
    expect(fenced).toEqual([]);
  });
});

describe('a worker that was killed while the database was away', () => {
  it('has left states on disk, which the next process stores before anybody polls their servers', async () => {
    const world = await begin();
    const { database, machines, timeline } = world;
    database.trouble.isDown = true;
    await passes(world, 40_000);
    world.killWorker(world.running()[0]!);
    database.trouble.isDown = false;
    const startedMs = timeline.nowMs();
    world.startWorker(machines[0]!);
    await passes(world, 60_000);
    const { applied, fenced, leases } = database.tables;
    const [worker] = world.running();
    const leased = [...leases.values()].find(({ owner }) => owner === worker!.id)!.sinceMs;
    const left = applied.filter(
      ({ write, atMs }) => atMs >= startedMs && leases.get(write.epoch)!.owner !== worker!.id,
    );
    expect(left.length).toBeGreaterThan(20);
    expect(left.every(({ atMs }) => atMs <= leased)).toBe(true);
    expect(fenced).toEqual([]);
    expect((await accountInTheEnd(world)).broken).toEqual([]);
  });
});
