import { execFile } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import { basename, isAbsolute, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import type { Address } from './connection.ts';
import { errorCode } from './files.ts';

/** What a postmaster says about itself in postmaster.pid. A later line may not be written yet. */
export type PidFile = {
  pid: number;
  dataDir: string;
  address: Address | undefined;
  /** starting → ready → stopping; `standby` never happens to us. */
  status: 'starting' | 'ready' | 'stopping' | 'standby' | undefined;
};

const statuses = ['starting', 'ready', 'stopping', 'standby'] as const;

/** Parses postmaster.pid (PostgreSQL's miscadmin.h, LOCK_FILE_LINE_*). Undefined when it names no process. */
export function parsePidFile(text: string): PidFile | undefined {
  const lines = text.split('\n').map(line => line.trim());
  // Negative for a stand-alone backend (postgres --single), which never becomes ready.
  const pid = parsePositive(lines[0]?.replace(/^-/, ''));
  const dataDir = lines[1];
  if (pid === undefined || !dataDir) return undefined;
  const [port, host] = [parsePositive(lines[3]), lines[4]];
  return {
    pid,
    dataDir,
    address: port !== undefined && host ? { host, port } : undefined,
    status: statuses.find(status => status === lines[7]),
  };
}

function parsePositive(text: string | undefined): number | undefined {
  return text !== undefined && /^[1-9]\d{0,9}$/.test(text) ? Number(text) : undefined;
}

/** The postmaster.pid of a cluster, or undefined where there is none. */
export async function readPidFile(clusterDir: string): Promise<PidFile | undefined> {
  try {
    return parsePidFile(await readFile(join(clusterDir, 'postmaster.pid'), 'utf8'));
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * Whether the process named by a pid file is really the postmaster of this cluster: a living number alone
 * may have been given to another program, or stand in a copied directory.
 */
export async function isPostmasterOf(clusterDir: string, file: PidFile): Promise<boolean> {
  if (!(await isPostgresOn(file))) return false;
  return file.dataDir === clusterDir || (await isMovedTo(clusterDir, file.dataDir));
}

async function isPostgresOn({ pid, dataDir }: PidFile): Promise<boolean> {
  if (process.platform !== 'linux') return (await psCommand(pid)).includes(`/postgres -D ${dataDir} `);
  const [program = '', ...args] = await commandLine(pid);
  if (basename(program) !== 'postgres') return false;
  // Started by hand, it may name the directory relatively or by PGDATA: then it counts, to be on the safe side.
  const named = args.includes('-D') ? args[args.indexOf('-D') + 1] : undefined;
  return named === undefined || !isAbsolute(named) || resolve(named) === dataDir;
}

/** A running postmaster keeps its directory when that is renamed; a copy beside the original is another one. */
async function isMovedTo(clusterDir: string, original: string): Promise<boolean> {
  try {
    const [here, there] = await Promise.all([stat(clusterDir), stat(original)]);
    return here.ino === there.ino && here.dev === there.dev;
  } catch {
    // Two postmasters on one cluster would be worse than waiting for a wrong one.
    return true;
  }
}

/** Program and arguments; empty for a process that is not there, or is dead and not yet reaped. */
async function commandLine(pid: number): Promise<string[]> {
  try {
    return (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0').filter(Boolean);
  } catch {
    return [];
  }
}

async function psCommand(pid: number): Promise<string> {
  try {
    return (await promisify(execFile)('ps', ['-ww', '-o', 'command=', '-p', String(pid)])).stdout;
  } catch {
    return '';
  }
}
