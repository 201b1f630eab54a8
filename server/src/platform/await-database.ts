import type { Clock } from './clock.ts';
import { isPassingFailure } from './database-failure.ts';
import type { Database } from './db.ts';
import { AppError, StartupError } from './errors.ts';

const oldestVersion = 15;
const retryMs = 500;

/**
 * Waits until the database takes connections: the two are often started together. Throws a StartupError when
 * it does not within `timeoutMs`, when it refuses us (password, name), or when it is too old.
 * A standby is waited for: it may be promoted.
 */
export async function awaitDatabase(
  db: Pick<Database, 'dedicated'>,
  options: { clock: Clock; timeoutMs: number; onWaiting(): void },
): Promise<void> {
  const { clock } = options;
  const endMs = clock.monotonicMs() + options.timeoutMs;
  for (let isFirst = true; ; isFirst = false) {
    try {
      await checkVersion(db);
      return;
    } catch (error) {
      if (error instanceof StartupError) throw error;
      const { message, code } = error as Error & { code?: string };
      const why = message === '' ? String(code) : message;
      if (!isPassingFailure(error))
        throw new StartupError(`The database refuses us: ${why}`, { cause: error });
      if (clock.monotonicMs() >= endMs) {
        throw new StartupError(`The database cannot be reached: ${why}`, { cause: error });
      }
      if (isFirst) options.onWaiting();
    }
    await clock.sleep(retryMs);
  }
}

async function checkVersion(db: Pick<Database, 'dedicated'>): Promise<void> {
  const client = await db.dedicated();
  try {
    const { rows } = await client.query<{ version: number; name: string; standby: boolean }>(
      `select current_setting('server_version_num')::int as version, current_setting('server_version') as name,
              pg_is_in_recovery() as standby`,
    );
    const { version, name, standby } = rows[0]!;
    if (version < oldestVersion * 10_000) {
      throw new StartupError(`opsfleet needs PostgreSQL ${oldestVersion} or later, and this is ${name}.`);
    }
    if (standby) throw new AppError('unavailable', 'it is a standby, which takes no writes');
  } finally {
    await client.end();
  }
}
