import { describe, expect, it } from 'vitest';
import {
  conditions,
  database,
  running,
  silence,
  startWorker,
  storesBy,
  type Worker,
} from '../../test/fakes/leasing-workers.ts';
import { until } from '../../test/fakes/until.ts';
import type { Conditions } from '../conditions/condition.ts';
import { sql } from '../platform/db.ts';
import { claimSlots, ensurePinnedSlot } from './slots.ts';

const shares = (): number[] => running.map(({ leases }) => leases.held().size);
const expectNoSlotHeldTwice = (): void => {
  const all = running.flatMap(({ leases }) => [...leases.held().keys()]);
  expect(new Set(all).size).toBe(all.length);
};

describe('workers share the slots', () => {
  it('evenly, each slot with one of them, after one heartbeat of each', async () => {
    const first = await startWorker();
    expect(shares()).toEqual([256]);
    const second = await startWorker();
    expect(shares()).toEqual([256, 0]);
    await first.beat();
    await second.beat();
    expect(shares()).toEqual([128, 128]);
    const third = await startWorker();
    for (const worker of [first, second, third]) await worker.beat();
    expect(shares()).toEqual([86, 85, 85]);
    expectNoSlotHeldTwice();
  });

  it('and give back only what is stored: nobody else has the slots before', async () => {
    const first = await startWorker();
    const second = await startWorker();
    await first.beat();
    expect(first.told).toEqual(['gained 256', 'lost 128 while 128 were still its own']);
    await second.beat();
    expect(second.told).toEqual(['gained 128']);
  });

  it('and go on with their heartbeats while that takes its time: what is theirs stays so', async () => {
    const stored = Promise.withResolvers<void>();
    storesBy(stored.promise);
    const [first, second] = [await startWorker(), await startWorker()];
    for (let round = 0; round < 3; round += 1) {
      await silence(first);
      await first.heartbeat();
      await second.beat();
    }
    expect(shares()).toEqual([128, 0]);
    stored.resolve();
    await first.leases.idle();
    await second.beat();
    expect(shares()).toEqual([128, 128]);
    expect(first.told).toEqual(['gained 256', 'lost 128 while 128 were still its own']);
    expectNoSlotHeldTwice();
  });

  it('and take over at the next heartbeat what one gives back when it stops', async () => {
    const [first, second] = [await startWorker(), await startWorker()];
    await first.beat();
    await second.beat();
    await first.leases.stop();
    await second.beat();
    expect(second.leases.held().size).toBe(256);
  });

  it('and take over what a dead one held once its lease has ended, with higher epochs', async () => {
    const [dead, heir] = [await startWorker(), await startWorker()];
    const epochs = new Map(dead.leases.held());
    await dead.crash();
    await heir.beat();
    expect(heir.leases.held().size).toBe(0);
    await silence(dead);
    await heir.beat();
    expect(heir.leases.held().size).toBe(256);
    for (const [slot, epoch] of heir.leases.held()) expect(epoch).toBeGreaterThan(epochs.get(slot)!);
  });

  it('and leave a lease alone until it has ended, to the instant', async () => {
    const [owner, other] = [await startWorker(), await startWorker()];
    // In a transaction, now() stands still.
    const claimed = await database.db.system.transaction(async tx => {
      await tx.execute(sql`update poll_slots set expires_at = now() where owner = ${owner.id}`);
      const early = await claimSlots(tx, other.id, 1);
      await tx.execute(
        sql`update poll_slots set expires_at = now() - interval '1 microsecond' where owner = ${owner.id}`,
      );
      return [early, await claimSlots(tx, other.id, 1)].map(leases => leases.length);
    });
    expect(claimed).toEqual([0, 1]);
  });

  it('and one that comes back from a long pause finds out that it holds nothing', async () => {
    const [paused, heir] = [await startWorker(), await startWorker()];
    await silence(paused);
    await heir.beat();
    expect(heir.leases.held().size).toBe(256);
    await paused.beat();
    expect(paused.leases.held().size).toBe(0);
    await heir.beat();
    await paused.beat();
    expect(shares()).toEqual([128, 128]);
    expectNoSlotHeldTwice();
  });
});

describe('a slot that is pinned to an installation', () => {
  const heldPinned = (worker: Worker): number[] =>
    [...worker.leases.held().keys()].filter(slot => slot > 255);

  it('is held by its process alone, beside its share of the others', async () => {
    const slot = await ensurePinnedSlot(database.db.system, 'here');
    expect(await ensurePinnedSlot(database.db.system, 'here')).toBe(slot);
    const elsewhere = await ensurePinnedSlot(database.db.system, 'elsewhere');
    const [stranger, own] = [await startWorker(), await startWorker({ pin: 'here' })];
    for (let round = 0; round < 2; round += 1) for (const worker of running) await worker.beat();
    expect(shares()).toEqual([128, 129]);
    expect([heldPinned(stranger), heldPinned(own)]).toEqual([[], [slot]]);
    await own.leases.stop();
    await stranger.beat();
    expect(stranger.leases.held().size).toBe(256);
    expect(elsewhere).not.toBe(slot);
  });

  it('is taken at once from the process before, which is dead, and from nobody else', async () => {
    const slot = await ensurePinnedSlot(database.db.system, 'here');
    const before = await startWorker({ pin: 'here' });
    const epoch = before.leases.held().get(slot)!;
    await before.crash();
    const after = await startWorker({ pin: 'here' });
    expect([...after.leases.held().keys()]).toEqual([slot]);
    expect(after.leases.held().get(slot)).toBeGreaterThan(epoch);
  });
});

describe('a slot that is a worker’s own by the books alone', () => {
  it('is claimed anew: the answer to the claim was lost', async () => {
    const worker = await startWorker();
    await database.db.system.execute(
      sql`update poll_slots set epoch = nextval('poll_epoch_seq') where slot < 10`,
    );
    await worker.beat();
    expect(worker.leases.held().size).toBe(256);
    expect(worker.told.map(what => what.replace(/ while.*/, '')).toSorted()).toEqual([
      'gained 10',
      'gained 256',
      'lost 10',
    ]);
  });
});

describe('workers of one installation', () => {
  it('need not wait for their own dead: a restart takes every slot at once', async () => {
    const before = await startWorker({ instance: 'here' });
    await before.crash();
    const after = await startWorker({ instance: 'here' });
    expect(after.leases.held().size).toBe(256);
  });

  it('that turn out to be twins share the slots, and do not evict each other for ever', async () => {
    const first = await startWorker({ instance: 'cloned' });
    const second = await startWorker({ instance: 'cloned' });
    expect(second.leases.held().size).toBe(256);
    for (let round = 0; round < 3; round += 1) {
      await first.beat();
      await second.beat();
      expectNoSlotHeldTwice();
    }
    expect(shares()).toEqual([128, 128]);
  });
});

describe('what workers see wrong with the installation', () => {
  const at = new Date('2026-11-02T00:00:00Z');
  const late = (since: Date): Conditions => ({ polling_late: { since, detail: 'too much to do' } });
  const told = () =>
    database.db.system.many<{ type: string; data: object }>(sql`
      select type, data from events where type like 'condition.%' order by xid, id`);
  const began = {
    type: 'condition.began',
    data: { condition: 'polling_late', since: at.toISOString(), detail: 'too much to do' },
  };
  const ended = { type: 'condition.ended', data: { condition: 'polling_late', since: at.toISOString() } };

  it('is told once, however many of them see it, and ends when the last one sees it no more', async () => {
    const [first, second] = [await startWorker(), await startWorker()];
    // Of one time: it is told with that of whoever comes first.
    for (const { id } of [first, second]) conditions.set(id, late(at));
    await Promise.all([first.beat(), second.beat()]);
    expect(await told()).toEqual([began]);
    conditions.delete(first.id);
    await first.beat();
    expect(await told()).toEqual([began]);
    conditions.delete(second.id);
    await second.beat();
    expect(await told()).toEqual([began, ended]);
  });

  it('ends with the worker that saw it, if that one dies', async () => {
    const [dying, other] = [await startWorker(), await startWorker()];
    conditions.set(dying.id, late(at));
    await dying.beat();
    await dying.crash();
    await other.beat();
    expect(await told()).toEqual([began]);
    await silence(dying);
    await other.beat();
    expect(await told()).toEqual([began, ended]);
  });
});

describe('a worker that comes, goes or gives slots back', () => {
  it('says so, for the others to see to their share without waiting for a heartbeat', async () => {
    const [first, second] = [await startWorker(), await startWorker()];
    await first.beat();
    await second.leases.stop();
    const changes = await database.db.system.many<{ who: string; change: string }>(sql`
      select subject_id as who, data->>'change' as change from events where type = 'workers.changed' order by xid, id`);
    expect(changes).toEqual([
      { who: first.id, change: 'joined' },
      { who: second.id, change: 'joined' },
      { who: first.id, change: 'gave_back' },
      { who: second.id, change: 'left' },
    ]);
  });

  it('wakes a worker that sleeps until its next heartbeat', async () => {
    const [first, second] = [await startWorker(), await startWorker()];
    first.leases.wake();
    await until('the first to give back what is too much', async () => first.leases.held().size === 128);
    second.leases.wake();
    await until('the second to take it', async () => second.leases.held().size === 128);
  });
});
