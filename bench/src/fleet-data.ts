import { newId, type OrganizationId, type ServerId } from '../../server/src/ids.ts';
import { type Database, openDatabase, sql, type TenantTx } from '../../server/src/platform/db.ts';
import { createKeyring, type Keyring, Secret } from '../../server/src/platform/keyring.ts';
import { createLog } from '../../server/src/platform/log.ts';
import { fingerprintServerToken, storeServerToken } from '../../server/src/secrets/store.ts';
import { slotOf } from '../../server/src/servers/server.ts';
import { insertServer } from '../../server/src/servers/store.ts';
import { type ControlPlane, inLanes, registrationOf } from './control-plane.ts';
import { healthBody, metricsBody } from './simulator/answers.ts';
import type { Target } from './simulator/identity.ts';

/** A fleet that exists in the tables alone: for what reads and writes them, without anybody being polled. */
export type FleetData = { db: Database; organizationId: OrganizationId; serverIds: readonly ServerId[] };

/** Filling a month of history is one statement. */
const STATEMENT_TIMEOUT_MS = 600_000;

const FILLED_AT_ONCE = 500;
const FILLING_LANES = 2;

/** Runs `use` on a connection pool to the database of a control plane. */
export async function withDatabase<T>(
  { database }: Pick<ControlPlane, 'database'>,
  use: (db: Database) => Promise<T>,
): Promise<T> {
  const db = openDatabase({
    connection: database,
    poolSize: 4,
    statementTimeoutMs: STATEMENT_TIMEOUT_MS,
    // A connection that is still closing when its database ends is no news.
    log: createLog({ level: 'error' }),
  });
  try {
    return await use(db);
  } finally {
    await db.close();
  }
}

/**
 * Puts servers that look as if they had just been polled into the organization `default` of a control plane
 * that does not poll (OPSFLEET_ROLE=api), and runs `use` on a connection pool to its database. Their tokens
 * are missing, so nobody can poll them.
 */
export function withFleetData<T>(
  controlPlane: ControlPlane,
  servers: number,
  use: (data: FleetData) => Promise<T>,
): Promise<T> {
  return withDatabase(controlPlane, async db => {
    const organizationId = await defaultOrganization(db);
    const serverIds = await insertServers(db, organizationId, servers);
    return use({ db, organizationId, serverIds });
  });
}

/**
 * Stores a whole fleet as registration would, tokens sealed, but many servers to a transaction and without the
 * events that tell a running poller of each: start the workers afterwards. They find the servers healthy and
 * checked just now, as after a restart, so that they begin at the pace of the schedule.
 */
export function fillFleet(controlPlane: ControlPlane, targets: readonly Target[]): Promise<void> {
  return withDatabase(controlPlane, async db => {
    const tenant = db.tenant(await defaultOrganization(db));
    const keyring = createKeyring(controlPlane.masterKeys);
    const store = (batch: readonly Target[]): Promise<void> =>
      tenant.transaction(async tx => {
        const at = new Date();
        // One flight for all of them: a round trip for each statement took minutes for 100,000.
        await Promise.all(batch.map(target => storeServer(tx, keyring, target, at)));
      });
    const [first, ...rest] = batchesOf(targets, FILLED_AT_ONCE);
    // The first server makes the organization's key, for whose transaction all others would wait.
    await store(first!.slice(0, 1));
    await inLanes(FILLING_LANES, [first!.slice(1), ...rest], store);
    await db.system.execute(sql`
      update managed_servers set health_status = 'healthy', health_reason = 'ok', last_health_check_at = now(),
        last_seen_at = now(), metrics_reason = 'ok', last_metrics_at = now(),
        metrics_attempted_at = now()`);
    await db.system.execute(sql`vacuum analyze managed_servers`);
  });
}

function batchesOf<T>(items: readonly T[], size: number): T[][] {
  const count = Math.ceil(items.length / size);
  return Array.from({ length: count }, (_, batch) => items.slice(batch * size, (batch + 1) * size));
}

async function storeServer(tx: TenantTx, keyring: Keyring, target: Target, at: Date): Promise<void> {
  const { name, hostname, api_url: apiUrl, api_token, region, environment } = registrationOf(target);
  const id = newId<ServerId>(at.getTime());
  const token = new Secret(api_token);
  await insertServer(tx, {
    id,
    name,
    description: null,
    hostname,
    apiUrl,
    tokenFingerprint: await fingerprintServerToken(tx, keyring, { token, at }),
    adapter: 'ops-center',
    region: region ?? null,
    environment: environment ?? null,
    tags: [],
    metadata: {},
    healthIntervalSeconds: null,
    metricsIntervalSeconds: null,
    at,
  });
  await storeServerToken(tx, keyring, { serverId: id, origin: new URL(apiUrl).origin, token, at });
}

async function defaultOrganization(db: Database): Promise<OrganizationId> {
  const { id } = await db.system.one(
    sql<{ id: OrganizationId }>`select id from organizations where name = 'default'`,
  );
  return id;
}

async function insertServers(
  db: Database,
  organizationId: OrganizationId,
  count: number,
): Promise<ServerId[]> {
  const now = new Date();
  const ids = Array.from({ length: count }, () => newId<ServerId>(now.getTime()));
  await db.system.execute(sql`
    insert into managed_servers (organization_id, id, name, hostname, api_url, api_token_hash, region, environment,
      tags, slot, health_status, health_reason, health_since, components, last_seen_at, last_health_check_at,
      response_time_ms, latest_metrics, last_metrics_at, metrics_reason, created_at, updated_at)
    select ${organizationId}, n.id, 'server-' || n.i, 'host-' || n.i || '.example.net',
      'https://host-' || n.i || '.example.net', md5(n.id::text), 'region-' || n.i % 5,
      case when n.i % 10 = 0 then 'staging' else 'production' end, '["linux", "web"]', n.slot,
      'healthy', 'ok', ${now}, ${healthBody(false)}::jsonb, ${now}, ${now}, 12, n.metrics, ${now}, 'ok', ${now}, ${now}
    from unnest(${ids}::uuid[], ${ids.map((_, index) => index)}::int[], ${ids.map(slotOf)}::int[],
      ${ids.map((_, index) => metricsBody(index, 3_600, false))}::jsonb[]) as n (id, i, slot, metrics)`);
  await db.system.execute(sql`vacuum analyze managed_servers`);
  return ids;
}
