#!/usr/bin/env node
import { benchCommand } from '../../bench/src/capacity/command.ts';
import { archiveCommand } from './archive.ts';
import { backupCommand } from './backup.ts';
import { dbCommand } from './db.ts';
import { organizationCommand } from './organization.ts';
import { restoreCommand } from './restore.ts';

/** A subcommand takes what follows its name and returns the exit code. */
type Command = { summary: string; run(argv: readonly string[]): Promise<number> };

const COMMANDS: Readonly<Record<string, Command>> = {
  backup: { summary: 'one file with all of the embedded database, also while it runs', run: backupCommand },
  restore: { summary: 'puts such a file into a data directory', run: restoreCommand },
  archive: {
    summary: 'history that was archived: which there is, and one brought back to be read',
    run: archiveCommand,
  },
  organization: {
    summary: 'which there are, a new one, and one deleted with all that it has',
    run: organizationCommand,
  },
  bench: {
    summary: 'what polling a fleet costs this machine, and how many servers it could carry',
    run: benchCommand,
  },
  db: {
    summary: 'spreads the tables of your PostgreSQL over several machines (Citus)',
    run: dbCommand,
  },
};

const widest = Math.max(...Object.keys(COMMANDS).map(name => name.length));

const USAGE = `Usage: npm run opsfleet -- COMMAND [flags]

${Object.entries(COMMANDS)
  .map(([name, { summary }]) => `  ${name.padEnd(widest)}  ${summary}`)
  .join('\n')}

COMMAND --help tells its flags.`;

async function main([name, ...argv]: readonly string[]): Promise<number> {
  if (name === '--help') {
    console.log(USAGE);
    return 0;
  }
  const command =
    name === undefined ? undefined : Object.entries(COMMANDS).find(([known]) => known === name)?.[1];
  if (command !== undefined) return command.run(argv);
  console.error(
    `opsfleet: ${name === undefined ? 'a command is missing' : `there is no command "${name}"`}\n\n${USAGE}`,
  );
  return 2;
}

process.exitCode = await main(process.argv.slice(2));
