import { makeBackup } from '../../server/src/backup/backup.ts';
import { mebibytes } from '../../server/src/backup/progress.ts';
import { type Flags, runStoreCommand, type StoreCommand } from './store-command.ts';

const FLAGS = {
  to: { type: 'string' },
  'data-dir': { type: 'string' },
  'with-master-key': { type: 'boolean' },
  verify: { type: 'boolean' },
} as const satisfies Flags;

const USAGE = `Usage: npm run opsfleet -- backup --to FILE_OR_DIR [flags]

Backs up the embedded PostgreSQL into one file, while the control plane runs or while it is stopped. The file is read
back and every checksum compared before it gets its name. In a directory it is called opsfleet-TIME.tar.zst.

The master key, without which the stored tokens of the servers cannot be read, is NOT in it unless you ask for that:
keep a copy of the file master-key apart from the backups, or a stolen backup opens them all.

  --to FILE_OR_DIR    where it goes; a file that is there already is refused
  --data-dir DIR      the data directory (OPSFLEET_DATA_DIR, or where npm start has it)
  --with-master-key   put the master key in; whoever has the file can read every stored token then
  --verify            unpack it in the data directory, start a PostgreSQL from it and read all history; needs the room
                      of the database once more meanwhile

Exit code: 0 done, 1 failed, 2 wrong flags, 130 and 143 interrupted. With a PostgreSQL of your own, see
docs/operations.md.`;

const command: StoreCommand<typeof FLAGS> = {
  name: 'backup',
  usage: USAGE,
  flags: FLAGS,
  required: 'to',
  needsEmbedded: true,
  async run(flags, parts) {
    const withMasterKey = flags['with-master-key'] === true;
    const { path, archive, header, manifest, found } = await makeBackup({
      ...parts,
      to: flags.to!,
      withMasterKey,
      verify: flags.verify === true,
    });
    if (!withMasterKey && header.masterKeyIds.length > 0) {
      parts.onProgress(
        `Not in it: the master key ${header.masterKeyIds.join(', ')}, which its secrets need. Keep a copy elsewhere.`,
      );
    }
    const bytes = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
    const read =
      found === null
        ? ''
        : `, started: ${found.servers} servers, ${found.tokens} tokens, ${found.checks} checks, ${found.metrics} metrics`;
    return `${path}: ${mebibytes(archive.bytes)} MiB from ${mebibytes(bytes)} MiB in ${manifest.files.length} files, as of ${manifest.endedAt}, read back${read}`;
  },
};

/** `opsfleet backup`. Returns the exit code. */
export const backupCommand = (argv: readonly string[]): Promise<number> => runStoreCommand(command, argv);
