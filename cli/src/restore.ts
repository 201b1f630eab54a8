import { restoreBackup } from '../../server/src/backup/restore.ts';
import { type Flags, runStoreCommand, type StoreCommand } from './store-command.ts';

const FLAGS = {
  from: { type: 'string' },
  'data-dir': { type: 'string' },
  replace: { type: 'boolean' },
} as const satisfies Flags;

const USAGE = `Usage: npm run opsfleet -- restore --from FILE [flags]

Restores a backup into a data directory: unpacks it there, compares every checksum, starts PostgreSQL on it, sees that
the master key at hand opens its secrets, and only then puts it in place. Killed at any moment, it leaves what was
there or all of the backup; run it again, or npm start. Restore only what you trust: it becomes your database.

  --from FILE      the backup
  --data-dir DIR   the data directory (OPSFLEET_DATA_DIR, or where npm start has it)
  --replace        where there is a database already, move it aside, into DIR/replaced-TIME; nothing is deleted

The master key is looked for where npm start looks: OPSFLEET_MASTER_KEY, OPSFLEET_MASTER_KEY_FILE, DIR/master-key. Put
it there first, unless the backup was made with --with-master-key.

Exit code: 0 done, 1 failed, 2 wrong flags, 130 and 143 interrupted. With a PostgreSQL of your own, see
docs/operations.md.`;

const command: StoreCommand<typeof FLAGS> = {
  name: 'restore',
  usage: USAGE,
  flags: FLAGS,
  required: 'from',
  needsEmbedded: true,
  async run(flags, parts) {
    const result = await restoreBackup({ ...parts, from: flags.from!, replace: flags.replace === true });
    const { dataDir, aside, found, endedAt, masterKey } = result;
    if (aside !== null) parts.onProgress(`What was there is in ${aside}`);
    if (masterKey !== null) parts.onProgress(`Its secrets are opened by ${masterKey}`);
    if (endedAt === null) return `${dataDir}: finished the restore that was interrupted`;
    const counts =
      found === null
        ? 'a database that opsfleet had not used yet'
        : `${found.servers} servers, ${found.tokens} tokens, ${found.checks} checks, ${found.metrics} metrics`;
    return `${dataDir}: restored as of ${endedAt}, ${counts}`;
  },
};

/** `opsfleet restore`. Returns the exit code. */
export const restoreCommand = (argv: readonly string[]): Promise<number> => runStoreCommand(command, argv);
