import { sql } from '../../server/src/platform/db.ts';
import { startTestApp, type TestApp, type TestAppOptions } from '../../server/test/app.ts';

/** The real program with its dashboard, and an administrator's hands on the fleet in it. */
export type Fleet = {
  app: TestApp;
  url: string;
  token: string;
  /** Registers a server and returns its id. */
  register(facts: { name: string } & Record<string, unknown>): Promise<string>;
  /** Changes what is stored of a server, as polling would. */
  set(id: string, state: Partial<ServerState>): Promise<void>;
  /** An hour of metrics, one row a minute, with ten minutes missing and the counters reset once. */
  addMetrics(id: string): Promise<void>;
  /** Half an hour of checks, the last `failures` of them without an answer. */
  addChecks(id: string, failures: number): Promise<void>;
};

type ServerState = {
  health_status: string;
  health_reason: string;
  health_detail: string | null;
  suspect_since: Date | null;
  flapping_since: Date | null;
  response_time_ms: number;
  latest_metrics: Record<string, number>;
  components: Record<string, unknown>;
  last_health_check_at: Date;
};

/** Starts the program on a database of its own; the dashboard is the one that was built into web/dist. */
export async function startFleet(options: TestAppOptions = {}): Promise<Fleet> {
  const app = await startTestApp(options);
  const admin = await app.as('admin');
  const { system } = app.database.db;
  const page = await fetch(`${app.url}/sign-in`);
  if (!page.ok) {
    await app.close();
    throw new Error('The dashboard is not built: run `node scripts/setup.mjs test`.');
  }

  return {
    app,
    url: app.url,
    token: admin.token,
    async register(facts) {
      const { name } = facts;
      const body = {
        hostname: name,
        api_url: `http://127.0.0.1:9100/${name}`,
        api_token: 'a-token',
        ...facts,
      };
      const answer = await admin.post('/api/v1/fleet/servers', body);
      if (answer.status !== 201) throw new Error(`registering ${name} failed: ${answer.text}`);
      return answer.body.server.id as string;
    },
    async set(id, state) {
      for (const [column, value] of Object.entries(state)) {
        const isJson = column === 'latest_metrics' || column === 'components';
        const stored = isJson ? sql`${JSON.stringify(value)}::jsonb` : sql`${value}`;
        await system.execute(sql`update managed_servers set ${sql.ref(column)} = ${stored} where id = ${id}`);
      }
    },
    async addMetrics(id) {
      await system.execute(sql`
        insert into server_metrics_aggregated (organization_id, server_id, timestamp, period, cpu_percent,
          memory_percent, disk_percent, network_rx_bytes, network_tx_bytes)
        select s.organization_id, s.id, now() - make_interval(mins => 59 - n), '1m', 30 + 20 * sin(n / 5.0),
          50 + 5 * cos(n / 9.0), 71.5, case when n < 40 then n * 60000000::bigint else (n - 40) * 45000000::bigint end, n * 6000000::bigint
        from managed_servers s, generate_series(0, 59) n where s.id = ${id} and n not between 20 and 29`);
    },
    async addChecks(id, failures) {
      await system.execute(sql`
        insert into server_health_checks (organization_id, server_id, timestamp, status, reason, response_time_ms, error_message)
        select s.organization_id, s.id, now() - make_interval(secs => n * 30),
          case when n < ${failures} then 'unreachable' else 'healthy' end,
          case when n < ${failures} then 'timeout' else 'ok' end, 40 + n % 9,
          case when n < ${failures} then 'no answer within 10 s' end
        from managed_servers s, generate_series(0, 59) n where s.id = ${id}`);
    },
  };
}

/** A small fleet with every state in it. Returns the ids by name. */
export async function seedFleet(fleet: Fleet): Promise<Record<string, string>> {
  const seeds = [
    {
      name: 'api-1',
      region: 'eu-west',
      environment: 'production',
      tags: ['api', 'customer-a'],
      state: 'healthy',
      reason: 'ok',
    },
    {
      name: 'api-2',
      region: 'eu-west',
      environment: 'production',
      tags: ['api'],
      state: 'critical',
      reason: 'component_failed',
    },
    {
      name: 'batch-1',
      region: 'us-east',
      environment: 'staging',
      tags: ['batch', 'gpu', 'night', 'spot'],
      state: 'degraded',
      reason: 'component_failed',
    },
    {
      name: 'db-1',
      region: 'eu-west',
      environment: 'production',
      tags: ['db'],
      state: 'healthy',
      reason: 'ok',
    },
    {
      name: 'edge-1',
      region: 'ap-south',
      environment: 'production',
      tags: [],
      state: 'unreachable',
      reason: 'timeout',
    },
    { name: 'fresh-1', region: null, environment: null, tags: [], state: 'unknown', reason: 'not_checked' },
  ];
  const ids: Record<string, string> = {};
  for (const { name, state, reason, ...facts } of seeds) {
    const id = await fleet.register({ name, ...facts });
    ids[name] = id;
    if (state === 'unknown') continue;
    const isSilent = state === 'unreachable';
    await fleet.set(id, {
      health_status: state,
      health_reason: reason,
      health_detail: detailOf(state),
      last_health_check_at: new Date(Date.now() - 8_000),
      ...(isSilent
        ? { flapping_since: new Date(Date.now() - 600_000) }
        : {
            response_time_ms: 42,
            latest_metrics: { cpu_percent: 41.5, memory_percent: 63.2, disk_percent: 71.5 },
          }),
      components: componentsOf(state),
    });
  }
  return ids;
}

const detailOf = (state: string): string | null =>
  state === 'critical'
    ? 'database: connection refused'
    : state === 'degraded'
      ? 'services: nginx'
      : state === 'unreachable'
        ? 'no answer within 10 s'
        : null;

const componentsOf = (state: string): Record<string, unknown> => ({
  database: {
    healthy: state !== 'critical',
    critical: true,
    status: state === 'critical' ? 'failed' : 'ok',
    ...(state === 'critical' ? { message: 'connection refused' } : {}),
  },
  services: {
    healthy: state !== 'degraded',
    critical: false,
    status: state === 'degraded' ? '1 failed' : '12 running',
  },
});
