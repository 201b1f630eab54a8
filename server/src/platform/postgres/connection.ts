import { Client } from 'pg';
import type { Log } from '../log.ts';
import { superuser } from './cluster.ts';

/** Where a postmaster listens: the directory of its unix socket and the number in the socket's name. */
export type Address = { host: string; port: number };

/** Runs `work` on a short-lived superuser connection to the maintenance database. */
export async function withSuperuser<T>(
  address: Address,
  log: Log,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const client = new Client({
    ...address,
    user: superuser,
    database: 'postgres',
    ssl: false,
    connectionTimeoutMillis: 5_000,
  });
  // Without a listener, a connection that breaks while idle ends the process.
  client.on('error', error => log.debug({ err: error }, 'set-up connection lost'));
  try {
    await client.connect();
    return await work(client);
  } finally {
    await client.end();
  }
}
