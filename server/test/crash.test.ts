import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { DataDirFixture } from './data-dir-fixture.ts';
import { type ManagedServer, startManagedServer } from './fakes/managed-server.ts';
import {
  type Environment,
  failToStart,
  type Program,
  processesNaming,
  startProgram,
} from './fakes/program.ts';
import { debianPostgres15, type SystemPostgres, startSystemPostgres } from './fakes/system-postgres.ts';
import { until } from './fakes/until.ts';

const adminToken = 'crash-test-token-of-32-characters-or-more';
let managed: ManagedServer;
let fixture: DataDirFixture;
const programs: Program[] = [];

beforeAll(async () => {
  managed = await startManagedServer();
});
afterAll(() => managed.stop());
afterEach(async () => {
  for (const program of programs.splice(0)) await program.end('SIGINT');
  await fixture.remove();
});

const environment = (changes: Environment = {}): Environment => ({
  OPSFLEET_DATA_DIR: fixture.dataDir,
  OPSFLEET_ADMIN_TOKEN: adminToken,
  OPSFLEET_EGRESS_ALLOW: '127.0.0.0/8',
  FLEET_HEALTH_INTERVAL: '0.2',
  FLEET_METRICS_INTERVAL: '0.2',
  ...changes,
});
async function start(changes?: Environment): Promise<Program> {
  const program = await startProgram(environment(changes));
  programs.push(program);
  return program;
}

type Row = { timestamp: string };
async function call(program: Program, path: string, body?: object) {
  const response = await fetch(`${program.url}/api/v1/fleet${path}`, {
    headers: { authorization: `Bearer ${adminToken}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
  });
  expect(response.ok, `${path}: ${response.status}`).toBe(true);
  return response.json() as Promise<{ server: { id: string }; health_checks: Row[]; metrics: Row[] }>;
}
/** What the program has shown to somebody, and so must never lose. */
async function visible(program: Program, id: string): Promise<{ checks: Row[]; metrics: Row[] }> {
  const { health_checks: checks } = await call(program, `/servers/${id}/health-history?limit=1000`);
  const { metrics } = await call(program, `/servers/${id}/metrics?period=1m&limit=1000`);
  return { checks, metrics };
}

/** Kills the program while it polls and starts it again, several times over. */
async function surviveKills(changes: Environment): Promise<void> {
  let program = await start(changes);
  const { server } = await call(program, '/servers', {
    name: 'watched',
    hostname: 'localhost',
    api_url: managed.url,
    api_token: 'a-token',
  });
  let before: Awaited<ReturnType<typeof visible>> = { checks: [], metrics: [] };
  for (let round = 1; round <= 4; round += 1) {
    before = await until(`new rows in round ${round}`, async () => {
      const now = await visible(program, server.id);
      return (
        now.checks.length >= before.checks.length + 3 &&
        now.metrics.length >= before.metrics.length + 2 &&
        now
      );
    });
    expect(await program.end('SIGKILL')).toBeNull();
    program = await start(changes);
    const after = await visible(program, server.id);
    expect(after.checks).toEqual(expect.arrayContaining(before.checks));
    expect(after.metrics).toEqual(expect.arrayContaining(before.metrics));
    const times = after.checks.map(row => row.timestamp);
    expect(new Set(times).size).toBe(times.length);
  }
  await until(
    'polling to go on',
    async () => (await visible(program, server.id)).checks.length > before.checks.length + 3,
  );
  expect(await program.end('SIGINT')).toBe(0);
}

// Five starts and twenty polls: fifteen seconds of work where nothing else runs.
vi.setConfig({ testTimeout: 120_000 });

describe('the program with its own database', () => {
  it('loses nothing it has shown when it is killed, and polls on when it is started again', async () => {
    fixture = await DataDirFixture.create();
    await surviveKills({});
    // The next start adopts what a kill leaves running, and a clean end leaves nothing.
    expect(await processesNaming(fixture.dataDir)).toEqual([]);
  });

  it('is refused a data directory that another one holds, by its name, and does not disturb it', async () => {
    fixture = await DataDirFixture.create();
    const first = await start();
    const { code, said } = await failToStart(environment());
    expect(code).toBe(1);
    expect(said).toContain(fixture.dataDir);
    expect(said).toMatch(/^opsfleet cannot start: /m);
    await call(first, '/servers');
  });
});

describe('the program with a database of the operator', () => {
  it('loses nothing with the PostgreSQL that we bring', async () => {
    fixture = await DataDirFixture.create();
    const { connection } = await fixture.start();
    const dataDir = join(fixture.parent, 'control-plane');
    await mkdir(dataDir);
    await surviveKills({
      OPSFLEET_DATA_DIR: dataDir,
      DATABASE_URL: `postgres://${connection.user}@localhost/${connection.database}?host=${encodeURIComponent(connection.host)}&port=${connection.port}`,
    });
  });

  it.skipIf(!existsSync(debianPostgres15))(
    `loses nothing with PostgreSQL 15 (of ${debianPostgres15})`,
    async () => {
      fixture = await DataDirFixture.create();
      const postgres: SystemPostgres = await startSystemPostgres(debianPostgres15);
      try {
        await surviveKills({ DATABASE_URL: postgres.databaseUrl });
      } finally {
        await postgres.stop();
      }
    },
  );
});
