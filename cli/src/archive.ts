import { isAbsolute } from 'node:path';
import type { Settings } from '../../server/src/config.ts';
import { StartupError } from '../../server/src/platform/errors.ts';
import { restoreArchive } from '../../server/src/retention/restore.ts';
import { type Archive, listArchives } from '../../server/src/retention/store.ts';
import { withInstallation } from './database.ts';
import { type Flags, oneOfCommands, runStoreCommand, type StoreCommand } from './store-command.ts';

const USAGE = `Usage: npm run opsfleet -- archive list
       npm run opsfleet -- archive restore --partition NAME [flags]

list tells which archives of history there are, the newest time first. restore brings one back into the database, to be
read through the API for some days; then it goes again. What has been deleted since stays deleted. Both work on the
database that DATABASE_URL names, or on the embedded one of an opsfleet that runs.

  --partition NAME  as list tells it, such as server_health_checks_2026_09
  --days N          for how many days (7)
  --dir DIR         where the archives are (OPSFLEET_ARCHIVE_DIR)
  --data-dir DIR    the data directory (OPSFLEET_DATA_DIR, or where npm start has it)

Exit code: 0 done, 1 failed, 2 wrong flags, 130 and 143 interrupted.`;

const listFlags = { 'data-dir': { type: 'string' } } as const satisfies Flags;

const list: StoreCommand<typeof listFlags> = {
  name: 'archive list',
  usage: USAGE,
  flags: listFlags,
  required: null,
  needsEmbedded: false,
  run: (_flags, parts) =>
    withInstallation(parts, async ({ system }) => {
      const archives = await listArchives(system);
      return archives.length === 0 ? 'There are no archives.' : archives.map(lineOf).join('\n');
    }),
};

const lineOf = ({ partition, file, rows, bytes, droppedAt, restoredUntil }: Archive): string => {
  const state =
    restoredUntil !== null
      ? `back until ${restoredUntil.toISOString()}`
      : droppedAt !== null
        ? `gone since ${droppedAt.toISOString()}`
        : 'still there';
  return `${partition.name}  ${rows} rows  ${bytes} bytes  ${state}  ${file}`;
};

const restoreFlags = {
  partition: { type: 'string' },
  days: { type: 'string' },
  dir: { type: 'string' },
  'data-dir': { type: 'string' },
} as const satisfies Flags;

const mostDays = 3_650;

const restore: StoreCommand<typeof restoreFlags> = {
  name: 'archive restore',
  usage: USAGE,
  flags: restoreFlags,
  required: 'partition',
  needsEmbedded: false,
  run(flags, parts) {
    const days = daysOf(flags.days ?? '7');
    const directory = directoryOf(flags.dir, parts.settings);
    return withInstallation(parts, async db => {
      const { clock, signal } = parts;
      parts.onProgress('Reading the archive, then copying it');
      const restored = await restoreArchive({ db, clock, directory, signal }, flags.partition!, days);
      const left =
        restored.ofDeleted === 0 ? '' : `, and not ${restored.ofDeleted} of what has been deleted since`;
      return `${flags.partition}: ${restored.rows} rows are back until ${restored.until.toISOString()}${left}`;
    });
  },
};

function daysOf(text: string): number {
  const days = Number(text);
  if (/^\d{1,5}$/.test(text) && days >= 1 && days <= mostDays) return days;
  throw new StartupError(`--days must be a whole number from 1 to ${mostDays}, not "${text}".`);
}

function directoryOf(flag: string | undefined, { archive }: Settings): string {
  if (flag !== undefined) {
    if (isAbsolute(flag)) return flag;
    throw new StartupError('--dir must be an absolute path.');
  }
  if (typeof archive === 'object') return archive.directory;
  throw new StartupError('--dir is missing, and OPSFLEET_ARCHIVE_DIR names no directory.');
}

/** `opsfleet archive`. Returns the exit code. */
export const archiveCommand = oneOfCommands('archive', USAGE, {
  list: argv => runStoreCommand(list, argv),
  restore: argv => runStoreCommand(restore, argv),
});
