import { beforeEach, describe, expect, it } from 'vitest';
import { database, silence, startWorker } from '../../test/fakes/leasing-workers.ts';
import { addOrganization, addServer } from '../../test/fleet.ts';
import { uncheckedState } from '../health/evaluate.ts';
import type { OrganizationId, ServerId } from '../ids.ts';
import { sql } from '../platform/db.ts';
import { slotOf } from '../servers/server.ts';
import { type HealthWrite, writeHealth, writeMetrics } from './store.ts';

describe('what a worker writes', () => {
  const at = new Date('2026-11-02T00:00:00Z');
  let organizationId: OrganizationId;
  let id: ServerId;
  beforeEach(async () => {
    organizationId = await addOrganization(database.db);
    id = await addServer(database.db, organizationId);
  });

  const write = (epoch: number, seq: number, status: 'healthy' | 'unreachable'): HealthWrite => ({
    organizationId,
    id,
    name: 'web-1',
    slot: slotOf(id),
    epoch,
    seq,
    components: null,
    version: null,
    responseTimeMs: null,
    changes: [{ from: 'unknown', to: status, reason: 'ok', at }],
    state: {
      ...uncheckedState(at),
      status,
      reason: 'ok',
      lastCheckedAt: at,
      lastSeenAt: at,
      consecutiveSuccesses: 1,
    },
  });
  const stored = async () =>
    database.db.system.one<{ health_status: string; events: number }>(sql`
      select health_status, (select count(*)::int from events where type = 'server.health_changed') as events
      from managed_servers where id = ${id}`);

  it('is refused once another one has written with a later lease, and no event tells of it', async () => {
    expect(await writeHealth(database.db.system, [write(8, 1, 'healthy')], at)).toBe(1);
    expect(await writeHealth(database.db.system, [write(7, 99, 'unreachable')], at)).toBe(0);
    expect(await stored()).toEqual({ health_status: 'healthy', events: 1 });
    const metrics = { organizationId, id, epoch: 7, at, metrics: { cpu_percent: 1 }, reason: 'ok' };
    expect(await writeMetrics(database.db.system, [metrics])).toBe(0);
  });

  it('is refused as soon as another one has the lease, before that one has written anything', async () => {
    const [first, second] = [await startWorker(), await startWorker()];
    const epoch = first.leases.held().get(slotOf(id))!;
    expect(await writeHealth(database.db.system, [write(epoch, 1, 'healthy')], at)).toBe(1);
    await silence(first);
    await second.beat();
    expect(second.leases.held().has(slotOf(id))).toBe(true);
    expect(await writeHealth(database.db.system, [write(epoch, 2, 'unreachable')], at)).toBe(0);
    expect(await stored()).toEqual({ health_status: 'healthy', events: 1 });
  });

  it('may be written again without a second event', async () => {
    for (let round = 0; round < 3; round += 1)
      await writeHealth(database.db.system, [write(8, 5, 'healthy')], at);
    expect(await stored()).toEqual({ health_status: 'healthy', events: 1 });
  });

  it('is refused for a server that was paused meanwhile', async () => {
    await database.db.system.execute(sql`update managed_servers set status = 'maintenance' where id = ${id}`);
    expect(await writeHealth(database.db.system, [write(8, 1, 'healthy')], at)).toBe(0);
    expect(await stored()).toEqual({ health_status: 'unknown', events: 0 });
  });
});
