import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { createTestDatabase, deleteAll, type TestDatabase } from '../../test/database.ts';
import { addOrganization, addServer, healthCheck } from '../../test/fleet.ts';
import { assertProperty } from '../../test/property.ts';
import type { OrganizationId, ServerId } from '../ids.ts';
import { type SystemDb, sql, type TenantDb } from '../platform/db.ts';
import { ensurePartitions } from '../retention/maintain.ts';
import { roll } from '../rollups/roll.ts';
import { rollupPeriods } from '../rollups/rollup.ts';
import { type CheckStatus, checkStatuses, type HealthCheckRow, insertHealthChecks } from './history.ts';
import { healthRollupTable } from './rollup.ts';
import { healthRollup } from './rollup-store.ts';
import { readFleetHealth, readServerHealth } from './uptime-store.ts';

const start = new Date('2031-06-10T10:00:00Z');
const day = new Date('2031-06-10T00:00:00Z');
const hourMs = 3_600_000;
const intervalMs = 30_000;
const everything = { intervalMs, readFrom: null };
let database: TestDatabase;
let db: SystemDb;
let tenant: TenantDb;
let organizationId: OrganizationId;
let serverIds: ServerId[];

beforeAll(async () => {
  database = await createTestDatabase();
  db = database.db.system;
  await ensurePartitions(db, { now: start, interval: 'month' });
  organizationId = await addOrganization(database.db);
  tenant = database.db.tenant(organizationId);
  serverIds = [await addServer(database.db, organizationId), await addServer(database.db, organizationId)];
});
afterAll(() => database.close());
beforeEach(reset);

async function reset(): Promise<void> {
  const tables = ['server_health_checks', ...rollupPeriods.map(healthRollupTable), 'rollup_late'];
  await deleteAll(db, tables);
  await db.execute(sql`update rollup_progress set closed_until = ${day}, rolled_until = ${day}`);
}

const at = (ms: number): Date => new Date(start.getTime() + ms);

const check = (ms: number, { serverId = serverIds[0]!, ...facts }: Partial<HealthCheckRow>): HealthCheckRow =>
  healthCheck({ organizationId, serverId }, at(ms), facts);

it('tells the same of any range, whatever of it has been summed up', async () => {
  const hours = 30;
  const instant = fc
    .oneof(fc.integer({ min: -3600, max: 7200 }), fc.integer({ min: -3600, max: hours * 3600 }))
    .map(seconds => seconds * 1000);
  const rows = fc.uniqueArray(
    fc.record({
      ms: instant,
      server: fc.nat({ max: 1 }),
      status: fc.constantFrom<CheckStatus>('unreachable', ...checkStatuses),
      responseTimeMs: fc.option(fc.nat({ max: 3000 })),
    }),
    { minLength: 1, maxLength: 80, selector: ({ ms, server }) => `${ms} ${server}` },
  );
  const ranges = fc.array(
    fc.tuple(instant, instant).filter(([one, another]) => one !== another),
    { minLength: 1, maxLength: 4 },
  );
  await assertProperty(
    [rows, ranges, fc.integer({ min: 0, max: hours })],
    async (drawn, asked, rolledHours) => {
      await reset();
      await insertHealthChecks(
        db,
        drawn.map(({ ms, server, ...facts }) => check(ms, { ...facts, serverId: serverIds[server]! })),
      );
      const ask = () =>
        Promise.all(
          asked.flatMap(([one, another]) => {
            const range = { from: at(Math.min(one, another)), to: at(Math.max(one, another)), ...everything };
            return [
              ...serverIds.map(id => readServerHealth(tenant, id, range)),
              readFleetHealth(tenant, range, 5),
            ];
          }),
        );
      const fromChecks = await ask();
      await roll({ db, clock: { now: () => at(rolledHours * hourMs) } }, healthRollup({ intervalMs }));
      expect(await ask()).toEqual(fromChecks);
    },
  );
}, 90_000);

it('reads hours and days where they tell it, and not the checks', async () => {
  await insertHealthChecks(db, [check(0, {}), check(20 * hourMs, {}), check(40 * hourMs, {})]);
  await roll({ db, clock: { now: () => at(63 * hourMs) } }, healthRollup({ intervalMs }));
  await deleteAll(db, ['server_health_checks', 'server_health_5m', 'server_health_15m']);
  const found = await readServerHealth(tenant, serverIds[0]!, {
    from: start,
    to: at(62 * hourMs),
    ...everything,
  });
  expect(found).toMatchObject({ healthy_checks: 3, healthy_ms: 270_000 });
  await deleteAll(db, ['server_health_1h']);
  const days = await readServerHealth(tenant, serverIds[0]!, {
    from: start,
    to: at(62 * hourMs),
    ...everything,
  });
  // The tenth is told by its hours, from ten on.
  expect(days?.healthy_checks).toBe(2);
});

it('a server of another organization is none', async () => {
  await insertHealthChecks(db, [check(0, {})]);
  const other = database.db.tenant(await addOrganization(database.db));
  const range = { from: start, to: at(hourMs), ...everything };
  expect(await readServerHealth(other, serverIds[0]!, range)).toBeNull();
  expect(await readFleetHealth(other, range, 5)).toMatchObject({ servers: 0, known: 0, worst: [] });
});
