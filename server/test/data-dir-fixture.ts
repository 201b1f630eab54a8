import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { systemClock } from '../src/platform/clock.ts';
import { createLog } from '../src/platform/log.ts';
import {
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
  startEmbeddedPostgres,
} from '../src/platform/postgres/embedded.ts';
import { isPostmasterOf } from '../src/platform/postgres/pid-file.ts';

const platform = join(import.meta.dirname, '../src/platform');

/** A data directory for tests of the embedded PostgreSQL itself, and what they do to it. */
export class DataDirFixture {
  readonly parent: string;
  readonly dataDir: string;
  readonly #running: EmbeddedPostgres[] = [];
  #orphan: number | undefined;

  private constructor(parent: string) {
    this.parent = parent;
    this.dataDir = join(parent, 'data');
  }

  static async create(): Promise<DataDirFixture> {
    const parent = await mkdtemp(join(tmpdir(), 'opsfleet-postgres-'));
    // As root, the server runs as another user, who has to pass through.
    await chmod(parent, 0o711);
    return new DataDirFixture(parent);
  }

  /** Starts a server, which `stop` ends. */
  async start(options: Partial<EmbeddedPostgresOptions> = {}): Promise<EmbeddedPostgres> {
    const postgres = await startEmbeddedPostgres({
      dataDir: this.dataDir,
      log: createLog({ level: 'silent' }),
      clock: systemClock,
      settings: { fsync: 'off' },
      ...options,
    });
    this.#running.push(postgres);
    return postgres;
  }

  /** Starts a server in a process that is then killed the hard way. Returns the orphaned server's number. */
  async startAndKillParent(): Promise<number> {
    const script = `
      import { startEmbeddedPostgres } from ${JSON.stringify(join(platform, 'postgres/embedded.ts'))};
      import { systemClock } from ${JSON.stringify(join(platform, 'clock.ts'))};
      import { createLog } from ${JSON.stringify(join(platform, 'log.ts'))};
      const dataDir = ${JSON.stringify(this.dataDir)};
      const log = createLog({ level: 'silent' });
      const postgres = await startEmbeddedPostgres({ dataDir, log, clock: systemClock });
      console.log(postgres.pid);
    `;
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [printed] = await once(child.stdout, 'data');
    child.kill('SIGKILL');
    await once(child, 'exit');
    this.#orphan = Number(String(printed));
    return this.#orphan;
  }

  /** Whether the process still is this directory's server. (A dead one may keep its number until it is reaped.) */
  isRunning(pid: number): Promise<boolean> {
    const dataDir = join(this.dataDir, 'pgdata');
    return isPostmasterOf(dataDir, { pid, dataDir, address: undefined, status: undefined });
  }

  /** Names in the data directory that contain `part`. */
  async entries(part: string): Promise<string[]> {
    return (await readdir(this.dataDir)).filter(name => name.includes(part));
  }

  /** Ends every server that was started here. */
  async stop(): Promise<void> {
    for (const postgres of this.#running.splice(0)) await postgres.stop('immediate');
    if (this.#orphan !== undefined && (await this.isRunning(this.#orphan)))
      process.kill(this.#orphan, 'SIGKILL');
    this.#orphan = undefined;
  }

  async remove(): Promise<void> {
    await this.stop();
    await rm(this.parent, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** Runs one statement on a connection of its own, as the application's role unless told otherwise. */
export async function query<T extends object>(
  postgres: EmbeddedPostgres,
  sql: string,
  user = postgres.connection.user,
): Promise<T[]> {
  const client = new Client({ ...postgres.connection, user, database: user });
  // A connection that is cut by a stop of the server must not end the test.
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<T>(sql)).rows;
  } finally {
    await client.end();
  }
}
