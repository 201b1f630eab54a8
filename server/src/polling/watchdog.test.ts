import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/database.ts';
import { createFakeClock, type FakeClock } from '../../test/fakes/clock.ts';
import { startDatabaseProxy } from '../../test/fakes/database-proxy.ts';
import { until } from '../../test/fakes/until.ts';
import { addOrganization, addServer } from '../../test/fleet.ts';
import { uncheckedState } from '../health/evaluate.ts';
import { newId, type OrganizationId, type ServerId, type WorkerId } from '../ids.ts';
import { openDatabase, type SystemDb, sql } from '../platform/db.ts';
import { createLog } from '../platform/log.ts';
import { updateServer } from '../servers/store.ts';
import { claimSlots, heartbeat, type Lease, registerWorker, renewLeases, unregisterWorker } from './slots.ts';
import { type HealthWrite, loadServers, writeHealth } from './store.ts';
import { freeSlots } from './watch-store.ts';
import { createWatchdog, type Watchdog, watchdogPeriodMs } from './watchdog.ts';

const healthIntervalMs = 30_000;
const secondMs = 1_000;
let database: TestDatabase;
let clock: FakeClock;
let organizationId: OrganizationId;
beforeEach(async () => {
  database = await createTestDatabase();
  clock = createFakeClock(new Date());
  organizationId = await addOrganization(database.db);
});
afterEach(() => database.close());

const createDog = (db: SystemDb = database.db.system): Watchdog =>
  createWatchdog({ db, clock, feed: { announce: () => undefined }, healthIntervalMs });

/** Lets time pass, a look every five seconds; how many servers were given up. */
async function watch(seconds: number, ...dogs: Watchdog[]): Promise<number> {
  let given = 0;
  for (let leftMs = seconds * secondMs; leftMs > 0; leftMs -= watchdogPeriodMs) {
    clock.stall(watchdogPeriodMs);
    for (const dog of dogs) given += await dog.look();
  }
  return given;
}

/** A worker that holds all slots that are free. */
async function startWorker(): Promise<{ id: WorkerId; leases: Lease[] }> {
  const at = clock.now();
  const id = newId<WorkerId>(at.getTime());
  await registerWorker(database.db.system, { id, name: id, instance: null, version: '1', startedAt: at }, at);
  return { id, leases: await claimSlots(database.db.system, id, 256) };
}
type Worker = Awaited<ReturnType<typeof startWorker>>;
const stop = (worker: Worker): Promise<void> => unregisterWorker(database.db.system, worker.id, clock.now());
/** It has not been heard of for longer than its leases last. */
async function silence({ id }: Worker): Promise<void> {
  await database.db.system.execute(
    sql`update poll_slots set expires_at = now() - interval '1 second' where owner = ${id}`,
  );
  await database.db.system.execute(
    sql`update workers set heartbeat_at = now() - interval '16 seconds' where id = ${id}`,
  );
}

let seq = 0;
/** What the worker finds now is stored, as far as it may write. */
async function store(worker: Worker, id: ServerId, status: 'healthy' | 'critical'): Promise<number> {
  const [server] = await loadServers(database.db.system, [{ organizationId, id }]);
  const at = clock.now();
  seq += 1;
  const write: HealthWrite = {
    organizationId,
    id,
    name: server!.name,
    slot: server!.slot,
    epoch: worker.leases.find(({ slot }) => slot === server!.slot)!.epoch,
    seq,
    state: { ...uncheckedState(at), status, reason: 'ok', lastCheckedAt: at, lastSeenAt: at },
    components: null,
    version: null,
    responseTimeMs: 5,
    changes: [{ from: server!.state.status, to: status, reason: 'ok', at }],
  };
  return writeHealth(database.db.system, [write], at);
}

/** A server that the worker has found well just now. */
async function wellServer(worker: Worker, healthIntervalSeconds: number | null = null): Promise<ServerId> {
  const id = await addServer(database.db, organizationId);
  if (healthIntervalSeconds !== null) {
    const changes = { health_interval_seconds: healthIntervalSeconds };
    await updateServer(database.db.tenant(organizationId), id, changes, clock.now());
  }
  expect(await store(worker, id, 'healthy')).toBe(1);
  return id;
}
const stateOf = async (id: ServerId): Promise<string> => {
  const row = await database.db.system.one<{ state: string }>(sql`
    select concat(health_status, ' ', health_reason) as state from managed_servers where id = ${id}`);
  return row.state;
};
const changesOf = async (id: ServerId): Promise<string[]> => {
  const rows = await database.db.system.many<{ change: string }>(sql`
    select concat(data->>'from', ' to ', data->>'to') as change from events
    where type = 'server.health_changed' and subject_id = ${id} order by xid, id`);
  return rows.map(row => row.change);
};
const told = async (): Promise<string[]> => {
  const rows = await database.db.system.many<{ told: string }>(sql`
    select concat(type, ' ', data->>'condition') as told from events where type like 'condition.%' order by xid, id`);
  return rows.map(row => row.told);
};

describe('a server that nobody polls any more', () => {
  it.each([
    ['stopped', stop],
    ['was killed', silence],
  ])('is unknown after three intervals, by one event, when its worker %s', async (_how, end) => {
    const worker = await startWorker();
    const id = await wellServer(worker);
    await end(worker);
    const dogs = [createDog(), createDog()];
    await watch(90, ...dogs);
    expect(await stateOf(id)).toBe('healthy ok');
    expect(await watch(5, ...dogs)).toBe(1);
    expect(await stateOf(id)).toBe('unknown no_result');
    expect(await watch(120, ...dogs)).toBe(0);
    expect(await changesOf(id)).toEqual(['unknown to healthy', 'healthy to unknown']);
  });

  it('is judged by an interval of its own; once a day does not take three days of watching', async () => {
    const worker = await startWorker();
    const [often, daily] = [await wellServer(worker, 10), await wellServer(worker, 86_400)];
    clock.stall(3 * 86_400 * secondMs - 200 * secondMs);
    expect(await store(worker, often, 'healthy')).toBe(1);
    await stop(worker);
    const dog = createDog();
    await watch(30, dog);
    expect(await stateOf(often)).toBe('healthy ok');
    await watch(5, dog);
    expect(await stateOf(often)).toBe('unknown no_result');
    await watch(265, dog);
    expect(await stateOf(daily)).toBe('healthy ok');
    await watch(5, dog);
    expect(await stateOf(daily)).toBe('unknown no_result');
  });

  it('is left alone while it is paused', async () => {
    const worker = await startWorker();
    const id = await wellServer(worker);
    await updateServer(database.db.tenant(organizationId), id, { status: 'maintenance' }, clock.now());
    await stop(worker);
    expect(await watch(200, createDog())).toBe(0);
    expect(await stateOf(id)).toBe('unknown paused');
  });

  it('is left alone when somebody pauses it at that very moment', async () => {
    const worker = await startWorker();
    const id = await wellServer(worker);
    await stop(worker);
    const dog = createDog();
    await watch(90, dog);
    const person = new pg.Client(database.connection);
    await person.connect();
    await person.query("select set_config('opsfleet.organization', '*', false)");
    await person.query('begin');
    await person.query(
      "update managed_servers set status = 'inactive', health_reason = 'paused' where id = $1",
      [id],
    );
    clock.stall(watchdogPeriodMs);
    const look = dog.look();
    await until('the watchdog to wait for the person', async () => {
      const { waiting } = await database.db.system.one<{ waiting: number }>(sql`
        select count(*)::int as waiting from pg_locks where not granted and pid in (
          select pid from pg_stat_activity where datname = current_database())`);
      return waiting > 0;
    });
    await person.query('commit');
    await person.end();
    expect(await look).toBe(0);
    expect(await stateOf(id)).toBe('healthy paused');
  });

  it('is one of many: states and events of thousands are written in small transactions', async () => {
    const worker = await startWorker();
    await database.db.system.execute(sql`
      insert into managed_servers (organization_id, id, name, hostname, api_url, api_token_hash, slot, created_at,
        updated_at, health_status, health_reason, health_since, last_health_check_at)
      select ${organizationId}, ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'server ' || n, 'h',
        'https://h' || n, '', n % 256, ${clock.now()}, ${clock.now()}, 'healthy', 'ok', ${clock.now()}, ${clock.now()}
      from generate_series(1, 2500) as n`);
    await stop(worker);
    expect(await watch(95, createDog())).toBe(2_500);
    const transactions = await database.db.system.many<{ events: number }>(sql`
      select count(*)::int as events from events where type = 'server.health_changed' group by xid`);
    const sizes = transactions.map(({ events }) => events);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(2_500);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(1_010);
    const { left } = await database.db.system.one<{ left: number }>(sql`
      select count(*)::int as left from managed_servers where health_status <> 'unknown'`);
    expect(left).toBe(0);
  });
});

describe('a worker that comes back', () => {
  it('in time keeps its servers as they are', async () => {
    const worker = await startWorker();
    const id = await wellServer(worker);
    await silence(worker);
    const dog = createDog();
    await watch(90, dog);
    expect(await renewLeases(database.db.system, worker.id)).toHaveLength(256);
    expect(await watch(200, dog)).toBe(0);
    expect(await store(worker, id, 'critical')).toBe(1);
    expect(await changesOf(id)).toEqual(['unknown to healthy', 'healthy to critical']);
  });

  it('too late, with results in its spool, writes none of its states of before, and goes on from unknown', async () => {
    const worker = await startWorker();
    const id = await wellServer(worker);
    await silence(worker);
    await watch(95, createDog());
    expect(await stateOf(id)).toBe('unknown no_result');
    expect(await store(worker, id, 'critical')).toBe(0);
    // The slots where there was nothing to give up are its own again; that of the server it has to claim.
    expect(await renewLeases(database.db.system, worker.id)).toHaveLength(255);
    worker.leases = await claimSlots(database.db.system, worker.id, 1);
    expect(worker.leases).toHaveLength(1);
    expect(await store(worker, id, 'critical')).toBe(1);
    expect(await changesOf(id)).toEqual(['unknown to healthy', 'healthy to unknown', 'unknown to critical']);
  });

  it('with a result that it stores in the last moment is believed', async () => {
    const worker = await startWorker();
    const id = await wellServer(worker);
    await silence(worker);
    const dog = createDog();
    await watch(90, dog);
    expect(await store(worker, id, 'healthy')).toBe(1);
    expect(await watch(90, dog)).toBe(0);
    expect(await watch(5, dog)).toBe(1);
  });
});

describe('the watchdog that was blind itself', () => {
  it('counts anew after its database was away: workers polled from memory, and renew their leases first', async () => {
    const proxy = await startDatabaseProxy(database.connection);
    const { port } = proxy;
    const log = createLog({ level: 'silent' });
    const connection = { ...database.connection, host: '127.0.0.1', port };
    const own = openDatabase({ connection, poolSize: 2, statementTimeoutMs: 5_000, log });
    try {
      const worker = await startWorker();
      await wellServer(worker);
      await silence(worker);
      const dog = createDog(own.system);
      await watch(90, dog);
      proxy.cut();
      clock.stall(watchdogPeriodMs);
      await expect(dog.look()).rejects.toMatchObject({ code: 'unavailable' });
      proxy.restore();
      expect(await watch(90, dog)).toBe(0);
      expect(await watch(5, dog)).toBe(1);
    } finally {
      await own.close();
      await proxy.stop();
    }
  });

  it('counts anew after it was paused', async () => {
    const worker = await startWorker();
    await wellServer(worker);
    await stop(worker);
    const dog = createDog();
    await watch(90, dog);
    clock.stall(60 * secondMs);
    expect(await watch(90, dog)).toBe(0);
    expect(await watch(5, dog)).toBe(1);
  });

  it('learns nothing of the workers from a database that takes no writes', async () => {
    const reading = database.db.system.transaction(async tx => {
      await tx.execute(sql`set transaction read only`);
      return freeSlots(tx);
    });
    await expect(reading).rejects.toMatchObject({ code: 'unavailable' });
  });
});

describe('that nobody polls', () => {
  it('is a condition, told once however many see it, and over when somebody does', async () => {
    const worker = await startWorker();
    await wellServer(worker);
    await silence(worker);
    const dogs = [createDog(), createDog()];
    await watch(25, ...dogs);
    expect(await told()).toEqual([]);
    await watch(60, ...dogs);
    expect(await told()).toEqual(['condition.began polling_absent']);
    await startWorker();
    await watch(10, ...dogs);
    expect(await told()).toEqual(['condition.began polling_absent', 'condition.ended polling_absent']);
  });

  it('is none where there is nothing to poll', async () => {
    await watch(60, createDog());
    expect(await told()).toEqual([]);
  });

  it('of a part of the slots is not ended by the heartbeats of those who poll the others', async () => {
    const worker = await startWorker();
    const id = await wellServer(worker);
    await database.db.system.execute(sql`
      update poll_slots set owner = null, expires_at = null
      where slot = (select slot from managed_servers where id = ${id})`);
    await watch(40, createDog());
    const report = { stats: {} as never, conditions: {}, at: clock.now() };
    await heartbeat(database.db.system, worker.id, report);
    expect(await told()).toEqual(['condition.began polling_absent']);
  });

  it('ends what dead workers saw, because they cannot', async () => {
    const worker = await startWorker();
    await wellServer(worker);
    const conditions = { polling_late: { since: clock.now(), detail: 'late' } };
    await heartbeat(database.db.system, worker.id, { stats: {} as never, conditions, at: clock.now() });
    await silence(worker);
    await watch(40, createDog());
    expect(await told()).toEqual([
      'condition.began polling_late',
      'condition.ended polling_late',
      'condition.began polling_absent',
    ]);
  });
});
