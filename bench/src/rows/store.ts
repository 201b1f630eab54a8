import {
  type HealthCheckRow,
  healthCheckColumns,
  healthCheckRows,
  insertHealthChecks,
} from '../../../server/src/health/history.ts';
import type { OrganizationId, ServerId } from '../../../server/src/ids.ts';
import { type SystemDb, type SystemTx, sql } from '../../../server/src/platform/db.ts';
import type { Row } from '../context.ts';
import { withFleetData } from '../fleet-data.ts';

const SCALES = {
  full: { servers: 1_000, turns: 10, batches: 20 },
  quick: { servers: 100, turns: 3, batches: 5 },
};

/** As many rows as the poller stores with one statement. */
const BATCH = 1_000;

type Insert = (db: SystemTx, rows: readonly HealthCheckRow[]) => Promise<unknown>;

/**
 * Health rows stored a second, one batch after the other, each committed and flushed to disk. The reference
 * stores the same rows into a table without partitions, keys and constraints; the two take turns, so that a
 * busy moment of the machine is shared by both.
 */
export const store: Row = {
  name: 'store',
  run: context =>
    context.withControlPlane({ OPSFLEET_ROLE: 'api' }, controlPlane => {
      const { servers, turns, batches } = SCALES[context.scale];
      return withFleetData(controlPlane, servers, async ({ db, organizationId, serverIds }) => {
        const { system } = db;
        await system.execute(
          sql`create table bench_checks as select * from server_health_checks with no data`,
        );
        const beganMs = Date.now();
        let ownMs = 0;
        let bareMs = 0;
        for (let turn = 0; turn < turns; turn++) {
          const rows = Array.from({ length: batches }, (_, batch) =>
            makeBatch(organizationId, serverIds, beganMs + BATCH * (turn * batches + batch)),
          );
          bareMs += await timeOf(system, rows, insertBare);
          ownMs += await timeOf(system, rows, insertNew);
        }
        const total = turns * batches * BATCH;
        return [
          {
            name: 'health rows stored',
            measured: (1000 * total) / ownMs,
            unit: 'rows/s',
            reference: { name: 'table without keys', value: (1000 * total) / bareMs },
            bar: '≥ 40,000',
          },
        ];
      });
    }),
};

/** Checks of all servers in turn, a millisecond apart. */
function makeBatch(
  organizationId: OrganizationId,
  serverIds: readonly ServerId[],
  fromMs: number,
): HealthCheckRow[] {
  return Array.from({ length: BATCH }, (_, index) => ({
    organizationId,
    serverId: serverIds[index % serverIds.length]!,
    at: new Date(fromMs + index),
    status: 'healthy' as const,
    reason: 'ok',
    responseTimeMs: index % 50,
    databaseHealthy: true,
    redisHealthy: true,
    servicesHealthy: true,
    errorMessage: null,
    errorDetails: null,
  }));
}

async function timeOf(db: SystemDb, batches: readonly HealthCheckRow[][], insert: Insert): Promise<number> {
  const startedMs = performance.now();
  for (const batch of batches) await insert(db, batch);
  return performance.now() - startedMs;
}

const insertNew: Insert = (db, rows) => insertHealthChecks(db, rows, true);

const insertBare: Insert = (db, rows) =>
  db.execute(sql`
    insert into bench_checks (${healthCheckColumns}) select * from ${healthCheckRows(rows)}`);
