import { existsSync } from 'node:fs';
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../src/platform/clock.ts';
import { createLog } from '../src/platform/log.ts';
import { superuser } from '../src/platform/postgres/cluster.ts';
import { withSuperuser } from '../src/platform/postgres/connection.ts';
import { startEmbeddedPostgres } from '../src/platform/postgres/embedded.ts';
import { acquireInstanceLock } from '../src/platform/postgres/instance-lock.ts';
import { findPostmaster, stopPostmaster } from '../src/platform/postgres/postmaster.ts';
import type { TestPostgres } from './postgres.ts';

const prefix = 'opsfleet-test-';
const log = createLog({ level: 'error' });

// Nothing here has to survive a power cut; without the flushes a database is cloned in a few dozen ms.
const settings = {
  fsync: 'off',
  full_page_writes: 'off',
  synchronous_commit: 'off',
  autovacuum: 'off',
  max_connections: '200',
};

export type TestServer = { connection: TestPostgres; stopAndRemove(): Promise<void> };

/** Starts a PostgreSQL with an empty database in a new directory. Its role may create databases. */
export async function startTestServer(): Promise<TestServer> {
  const parent = await mkdtemp(join(tmpdir(), prefix));
  // As root, PostgreSQL runs as another user, who has to pass through.
  await chmod(parent, 0o711);
  const dataDir = join(parent, 'data');
  const postgres = await startEmbeddedPostgres({ dataDir, log, clock: systemClock, settings });
  const { connection } = postgres;
  await withSuperuser(connection, log, client => client.query(`alter role ${connection.user} createdb`));
  return {
    connection: { ...connection, superuser },
    async stopAndRemove() {
      await postgres.stop('immediate');
      await rm(parent, { recursive: true, force: true });
    },
  };
}

/** Stops and removes the servers of test runs that were killed. Those of living runs are locked. */
export async function removeAbandonedServers(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const parent = join(tmpdir(), name);
    const dataDir = join(parent, 'data');
    // Written under the lock: what has none yet may be a run that is just beginning.
    if (!name.startsWith(prefix) || !existsSync(join(dataDir, 'instance.pid'))) continue;
    try {
      const lock = acquireInstanceLock(dataDir);
      const clusterDir = join(dataDir, 'pgdata');
      const orphan = await findPostmaster({ clusterDir, clock: systemClock, onProgress: () => undefined });
      if (orphan) await stopPostmaster(orphan, { mode: 'immediate', clock: systemClock, log });
      lock.release();
      await rm(parent, { recursive: true, force: true });
    } catch (error) {
      log.debug({ err: error, parent }, 'in use by another test run');
    }
  }
}
