import { processSettings } from '../../server/src/config.ts';
import { distribute } from '../../server/src/distribution/distribute.ts';
import { openDatabase } from '../../server/src/platform/db.ts';
import { AppError, StartupError } from '../../server/src/platform/errors.ts';
import { createLog } from '../../server/src/platform/log.ts';
import { readOwnMigrations } from '../../server/src/platform/migrate.ts';

const USAGE = `Usage: npm run opsfleet -- db distribute [--dry-run]

Spreads the tables of the database that DATABASE_URL names over the machines of its
Citus cluster. Stop every opsfleet first. A run that was interrupted is made again.

  --dry-run  says what would be done, and does nothing`;

/** `opsfleet db`: upkeep of the operator's database. Returns the exit code. */
export async function dbCommand(argv: readonly string[]): Promise<number> {
  if (argv.includes('--help')) {
    console.log(USAGE);
    return 0;
  }
  const [name, ...flags] = argv;
  const unknown = flags.find(flag => flag !== '--dry-run');
  if (name !== 'distribute' || unknown !== undefined) {
    const what = name === 'distribute' ? `there is no flag "${unknown}"` : `"distribute" is the only command`;
    console.error(`opsfleet db: ${what}\n\n${USAGE}`);
    return 2;
  }
  try {
    await distributeDatabase(flags.includes('--dry-run'));
    return 0;
  } catch (error) {
    console.error(`opsfleet db distribute: ${told(error)}`);
    return 1;
  }
}

async function distributeDatabase(isDryRun: boolean): Promise<void> {
  const { databaseUrl, logLevel } = processSettings();
  if (databaseUrl === null)
    throw new StartupError(
      'DATABASE_URL is not set. The embedded database is one machine; name the coordinator of a Citus cluster',
    );
  const migrations = await readOwnMigrations();
  const db = openDatabase({
    connection: { connectionString: databaseUrl },
    poolSize: 1,
    statementTimeoutMs: 0,
    log: createLog({ level: logLevel }),
  });
  try {
    await distribute(db, { migrations, isDryRun, say: line => console.log(line) });
  } finally {
    await db.close();
  }
}

/** An answer of the database is said in its words; its hint may be what helps. */
function told(error: unknown): string {
  if (error instanceof StartupError || error instanceof AppError) return error.message;
  if (!(error instanceof Error)) return String(error);
  const { detail, hint } = error as { detail?: string; hint?: string };
  return [error.message, detail, hint].filter(Boolean).join('\n');
}
