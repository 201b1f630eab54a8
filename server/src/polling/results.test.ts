import { afterAll, beforeAll, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/database.ts';
import { until } from '../../test/fakes/until.ts';
import { addOrganization, addServer } from '../../test/fleet.ts';
import { uncheckedState } from '../health/evaluate.ts';
import type { OrganizationId, ServerId } from '../ids.ts';
import { systemClock } from '../platform/clock.ts';
import { sqlState } from '../platform/database-failure.ts';
import { type SystemDb, sql } from '../platform/db.ts';
import { createInstruments } from '../platform/instruments.ts';
import { createLog } from '../platform/log.ts';
import { defaultRetention } from '../retention/retention.ts';
import { slotOf } from '../servers/server.ts';
import { createPollStore } from './poll-store.ts';
import { createResults } from './results.ts';
import type { HealthWrite } from './store.ts';

const at = new Date('2026-11-02T00:00:00Z');
let database: TestDatabase;
let organizationId: OrganizationId;
beforeAll(async () => {
  database = await createTestDatabase();
  organizationId = await addOrganization(database.db);
  await addLargeFleet();
});
afterAll(() => database.close());

/**
 * A fleet so large that PostgreSQL looks up the servers of a batch one by one, in the order of the batch; of a
 * small table it reads everything, in the table's order.
 */
async function addLargeFleet(): Promise<void> {
  await database.db.system.execute(sql`
    insert into managed_servers (organization_id, id, name, hostname, api_url, api_token_hash, slot,
      health_since, created_at, updated_at)
    select ${organizationId}, gen_random_uuid(), n, 'web', n, '', 0, ${at}, ${at}, ${at}
    from generate_series(1, 5000) as n`);
  await database.db.system.execute(sql`analyze managed_servers`);
}

/**
 * Results over the real database, and the SQLSTATE of every statement that it refused. `meanwhile` happens whenever
 * states are written.
 */
function begin(meanwhile: () => void = () => undefined) {
  const refused: (string | null)[] = [];
  const noting = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      refused.push(sqlState(error));
      throw error;
    }
  };
  const system = database.db.system;
  const db: SystemDb = {
    ...system,
    execute: query => noting(system.execute(query)),
    transaction(work) {
      meanwhile();
      return noting(system.transaction(work));
    },
  };
  const instruments = createInstruments();
  const log = createLog({ level: 'silent' });
  const results = createResults({
    clock: systemClock,
    store: createPollStore(db, systemClock, { interval: 'month', retention: defaultRetention }),
    log,
    instruments,
    spool: null,
    onChanges: () => undefined,
  });
  return { results, refused };
}

let seq = 0;
function healthOf(
  id: ServerId,
  change: Partial<HealthWrite> = {},
): [Parameters<ReturnType<typeof createResults>['health']>[0], HealthWrite] {
  seq += 1;
  const checkedAt = new Date(at.getTime() + seq);
  return [
    {
      organizationId,
      serverId: id,
      at: checkedAt,
      status: 'healthy',
      reason: 'ok',
      responseTimeMs: 1,
      databaseHealthy: null,
      redisHealthy: null,
      servicesHealthy: null,
      errorMessage: null,
      errorDetails: null,
    },
    {
      organizationId,
      id,
      name: id,
      slot: slotOf(id),
      epoch: 1,
      seq,
      components: null,
      version: null,
      responseTimeMs: 1,
      changes: [],
      state: {
        ...uncheckedState(checkedAt),
        status: 'healthy',
        reason: 'ok',
        lastCheckedAt: checkedAt,
        lastSeenAt: checkedAt,
        consecutiveSuccesses: 1,
      },
      ...change,
    },
  ];
}

it('health and metrics of the same servers, found in another order, do not lock each other out', async () => {
  const [first, middle, last] = [
    await addServer(database.db, organizationId),
    await addServer(database.db, organizationId),
    await addServer(database.db, organizationId),
  ] as [ServerId, ServerId, ServerId];
  const { results, refused } = begin();
  for (const id of [first, middle, last]) results.health(...healthOf(id));
  for (const id of [last, middle, first]) {
    results.metrics(null, { organizationId, id, epoch: 1, at, metrics: { cpu_percent: 1 }, reason: 'ok' });
  }
  // Both orders lead over the middle one: who comes there first waits, and has locked one end already.
  const flushed = await database.db.system.transaction(async tx => {
    await tx.execute(sql`select from managed_servers where id = ${middle} for update`);
    const done = results.flush();
    await until('somebody to wait for the lock', async () => {
      const { waiting } = await database.db.system.one<{ waiting: number }>(sql`
        select count(*)::int as waiting from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`);
      return waiting > 0;
    });
    // Time for the other one to come as well, if it does.
    await tx.execute(sql`select pg_sleep(0.3)`);
    return { done };
  });
  await flushed.done;
  expect(refused).toEqual([]);
  const { stored } = await database.db.system.one<{ stored: number }>(sql`
    select count(*)::int as stored from managed_servers where health_status = 'healthy' and latest_metrics is not null`);
  expect(stored).toBe(3);
});

it('what is stored together is stored in the order of the servers, and what is of one server in its own', async () => {
  const ids: ServerId[] = [];
  for (let count = 0; count < 8; count += 1) ids.push(await addServer(database.db, organizationId));
  const { results } = begin();
  for (const id of [...ids, ...ids]) {
    const [check, write] = healthOf(id);
    results.health(check, write);
    const metrics = { cpu_percent: 1 };
    results.metrics({ organizationId, serverId: id, at: check.at, metrics, reportedAt: null }, null);
  }
  await results.flush();
  for (const table of ['server_health_checks', 'server_metrics_aggregated']) {
    const rows = await database.db.system.many<{ server_id: ServerId; timestamp: Date }>(sql`
      select server_id, timestamp from ${sql.ref(table)} where server_id = any(${ids}::uuid[]) order by ctid`);
    const inOrder = rows.toSorted(
      (a, b) => a.server_id.localeCompare(b.server_id) || a.timestamp.getTime() - b.timestamp.getTime(),
    );
    expect(rows).toHaveLength(2 * ids.length);
    expect(rows).toEqual(inOrder);
  }
});

it('a result that the database refuses costs itself alone, in its own table alone', async () => {
  const [good, bad] = [
    await addServer(database.db, organizationId),
    await addServer(database.db, organizationId),
  ];
  const { results } = begin();
  const [badRow, badWrite] = healthOf(bad);
  results.health({ ...badRow, errorMessage: 'a NUL: \0' }, badWrite);
  results.health(...healthOf(good));
  await results.flush();
  expect(results.waiting()).toBe(0);
  const states = await database.db.system.many<{ id: string }>(sql`
    select id from managed_servers where health_status = 'healthy' and id in (${good}, ${bad})`);
  expect(states).toHaveLength(2);
  const rows = await database.db.system.many<{ server_id: string }>(sql`
    select server_id from server_health_checks where server_id in (${good}, ${bad})`);
  expect(rows).toEqual([{ server_id: good }]);
});

it('states of a moment are stored although newer ones keep coming: polling goes on while slots change hands', async () => {
  const [first, busy] = [
    await addServer(database.db, organizationId),
    await addServer(database.db, organizationId),
  ];
  const { results } = begin(() => results.health(...healthOf(busy)));
  results.health(...healthOf(first));
  await results.flushStates();
  const { health_status } = await database.db.system.one<{ health_status: string }>(sql`
    select health_status from managed_servers where id = ${first}`);
  expect(health_status).toBe('healthy');
  expect(results.waiting()).toBeGreaterThan(0);
});
