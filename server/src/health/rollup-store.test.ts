import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { createTestDatabase, deleteAll, type TestDatabase } from '../../test/database.ts';
import { killedAfter, unlessKilled } from '../../test/fakes/killed-database.ts';
import { addOrganization, addServer, healthCheck } from '../../test/fleet.ts';
import { assertProperty } from '../../test/property.ts';
import type { OrganizationId, ServerId } from '../ids.ts';
import { type SystemDb, sql } from '../platform/db.ts';
import { ensurePartitions } from '../retention/maintain.ts';
import { roll } from '../rollups/roll.ts';
import { type RollupPeriod, rollupPeriodMs, rollupPeriods } from '../rollups/rollup.ts';
import { updateServer } from '../servers/store.ts';
import { type CheckStatus, checkStatuses, type HealthCheckRow, insertHealthChecks } from './history.ts';
import { healthRollupTable, heldStates } from './rollup.ts';
import { healthRollup } from './rollup-store.ts';

const start = new Date('2031-06-10T00:00:00Z');
const secondMs = 1_000;
const minuteMs = 60_000;
const dayMs = 86_400_000;
const intervalMs = 30_000;
/** The third server is asked every half hour. */
const rareMs = 1_800_000;
let database: TestDatabase;
let db: SystemDb;
let servers: { organizationId: OrganizationId; serverId: ServerId }[];

beforeAll(async () => {
  database = await createTestDatabase();
  db = database.db.system;
  await ensurePartitions(db, { now: start, interval: 'month' });
  const organizations = [await addOrganization(database.db), await addOrganization(database.db)];
  servers = [];
  for (const organizationId of [...organizations, organizations[1]!])
    servers.push({ organizationId, serverId: await addServer(database.db, organizationId) });
  const tenant = database.db.tenant(organizations[1]!);
  await updateServer(tenant, servers[2]!.serverId, { health_interval_seconds: rareMs / 1000 }, start);
});
afterAll(() => database.close());
beforeEach(reset);

async function reset(): Promise<void> {
  const tables = ['server_health_checks', ...rollupPeriods.map(healthRollupTable), 'rollup_late'];
  await deleteAll(db, tables);
  await db.execute(sql`update rollup_progress set closed_until = ${start}, rolled_until = ${start}`);
}

const rollAt = (ms: number, on: SystemDb = db): Promise<number> =>
  roll({ db: on, clock: { now: () => new Date(start.getTime() + ms) } }, healthRollup({ intervalMs }));

const check = (
  server: number,
  ms: number,
  status: CheckStatus,
  responseTimeMs: number | null = null,
): HealthCheckRow =>
  healthCheck(servers[server]!, new Date(start.getTime() + ms), { status, responseTimeMs });

type Sums = Record<string, number>;
type Found = { sums: Sums; responses: number[] };

const nothingYet = (): Found => ({
  sums: Object.fromEntries([
    ...checkStatuses.map(status => [`${status}_checks`, 0]),
    ...heldStates.map(state => [`${state}_ms`, 0]),
  ]),
  responses: [],
});

/** Until when each check is taken to hold, told once more. */
function holdUntilMs(
  row: HealthCheckRow,
  before: HealthCheckRow | undefined,
  next: HealthCheckRow | undefined,
) {
  const ownMs = row.serverId === servers[2]!.serverId ? rareMs : intervalMs;
  const longestMs = 3 * Math.max(ownMs, 5 * minuteMs);
  const silenceMs = row.at.getTime() - (before?.at.getTime() ?? Number.NEGATIVE_INFINITY);
  const isStillGone =
    row.status === 'unreachable' && before?.status === 'unreachable' && silenceMs <= longestMs;
  const holdMs = isStillGone ? Math.min(longestMs, Math.max(3 * ownMs, 3 * silenceMs)) : 3 * ownMs;
  return Math.min(row.at.getTime() + holdMs, next?.at.getTime() ?? Number.POSITIVE_INFINITY);
}

/** What the checks of each period come to, added up one by one; the last period is the one of `endMs`. */
function addedUp(rows: readonly HealthCheckRow[], period: RollupPeriod, endMs: number): Map<string, object> {
  const lengthMs = rollupPeriodMs[period];
  const found = new Map<string, Found>();
  const at = (serverId: ServerId, ms: number): Found => {
    const key = `${serverId} ${new Date(Math.floor(ms / lengthMs) * lengthMs).toISOString()}`;
    const one = found.get(key) ?? nothingYet();
    found.set(key, one);
    return one;
  };
  for (const { serverId } of servers) {
    const own = rows
      .filter(row => row.serverId === serverId)
      .toSorted((a, b) => a.at.getTime() - b.at.getTime());
    for (const [index, row] of own.entries()) {
      const { sums, responses } = at(serverId, row.at.getTime());
      sums[`${row.status}_checks`]! += 1;
      if (row.responseTimeMs !== null) responses.push(row.responseTimeMs);
      if (row.status === 'error') continue;
      const untilMs = Math.min(holdUntilMs(row, own[index - 1], own[index + 1]), start.getTime() + endMs);
      for (let fromMs = row.at.getTime(); fromMs < untilMs; ) {
        const toMs = Math.min(untilMs, (Math.floor(fromMs / lengthMs) + 1) * lengthMs);
        at(serverId, fromMs).sums[`${row.status}_ms`]! += toMs - fromMs;
        fromMs = toMs;
      }
    }
  }
  return new Map(
    [...found].map(([key, { sums, responses }]) => [key, { ...sums, ...responsesOf(responses) }]),
  );
}

function responsesOf(responses: readonly number[]): object {
  const classes = new Map<number, number>();
  for (const ms of responses) {
    classes.set(classOf(ms), (classes.get(classOf(ms)) ?? 0) + 1);
  }
  const sorted = [...classes].toSorted(([a], [b]) => a - b);
  return {
    response_count: responses.length,
    response_ms_sum: responses.reduce((sum, ms) => sum + ms, 0),
    response_ms_min: responses.length === 0 ? null : Math.min(...responses),
    response_ms_max: responses.length === 0 ? null : Math.max(...responses),
    response_classes: sorted.map(([place]) => place),
    response_class_counts: sorted.map(([, count]) => count),
  };
}

/** Found by going through the classes, not by logarithms as the database does it. */
function classOf(ms: number): number {
  if (ms === 0) return -1;
  let place = 0;
  for (let most = 1; most < ms; most *= 1.02) place += 1;
  return place;
}

async function stored(period: RollupPeriod): Promise<Map<string, object>> {
  const rows = await db.many(sql<{ server_id: string; timestamp: Date; sums: object }>`
    select server_id, timestamp, to_jsonb(r) - array['organization_id', 'server_id', 'timestamp'] as sums
    from ${sql.ref(healthRollupTable(period))} r`);
  return new Map(rows.map(row => [`${row.server_id} ${row.timestamp.toISOString()}`, row.sums]));
}

async function expectAllAddedUp(rows: readonly HealthCheckRow[], endMs: number): Promise<void> {
  for (const period of rollupPeriods)
    expect(await stored(period), period).toEqual(addedUp(rows, period, endMs));
  expect(await db.many(sql`select from rollup_late`)).toHaveLength(0);
}

it('is what adding up comes to, whatever is missing, comes late or twice, and whenever it is killed', async () => {
  const status = fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom<CheckStatus>('unreachable') },
    { weight: 4, arbitrary: fc.constantFrom<CheckStatus>(...checkStatuses) },
  );
  // Close together mostly, so that one holds into the time of others, and far apart sometimes.
  const times = fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: 0, max: 2400 }) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 3 * 86_400 }) },
  );
  const row = fc.record({
    server: fc.nat({ max: 2 }),
    second: times,
    status,
    ms: fc.option(fc.oneof(fc.nat({ max: 60 }), fc.nat({ max: 60_000 }))),
  });
  const rowsOfAll = fc.uniqueArray(row, {
    minLength: 1,
    maxLength: 80,
    selector: ({ server, second }) => `${server} ${second}`,
  });
  const batches = fc.array(
    fc.record({
      size: fc.integer({ min: 1, max: 30 }),
      minutes: fc.oneof(fc.nat({ max: 30 }), fc.nat({ max: 720 })),
      killedAt: fc.option(fc.nat({ max: 30 }), { nil: undefined }),
    }),
    { minLength: 1, maxLength: 4 },
  );
  await assertProperty([rowsOfAll, batches], async (drawn, steps) => {
    await reset();
    const rows = drawn.map(each => check(each.server, each.second * secondMs, each.status, each.ms));
    const rest = [...rows];
    let nowMs = 0;
    for (const { size, minutes, killedAt } of steps) {
      const batch = rest.splice(0, size);
      await insertHealthChecks(db, batch, true);
      await insertHealthChecks(db, batch);
      nowMs += minutes * minuteMs;
      await rollAt(nowMs, killedAt === undefined ? db : killedAfter(db, killedAt)).catch(unlessKilled);
    }
    await insertHealthChecks(db, rest);
    await rollAt(4 * dayMs + minuteMs);
    await expectAllAddedUp(rows, 4 * dayMs);
  });
}, 90_000);

/** Stores them in this order, with a pass after each, a day later. */
async function storeOneByOne(rows: readonly HealthCheckRow[]): Promise<void> {
  for (const row of rows) {
    await insertHealthChecks(db, [row]);
    await rollAt(dayMs + minuteMs);
  }
  await expectAllAddedUp(rows, dayMs);
}

const heldMs = async (server: number, minute: number, state: (typeof heldStates)[number]) => {
  const row = await db.maybeOne(sql<{ ms: number }>`
    select ${sql.ref(`${state}_ms`)} as ms from server_health_5m
    where server_id = ${servers[server]!.serverId} and timestamp = ${new Date(start.getTime() + minute * minuteMs)}`);
  return row?.ms ?? null;
};

it('what a check found holds until the next one, and for three intervals at most', async () => {
  await storeOneByOne([
    check(0, 0, 'healthy', 12),
    check(0, 30_000, 'critical', 40),
    check(0, 4 * minuteMs, 'degraded'),
    check(2, 0, 'healthy'),
  ]);
  expect(await heldMs(0, 0, 'healthy')).toBe(30_000);
  expect(await heldMs(0, 0, 'critical')).toBe(90_000);
  expect(await heldMs(0, 0, 'degraded')).toBe(60_000);
  expect(await heldMs(0, 5, 'degraded')).toBe(30_000);
  expect(await heldMs(2, 85, 'healthy')).toBe(5 * minuteMs);
  expect(await heldMs(2, 90, 'healthy')).toBeNull();
});

it('what could not be checked ends what was known, and is not known itself', async () => {
  await storeOneByOne([check(0, 0, 'healthy'), check(0, 20_000, 'error')]);
  expect(await heldMs(0, 0, 'healthy')).toBe(20_000);
});

it('one that found nobody holds for three intervals, and the next for three times the silence between them', async () => {
  await storeOneByOne([
    check(0, 0, 'unreachable'),
    check(0, 4 * minuteMs, 'unreachable'),
    check(1, 0, 'unreachable'),
    check(1, 16 * minuteMs, 'unreachable'),
  ]);
  expect(await heldMs(0, 0, 'unreachable')).toBe(90_000 + minuteMs);
  expect(await heldMs(0, 10, 'unreachable')).toBe(5 * minuteMs);
  expect(await heldMs(0, 15, 'unreachable')).toBe(minuteMs);
  // Further apart than any backoff: nobody was looking, and that is not its fault.
  expect(await heldMs(1, 15, 'unreachable')).toBe(90_000);
});

it('a late one takes back what the one before it held, where nothing else is known too', async () => {
  await storeOneByOne([
    check(0, 0, 'unreachable'),
    check(0, 4 * minuteMs, 'unreachable'),
    check(0, 5 * minuteMs + 1, 'healthy'),
  ]);
  expect(await heldMs(0, 5, 'unreachable')).toBe(1);
  expect(await heldMs(0, 10, 'unreachable')).toBeNull();
});

it('a late one changes how long the next one holds, beyond its own time', async () => {
  await storeOneByOne([
    check(0, 0, 'unreachable'),
    check(0, 14 * minuteMs, 'unreachable'),
    check(0, 4 * minuteMs, 'healthy'),
  ]);
  expect(await heldMs(0, 15, 'unreachable')).toBe(30_000);
  expect(await heldMs(0, 20, 'unreachable')).toBeNull();
});

it('nothing is made of the checks of a server that is gone', async () => {
  const organizationId = servers[0]!.organizationId;
  const serverId = await addServer(database.db, organizationId);
  await insertHealthChecks(db, [{ ...check(0, 0, 'healthy'), serverId }], true);
  await db.execute(sql`delete from managed_servers where id = ${serverId}`);
  await rollAt(dayMs + minuteMs);
  await expectAllAddedUp([], dayMs);
});
