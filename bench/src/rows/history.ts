import { loadavg } from 'node:os';
import { type Sql, type SystemDb, sql } from '../../../server/src/platform/db.ts';
import type { Row } from '../context.ts';
import type { ControlPlane } from '../control-plane.ts';
import { type FleetData, withFleetData } from '../fleet-data.ts';
import { type Filled, fillHistory } from '../history-data.ts';
import { type Measurement, median, quantile } from '../report.ts';

const SCALES = {
  full: { servers: 1_000, days: 30, healthSeconds: 80, metricsSeconds: 160, calls: 200, setsAside: 20 },
  quick: { servers: 20, days: 2, healthSeconds: 120, metricsSeconds: 240, calls: 10, setsAside: 2 },
};

/**
 * What the README advises for so many servers: one question over all of them reads some 6,000 pages, which the default
 * holds with nothing beside them.
 */
const DATABASE_MEMORY_MIB = '128';

/**
 * A month of history of a fleet, asked as the dashboard asks: each question 200 times in a row, the 95th percentile of
 * how long it took, and beside it how busy the machine was (its load average when the question ended). Then what a row
 * takes on disk with its part of the indexes, and how long it took to sum up what was filled.
 */
export const history: Row = {
  name: 'history',
  run: context =>
    context.withControlPlane(
      { OPSFLEET_ROLE: 'api', OPSFLEET_DATABASE_MEMORY: DATABASE_MEMORY_MIB },
      controlPlane => {
        const scale = SCALES[context.scale];
        return withFleetData(controlPlane, scale.servers, async data => {
          // All ends here, and so does what is asked: summing it up takes a while.
          const now = new Date();
          const filled = await fillHistory(data, { ...scale, now });
          return [
            ...(await askAll(await questions(controlPlane, data, now), scale)),
            ...(await sizes(data.db.system)),
            ...times(filled),
          ];
        });
      },
    ),
};

type Question = {
  name: string;
  bar?: string;
  ask: () => Promise<number>;
  found: number;
  /** The same computed from what was collected. */
  collected?: () => Promise<unknown>;
};

/** What is asked, and how many servers or periods an answer must have at least to be one. */
async function questions(
  controlPlane: ControlPlane,
  { db, organizationId, serverIds }: FleetData,
  now: Date,
): Promise<Question[]> {
  const tenant = db.tenant(organizationId);
  const servers = serverIds.length;
  // Some are down in the last hour, and told nothing in it.
  const up = await tenant.many(sql<{ id: string }>`
    select distinct server_id as id from server_metrics_aggregated
    where organization_id = ${organizationId} and timestamp > ${new Date(now.getTime() - 600_000)}`);
  let turn = 0;
  // Another one each time: of one server alone, everything would soon be in memory.
  const some = (): string => up[(turn++ * 7) % up.length]!.id;
  const query = async (body: object): Promise<Answer> =>
    controlPlane.call<Answer>('POST', '/api/v1/fleet/metrics/query', { ...body, end_time: ago(0) });
  const ago = (hours: number): string => new Date(now.getTime() - hours * 3_600_000).toISOString();
  const ofOne = (body: object) => async () => {
    const { series } = await query({ field: 'cpu_percent', servers: { ids: [some()] }, ...body });
    return series?.[0]?.values?.length ?? 0;
  };
  const view = (name: 'v_server_health_overview' | 'v_fleet_summary') => async () =>
    (await tenant.many(sql`select * from ${sql.table(name)} where organization_id = ${organizationId}`))
      .length;
  const fromCollected = (isAsked: Sql<unknown>, hours: number, what: string, unit: string) =>
    tenant.many(sql`
      select date_trunc(${unit}, timestamp), ${sql.raw(what)} from server_metrics_aggregated
      where organization_id = ${organizationId} and ${isAsked} and period = '1m' and timestamp >= ${ago(hours)}
      group by 1 order by 1`);
  const totals = (body: object) => async () =>
    (await query({ field: 'memory_percent', by: 'total', ...body })).totals?.length ?? 0;
  return [
    { name: 'last hour of one server, by the minute', bar: '≤ 10', ask: ofOne({ period: '1m' }), found: 60 },
    {
      name: 'its rate of bytes received',
      bar: '≤ 10',
      ask: ofOne({ field: 'network_rx_bytes', period: '1m' }),
      found: 60,
    },
    {
      name: '30 days of one server, by the hour',
      bar: '≤ 20',
      ask: ofOne({ start_time: ago(720), period: '1h' }),
      found: 700,
      collected: () => fromCollected(sql`server_id = ${some()}`, 720, 'avg(cpu_percent)', 'hour'),
    },
    {
      name: 'latest health of all, v_server_health_overview',
      bar: '≤ 50',
      ask: view('v_server_health_overview'),
      found: servers,
    },
    { name: 'v_fleet_summary', bar: '≤ 50', ask: view('v_fleet_summary'), found: 1 },
    {
      name: 'the same through the API, GET /health',
      bar: '≤ 50',
      ask: async () =>
        (await controlPlane.call<Answer>('GET', `/api/v1/fleet/health?limit=${servers}`)).count ?? 0,
      found: servers,
    },
    {
      name: 'all that is known of them, all pages of GET /servers',
      ask: () => listAll(controlPlane),
      found: servers,
    },
    {
      name: 'p95 of the CPU of all over 24 h',
      bar: '≤ 100',
      ask: async () => {
        const body = { field: 'cpu_percent', by: 'fleet', across: ['p95'], start_time: ago(24) };
        return (await query(body)).series?.[0]?.values?.length ?? 0;
      },
      found: 24,
      collected: () =>
        fromCollected(sql`true`, 24, 'percentile_cont(0.95) within group (order by cpu_percent)', 'hour'),
    },
    {
      name: 'p95 of all values of it',
      bar: '≤ 100',
      ask: totals({ start_time: ago(24), across_periods: ['p95'] }),
      found: Math.min(50, servers),
    },
    { name: 'top 10 by memory, last hour', bar: '≤ 50', ask: totals({ top: { count: 10 } }), found: 10 },
    {
      name: 'fleet metrics by the hour, 24 h',
      ask: async () =>
        (await controlPlane.call<Answer>('GET', `/api/v1/fleet/metrics/aggregated?end_time=${ago(0)}`))
          .count ?? 0,
      found: 24,
    },
  ];
}

type Answer = { series?: { values: unknown[] | null }[]; totals?: unknown[]; count?: number };

async function askAll(
  asked: readonly Question[],
  { calls, setsAside }: { calls: number; setsAside: number },
): Promise<Measurement[]> {
  const measurements: Measurement[] = [];
  for (const { name, bar, ask, found, collected } of asked) {
    const tookMs: number[] = [];
    // The first ones fill caches.
    for (let call = -setsAside; call < calls; call++) {
      const startedMs = performance.now();
      const count = await ask();
      if (call >= 0) tookMs.push(performance.now() - startedMs);
      if (count < found) throw new Error(`${name}: found ${count}, not ${found}`);
    }
    tookMs.sort((a, b) => a - b);
    measurements.push({
      name: `${name}: p95 (p50 ${quantile(tookMs, 0.5).toFixed(1)}, load ${loadavg()[0]!.toFixed(1)})`,
      measured: quantile(tookMs, 0.95),
      unit: 'ms',
      ...(collected === undefined
        ? {}
        : { reference: { name: 'computed from what was collected', value: await medianMs(collected) } }),
      ...(bar === undefined ? {} : { bar }),
    });
  }
  return measurements;
}

async function medianMs(work: () => Promise<unknown>): Promise<number> {
  const tookMs: number[] = [];
  for (let call = 0; call < 3; call++) {
    const startedMs = performance.now();
    await work();
    tookMs.push(performance.now() - startedMs);
  }
  return median(tookMs);
}

/** Bytes of a row on disk, indexes included, of each table of history. */
async function sizes(db: SystemDb): Promise<Measurement[]> {
  const rows = await db.many(sql<{ table: string; rows: number; bytes: number }>`
    select parent.relname as table, sum(child.reltuples)::float8 as rows,
      sum(pg_total_relation_size(child.oid))::float8 as bytes
    from pg_inherits i join pg_class parent on parent.oid = i.inhparent join pg_class child on child.oid = i.inhrelid
    where parent.relname ~ '^server_(health|metrics)_' and parent.relkind = 'p' and child.reltuples > 0
    group by 1 order by 1`);
  return rows.map(({ table, rows: count, bytes }) => ({
    name: `${table}, a row of ${Math.round(count).toLocaleString('en')}`,
    measured: bytes / count,
    unit: 'bytes',
  }));
}

const times = (filled: Filled): Measurement[] => [
  {
    name: `filled ${filled.healthRows} checks and ${filled.metricRows} metrics`,
    measured: filled.fillSeconds,
    unit: 's',
  },
  { name: 'health summed up to all lengths', measured: filled.healthRollSeconds, unit: 's' },
  {
    name: 'metrics summed up to all lengths, at the same time',
    measured: filled.metricRollSeconds,
    unit: 's',
  },
];

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
