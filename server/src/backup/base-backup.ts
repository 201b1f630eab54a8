import type { Dirent } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from 'pg';
import { StartupError } from '../platform/errors.ts';
import { errorCode } from '../platform/postgres/files.ts';

/** A cluster in backup mode: copied from now on in any order, it is whole once `stop` has said what belongs to it. */
export type BaseBackup = {
  /** Ends backup mode. Everything that was committed before is in the copy together with these. */
  stop(): Promise<{ label: Buffer; walFiles: string[] }>;
};

/**
 * Begins a backup by the low-level API (PostgreSQL's manual, "Making a Base Backup Using the Low Level API").
 * From here to `stop`, PostgreSQL writes to its log the whole of every page that it changes, also where
 * `full_page_writes` is off: pages that are copied while they are written come right when the log is replayed.
 * There is no archive of the log, so a replication slot that goes with the connection keeps what is needed.
 * Throws a StartupError where this cluster cannot be copied like that.
 */
export async function beginBaseBackup(client: Client, name: string): Promise<BaseBackup> {
  await assertCopyable(client);
  await client.query('select pg_create_physical_replication_slot($1, true, true)', [
    name.replace(/\W/g, '_'),
  ]);
  // Not spread over the next quarter of an hour: somebody waits.
  const { rows } = await client.query<{ file: string }>(
    'select pg_walfile_name(pg_backup_start($1, fast => true)) as file',
    [name],
  );
  const first = rows[0]!.file;
  return {
    async stop() {
      const stopped = await client.query<{ last: string; label: string; spaces: string; segment: number }>(
        `select pg_walfile_name(lsn) as last, labelfile as label, spcmapfile as spaces,
                (select setting::int from pg_settings where name = 'wal_segment_size') as segment
           from pg_backup_stop(wait_for_archive => false)`,
      );
      const { last, label, spaces, segment } = stopped.rows[0]!;
      if (spaces?.trim())
        throw new StartupError('A tablespace was made meanwhile, which a backup cannot have.');
      return { label: Buffer.from(label), walFiles: walFilesBetween(first, last, segment) };
    },
  };
}

async function assertCopyable(client: Client): Promise<void> {
  const { rows } = await client.query<{ level: string; spaces: string[] }>(
    `select current_setting('wal_level') as level,
            array(select spcname::text from pg_tablespace where spcname not in ('pg_default', 'pg_global')) as spaces`,
  );
  const { level, spaces } = rows[0]!;
  if (level === 'minimal') {
    throw new StartupError(
      'The database has wal_level = minimal, with which it cannot be copied while it runs.',
    );
  }
  if (spaces.length > 0) {
    throw new StartupError(
      `The database has the tablespace ${spaces.join(', ')}, which a backup cannot have.`,
    );
  }
}

/**
 * The names of the log's files from one to another, both included. A name is timeline, number / n and number % n in
 * 8 hexadecimal digits each, where n files of `segmentBytes` make 4 GiB (PostgreSQL's xlog_internal.h, XLogFileName).
 */
export function walFilesBetween(first: string, last: string, segmentBytes: number): string[] {
  const perId = 2 ** 32 / segmentBytes;
  const numberOf = (name: string): number =>
    Number.parseInt(name.slice(8, 16), 16) * perId + Number.parseInt(name.slice(16), 16);
  if (first.slice(0, 8) !== last.slice(0, 8) || !(numberOf(last) >= numberOf(first))) {
    throw new Error(`no files of the log lie between ${first} and ${last}`);
  }
  const hex = (value: number): string => value.toString(16).toUpperCase().padStart(8, '0');
  return Array.from({ length: numberOf(last) - numberOf(first) + 1 }, (_, index) => {
    const number = numberOf(first) + index;
    return `${first.slice(0, 8)}${hex(Math.floor(number / perId))}${hex(number % perId)}`;
  });
}

export type ClusterListing = { directories: string[]; files: string[] };

/** What of a running cluster's directory belongs to a backup, by paths below it. pg_control is the last. */
export async function listCluster(clusterDir: string): Promise<ClusterListing> {
  const listing: ClusterListing = { directories: ['pg_wal/archive_status', 'pg_wal/summaries'], files: [] };
  await list(clusterDir, '', listing);
  return { ...listing, files: [...listing.files, control] };
}

/** Changed by every checkpoint, and small: a torn one would be worst. pg_basebackup sends it last, too. */
const control = 'global/pg_control';

async function list(clusterDir: string, folder: string, into: ClusterListing): Promise<void> {
  for (const entry of await entriesOf(join(clusterDir, folder))) {
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
    if (isLeftOut(entry.name) || path === control) continue;
    if (path === 'pg_wal') {
      // Its files are copied once it is known which ones belong to the backup. It may be a link to another disk.
      into.directories.push(path);
    } else if (entry.isDirectory()) {
      into.directories.push(path);
      if (!emptied.has(path)) await list(clusterDir, path, into);
    } else if (entry.isFile()) {
      into.files.push(path);
    } else {
      throw new StartupError(
        `${join(clusterDir, path)} is neither a file nor a directory, so it cannot be backed up.`,
      );
    }
  }
}

async function entriesOf(directory: string): Promise<Dirent[]> {
  try {
    return (await readdir(directory, { withFileTypes: true })).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  } catch (error) {
    // A database that has just been dropped.
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
}

// PostgreSQL's manual, "Backing Up the Data Directory": initialized at each start, or of no use elsewhere. The slots
// would keep the log of the copy for whoever follows the original, our own slot among them.
const emptied = new Set([
  'pg_dynshmem',
  'pg_notify',
  'pg_replslot',
  'pg_serial',
  'pg_snapshots',
  'pg_stat_tmp',
  'pg_subtrans',
]);

const leftOut = new Set([
  'postmaster.pid',
  'postmaster.opts',
  'backup_label',
  'backup_label.old',
  'tablespace_map',
  'tablespace_map.old',
  'current_logfiles',
]);

const isLeftOut = (name: string): boolean =>
  leftOut.has(name) || /^(pgsql_tmp|pg_internal\.init)/.test(name) || /^t\d+_\d+/.test(name);
