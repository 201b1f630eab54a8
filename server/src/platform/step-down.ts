import type pg from 'pg';
import { advisoryLocks } from './advisory-locks.ts';
import { sqlState } from './database-failure.ts';
import type { Database } from './db.ts';

/** Owns the tables where the operator gave us a superuser. It cannot log in. */
const ownerRole = 'opsfleet_owner';

/**
 * Row security does not bind a superuser. Where the connection is one, makes a role that is none, gives it
 * what migrations and statements need, and returns its name for every connection to act as. Null where the
 * connection is an ordinary role already.
 */
export async function stepDown(db: Pick<Database, 'dedicated'>): Promise<string | null> {
  const client = await db.dedicated();
  try {
    const { rows } = await client.query<{ unbound: boolean; database: string }>(
      `select rolsuper or rolbypassrls as unbound, quote_ident(current_database()) as database
       from pg_roles where rolname = session_user`,
    );
    if (rows[0]?.unbound !== true) return null;
    // Two at once would change the same catalog rows; the end of the session releases it.
    await client.query('select pg_advisory_lock($1)', [advisoryLocks.stepDown]);
    await createRole(client);
    await client.query(`grant ${ownerRole} to session_user`);
    await client.query(`grant create, temporary, connect on database ${rows[0].database} to ${ownerRole}`);
    await client.query(`grant usage, create on schema public to ${ownerRole}`);
    return ownerRole;
  } finally {
    await client.end();
  }
}

async function createRole(client: pg.Client): Promise<void> {
  try {
    await client.query(`create role ${ownerRole} nologin`);
  } catch (error) {
    // 42710: it is there. 23505: somebody is making it at this moment, in another database of the server.
    if (!['42710', '23505'].includes(sqlState(error) ?? '')) throw error;
  }
}
