import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { expect } from 'vitest';
import { sql } from '../../src/platform/db.ts';
import type { TestDatabase } from '../database.ts';

/** Leaves `inhdetachpending` behind of a partition of checks: a reader keeps the detach waiting, then the detach is cancelled. */
export async function interruptDetach(
  database: TestDatabase,
  name: string,
  whileRead = async () => {},
): Promise<void> {
  const upkeep = new Client(database.connection);
  await upkeep.connect();
  const { rows } = await upkeep.query<{ pid: number }>('select pg_backend_pid() as pid');
  await database.db.system.transaction(async reader => {
    await reader.many(sql`select from server_health_checks limit 1`);
    const detach = upkeep.query(`alter table server_health_checks detach partition ${name} concurrently`);
    const cancelled = expect(detach).rejects.toMatchObject({ code: '57014' });
    const pending = sql`select from pg_inherits where inhrelid = ${name}::regclass and inhdetachpending`;
    while ((await database.db.system.many(pending)).length === 0) await delay(5);
    await database.db.system.execute(sql`select pg_cancel_backend(${rows[0]!.pid})`);
    await cancelled;
    await whileRead();
  });
  await upkeep.end();
}
