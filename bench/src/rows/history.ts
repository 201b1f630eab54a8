import { type SystemDb, sql } from '../../../server/src/platform/db.ts';
import { ensurePartitionsFor } from '../../../server/src/retention/maintain.ts';
import { defaultRetention } from '../../../server/src/retention/retention.ts';
import type { Row } from '../context.ts';
import type { ControlPlane } from '../control-plane.ts';
import { type FleetData, withFleetData } from '../fleet-data.ts';
import { median } from '../report.ts';

const SCALES = {
  full: { servers: 1_000, rows: 2_000_000, times: 15 },
  quick: { servers: 1_000, rows: 50_000, times: 5 },
};

const DAYS = 30;
const DAY_MS = 86_400_000;

/** The latest health of everybody, over a month of history: by the view, by the API, and by sorting it all. */
export const history: Row = {
  name: 'history',
  run: context =>
    context.withControlPlane({ OPSFLEET_ROLE: 'api' }, controlPlane => {
      const { servers, rows, times } = SCALES[context.scale];
      return withFleetData(controlPlane, servers, async data => {
        await fill(data, rows / servers);
        const db = data.db.tenant(data.organizationId);
        const viewMs = await medianMs(times, async () => {
          const found = await db.many(sql`
            select * from v_server_health_overview where organization_id = ${data.organizationId}`);
          expectCount(found.length, servers);
        });
        const listMs = await medianMs(times, async () => expectCount(await listAll(controlPlane), servers));
        const sortedMs = await medianMs(2, async () => {
          const found = await db.many(sql`
            select distinct on (server_id) server_id, timestamp, status, response_time_ms, database_healthy,
              redis_healthy, services_healthy, error_message
            from server_health_checks where organization_id = ${data.organizationId}
            order by server_id, timestamp desc`);
          expectCount(found.length, servers);
        });
        const reference = { name: 'DISTINCT ON', value: sortedMs };
        const over = `${servers.toLocaleString('en')} servers, ${rows.toLocaleString('en')} checks`;
        return [
          { name: `latest health of ${over}`, measured: viewMs, unit: 'ms', reference, bar: '≤ 50' },
          { name: 'the same as GET /servers', measured: listMs, unit: 'ms', reference, bar: '≤ 50' },
        ];
      });
    }),
};

/** A check of every server at even steps over the last 30 days, in the order in which they would come. */
async function fill({ db, organizationId }: FleetData, checksPerServer: number): Promise<void> {
  const now = new Date();
  await makePartitions(db.system, now);
  const stepMs = (DAYS * DAY_MS) / checksPerServer;
  await db.system.execute(sql`
    insert into server_health_checks (organization_id, server_id, timestamp, status, reason, response_time_ms,
      database_healthy, redis_healthy, services_healthy)
    select s.organization_id, s.id, ${now}::timestamptz - n * ${stepMs}::float8 * interval '1 millisecond',
      'healthy', 'ok', 12, true, true, true
    from generate_series(${checksPerServer}::int - 1, 0, -1) n, managed_servers s
    where s.organization_id = ${organizationId}`);
  // As autovacuum would have done long since, of a history that grew over a month.
  await db.system.execute(sql`vacuum analyze server_health_checks`);
}

/** Those of the days before this month; the later ones are there from the start. */
async function makePartitions(db: SystemDb, now: Date): Promise<void> {
  for (let days = 1; days <= DAYS; days++) {
    const instant = new Date(now.getTime() - days * DAY_MS);
    await ensurePartitionsFor(db, {
      table: 'server_health_checks',
      instants: [instant],
      policy: { interval: 'month', retention: defaultRetention },
      now,
    });
  }
}

/** Every page of the list; returns how many servers they held. */
async function listAll(controlPlane: ControlPlane): Promise<number> {
  let count = 0;
  let cursor: string | null = '';
  while (cursor !== null) {
    const after: string = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`;
    const path = `/api/v1/fleet/servers?limit=500${after}`;
    const page = await controlPlane.call<{ count: number; next_cursor: string | null }>('GET', path);
    count += page.count;
    cursor = page.next_cursor;
  }
  return count;
}

/** One time unmeasured, for caches and plans; then the median of the others. */
async function medianMs(times: number, work: () => Promise<void>): Promise<number> {
  await work();
  const measured = [];
  for (let time = 0; time < times; time++) {
    const startedMs = performance.now();
    await work();
    measured.push(performance.now() - startedMs);
  }
  return median(measured);
}

function expectCount(found: number, wanted: number): void {
  if (found !== wanted) throw new Error(`Found the health of ${found} servers, not of ${wanted}`);
}
