import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { parsePasswd } from '../../src/platform/postgres/owner.ts';
import { until } from './until.ts';

/** Where Debian and Ubuntu install PostgreSQL 15, the oldest that we support. */
export const debianPostgres15 = '/usr/lib/postgresql/15/bin';

/** A PostgreSQL as an operator runs it: not ours, reached by DATABASE_URL alone. */
export type SystemPostgres = { databaseUrl: string; stop(): Promise<void> };

/** Starts the one of `binDir` on a new cluster, with a role and a database as the README asks for. */
export async function startSystemPostgres(binDir: string): Promise<SystemPostgres> {
  const directory = await mkdtemp(join(tmpdir(), 'opsfleet-pg15-'));
  const owner = process.getuid?.() === 0 ? await unprivilegedUser() : null;
  // As root, PostgreSQL runs as another user, to whom the directory then belongs.
  if (owner !== null) await chown(directory, owner.uid, owner.gid);
  await chmod(directory, 0o711);
  const cluster = join(directory, 'cluster');
  await promisify(execFile)(
    join(binDir, 'initdb'),
    ['-D', cluster, '-A', 'trust', '-U', 'postgres', '-E', 'UTF8'],
    owner ?? {},
  );
  const server = spawn(
    join(binDir, 'postgres'),
    ['-D', cluster, '-k', directory, '-h', '', '-c', 'fsync=off'],
    {
      ...owner,
      stdio: 'ignore',
    },
  );
  const connection = { host: directory, port: 5432, user: 'postgres' };
  await until('PostgreSQL to take connections', async () => {
    const client = new pg.Client({ ...connection, database: 'postgres' });
    try {
      await client.connect();
      await client.query('create role opsfleet login');
      await client.query('create database opsfleet owner opsfleet');
      return true;
    } catch {
      return false;
    } finally {
      await client.end();
    }
  });
  return {
    databaseUrl: `postgres://opsfleet@localhost/opsfleet?host=${encodeURIComponent(directory)}&port=5432`,
    async stop() {
      const exited = once(server, 'exit');
      server.kill('SIGQUIT');
      await exited;
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function unprivilegedUser(): Promise<{ uid: number; gid: number }> {
  const users = parsePasswd(await readFile('/etc/passwd', 'utf8'));
  const user = users.get('postgres') ?? users.get('nobody');
  if (user === undefined) throw new Error('there is no user to run PostgreSQL as');
  return user;
}
