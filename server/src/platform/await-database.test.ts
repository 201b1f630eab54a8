import { createServer } from 'node:net';
import { expect, inject, it } from 'vitest';
import { awaitDatabase } from './await-database.ts';
import { systemClock } from './clock.ts';
import { openDatabase } from './db.ts';
import { StartupError } from './errors.ts';
import { createLog } from './log.ts';

const { host, port, user, database } = inject('postgres');
const open = (connection: object) =>
  openDatabase({ connection, poolSize: 1, statementTimeoutMs: 1_000, log: createLog({ level: 'silent' }) });
const wait = (connection: object, timeoutMs: number, onWaiting: () => void = () => undefined) =>
  awaitDatabase(open(connection), { clock: systemClock, timeoutMs, onWaiting });

it('goes on at once where the database answers', async () => {
  await wait({ host, port, user, database }, 0, () => expect.unreachable());
});

it('waits for one that is still starting, and says so once', async () => {
  const closed = createServer();
  await new Promise<void>(resolve => closed.listen(0, '127.0.0.1', resolve));
  const { port: freePort } = closed.address() as { port: number };
  await new Promise(resolve => closed.close(resolve));
  let said = 0;
  const connection = { host: '127.0.0.1', port: freePort, user, database };
  await expect(wait(connection, 1_200, () => (said += 1))).rejects.toThrow(
    /cannot be reached: .*ECONNREFUSED/,
  );
  expect(said).toBe(1);
});

it('names what the database says where waiting will not help', async () => {
  const refused = wait({ host, port, user, database: 'no_such_database' }, 60_000);
  await expect(refused).rejects.toThrow(StartupError);
  await expect(refused).rejects.toThrow(/refuses us: .*no_such_database/);
});
