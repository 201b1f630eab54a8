import type { HealthCheckRow } from '../src/health/history.ts';
import { healthRollup } from '../src/health/rollup-store.ts';
import { newId, type OrganizationId, type ServerId } from '../src/ids.ts';
import { metricRollup } from '../src/metrics/rollup-store.ts';
import { systemClock } from '../src/platform/clock.ts';
import { type Database, sql } from '../src/platform/db.ts';
import { roll } from '../src/rollups/roll.ts';
import type { Rollup } from '../src/rollups/rollup.ts';
import { insertServer, type NewServer } from '../src/servers/store.ts';
import { until } from './fakes/until.ts';

const at = new Date('2026-11-01T00:00:00Z');

/** A new organization, named after its id. */
export async function addOrganization(db: Database): Promise<OrganizationId> {
  const id = newId<OrganizationId>(at.getTime());
  await db.system.execute(sql`
    insert into organizations (id, name, created_at, updated_at) values (${id}, ${id}, ${at}, ${at})`);
  return id;
}

/** A new server, named after its id where the test gives it no name. It is stored only, and has no token. */
export async function addServer(
  db: Database,
  organizationId: OrganizationId,
  facts: Partial<Pick<NewServer, 'name' | 'tags' | 'region' | 'environment'>> = {},
): Promise<ServerId> {
  const id = newId<ServerId>(at.getTime());
  await insertServer(db.tenant(organizationId), {
    id,
    name: id,
    description: null,
    hostname: 'web-1',
    apiUrl: `https://${id}`,
    tokenFingerprint: '',
    adapter: 'ops-center',
    region: null,
    environment: null,
    tags: [],
    metadata: {},
    healthIntervalSeconds: null,
    metricsIntervalSeconds: null,
    at,
    ...facts,
  });
  return id;
}

/**
 * Sums up what was stored with times that are over. It comes late, and a program that runs has its own passes beside this
 * one, of which only one is made at a time.
 */
async function sumUpLate({ system }: Database, rollup: Rollup): Promise<void> {
  await until('what came late to be summed up', async () => {
    await roll({ db: system, clock: systemClock }, rollup);
    return (await system.many(sql`select from rollup_late where kind = ${rollup.kind}`)).length === 0;
  });
}

export const sumUpMetrics = (db: Database): Promise<void> => sumUpLate(db, metricRollup);
export const sumUpHealth = (db: Database): Promise<void> =>
  sumUpLate(db, healthRollup({ intervalMs: 30_000 }));

/** A check that found a server healthy, but for what is said otherwise. */
export const healthCheck = (
  of: { organizationId: OrganizationId; serverId: ServerId },
  at: Date,
  facts: Partial<HealthCheckRow> = {},
): HealthCheckRow => ({
  organizationId: of.organizationId,
  serverId: of.serverId,
  at,
  status: 'healthy',
  reason: 'ok',
  responseTimeMs: null,
  databaseHealthy: null,
  redisHealthy: null,
  servicesHealthy: null,
  errorMessage: null,
  errorDetails: null,
  ...facts,
});
