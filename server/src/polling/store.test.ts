import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/database.ts';
import { live, lives } from '../../test/fakes/random-checks.ts';
import { addOrganization, addServer } from '../../test/fleet.ts';
import { type HealthState, uncheckedState } from '../health/evaluate.ts';
import type { OrganizationId, ServerId } from '../ids.ts';
import { sql } from '../platform/db.ts';
import { slotOf } from '../servers/server.ts';
import { updateServer } from '../servers/store.ts';
import { type HealthWrite, loadServers, type PolledServer, writeHealth } from './store.ts';

const at = new Date('2026-11-02T00:00:00Z');
let database: TestDatabase;
let organizationId: OrganizationId;
let id: ServerId;
beforeAll(async () => {
  database = await createTestDatabase();
  organizationId = await addOrganization(database.db);
});
afterAll(() => database.close());
beforeEach(async () => {
  id = await addServer(database.db, organizationId);
});

let seq = 0;
async function write(state: HealthState, changes: HealthWrite['changes'] = []): Promise<void> {
  seq += 1;
  const answer = { components: null, version: null, responseTimeMs: null };
  const own = { organizationId, id, name: 'web-1', slot: slotOf(id), epoch: 1, seq, state, changes };
  // The day of the run, whose partition there is.
  expect(await writeHealth(database.db.system, [{ ...answer, ...own }], new Date())).toBe(1);
}

async function load(): Promise<PolledServer> {
  const [server] = await loadServers(database.db.system, [{ organizationId, id }]);
  return server!;
}

/** Everything about a server that may be doubted. */
const doubtful: HealthState = {
  ...uncheckedState(at),
  status: 'unreachable',
  reason: 'timeout',
  consecutiveSuccesses: 1,
  recentResults: 0b1110,
  knownResults: 21,
  suspectSince: at,
  recoveringSince: at,
  flappingSince: at,
  breakerOpenedAt: at,
};

describe('what is believed of a server', () => {
  it('comes back from the database as it was, whatever has happened to it', async () => {
    await fc.assert(
      fc.asyncProperty(lives, async life => {
        const state = live(life).at(-1)!.verdict.next;
        await write(state);
        expect((await load()).state).toEqual(state);
      }),
      { numRuns: 100 },
    );
  });

  it('is that of a new server before anything is written', async () => {
    const { state } = await load();
    expect(state).toEqual(uncheckedState(state.since));
  });

  it.each([
    ['paused and resumed', [{ status: 'inactive' }, { status: 'active' }]],
    ['moved to another address', [{ api_url: 'https://elsewhere' }]],
    ['asked in another way', [{ adapter: 'http' }]],
  ] as const)('begins anew when the server is %s', async (_name, updates) => {
    await write(doubtful);
    const changedAt = new Date(at.getTime() + 60_000);
    const tenant = database.db.tenant(organizationId);
    for (const changes of updates) await updateServer(tenant, id, changes, changedAt);
    expect((await load()).state).toEqual(uncheckedState(changedAt));
  });

  it('stays when something else of it is changed, and a paused one stays paused when it is moved', async () => {
    await write(doubtful);
    const tenant = database.db.tenant(organizationId);
    await updateServer(tenant, id, { description: 'new', health_interval_seconds: 10 }, at);
    expect((await load()).state).toEqual(doubtful);
    await updateServer(tenant, id, { status: 'maintenance' }, at);
    await updateServer(tenant, id, { api_url: 'https://elsewhere-too' }, at);
    const row = await database.db.system.one(sql`
      select health_status, health_reason from managed_servers where id = ${id}`);
    expect(row).toEqual({ health_status: 'unknown', health_reason: 'paused' });
  });

  it('is written without touching an index, so that nearly every write is a heap-only update', async () => {
    const indexed = await database.db.system.many<{ name: string }>(sql`
      select distinct a.attname::text as name from pg_index i
      join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey::int2[])
      where i.indrelid = 'managed_servers'::regclass`);
    const names = indexed.map(({ name }) => name);
    expect(names).toContain('health_status');
    const written = Object.keys(
      await database.db.system.one<Record<string, unknown>>(sql`
        select health_reason, health_detail, health_since, last_seen_at, last_health_check_at, consecutive_failures,
          consecutive_successes, recent_results, known_results, suspect_since, recovering_since, flapping_since,
          breaker_opened_at, components, version, poll_epoch, poll_seq
        from managed_servers where id = ${id}`),
    );
    expect(names.filter(name => written.includes(name))).toEqual([]);
  });
});

it('the intervals of a server are its own where it has them', async () => {
  expect((await load()).intervalMs).toEqual({ health: null, metrics: null });
  await updateServer(
    database.db.tenant(organizationId),
    id,
    { health_interval_seconds: 5, metrics_interval_seconds: 86_400 },
    at,
  );
  expect((await load()).intervalMs).toEqual({ health: 5_000, metrics: 86_400_000 });
});

it.each(['health', 'metrics'])('the database refuses %s intervals the API would refuse', async kind => {
  const column = sql.ref(`${kind}_interval_seconds`);
  const set = (seconds: number) =>
    database.db.system.execute(sql`update managed_servers set ${column} = ${seconds} where id = ${id}`);
  await expect(set(4)).rejects.toThrow(`managed_servers_${kind}_interval_check`);
  await expect(set(86_401)).rejects.toThrow(`managed_servers_${kind}_interval_check`);
});

it('tells of changes in order, of flapping by events of its own', async () => {
  await write(doubtful, [
    { isFlapping: true, percent: 34.421_052, at },
    { from: 'healthy', to: 'unreachable', reason: 'timeout', flapping: true, at },
    { from: 'unreachable', to: 'healthy', reason: 'ok', at },
    { isFlapping: false, percent: 14, at },
  ]);
  const events = await database.db.system.many(sql`
    select type, data from events where subject_id = ${id} order by xid, id`);
  expect(events).toEqual([
    { type: 'server.flapping_started', data: { name: 'web-1', percent: 34.4 } },
    {
      type: 'server.health_changed',
      data: { from: 'healthy', to: 'unreachable', reason: 'timeout', flapping: true, name: 'web-1' },
    },
    {
      type: 'server.health_changed',
      data: { from: 'unreachable', to: 'healthy', reason: 'ok', name: 'web-1' },
    },
    { type: 'server.flapping_stopped', data: { name: 'web-1', percent: 14 } },
  ]);
});
