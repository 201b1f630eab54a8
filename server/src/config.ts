import { homedir } from 'node:os';
import { isAbsolute, resolve } from 'node:path';
import { parseCidr } from './platform/egress/address.ts';
import { parseReference, type Reference } from './platform/egress/reference.ts';
import { StartupError } from './platform/errors.ts';
import { defaultDataDir } from './platform/postgres/data-dir.ts';
import type { ArchiveSetting } from './retention/expire.ts';
import { type PartitionInterval, partitionIntervals } from './retention/partitions.ts';
import { defaultRetention, formatRetention, parseRetention, type Retention } from './retention/retention.ts';

/** Every setting, parsed. Times in milliseconds. */
export type Settings = {
  host: string;
  port: number;
  publicUrl: string | null;
  dataDir: string;
  databaseUrl: string | null;
  databasePoolSize: number;
  /** Of the embedded PostgreSQL. */
  sharedBuffersMib: number;
  hugePages: 'off' | 'try' | 'on';
  role: 'all' | 'api' | 'worker';
  adminToken: string | null;
  masterKey: string | null;
  masterKeyFile: string | null;
  localAgent: boolean;
  egressAllow: readonly string[];
  references: readonly Reference[];
  healthIntervalMs: number;
  metricsIntervalMs: number;
  spoolLimitBytes: number;
  partitionInterval: PartitionInterval;
  retention: Retention;
  archive: ArchiveSetting;
  rateLimitPerMinute: number;
  logLevel: string;
};

type Environment = Readonly<Record<string, string | undefined>>;
type Declaration<T> = {
  variable: string;
  /** As the documentation shows it. */
  fallback: string;
  meaning: string;
  parse(text: string | undefined, refuse: (why: string) => never): T;
};

const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'];

/** The one table of settings: parsed from here, and checked against the README. */
export const declarations: { [Key in keyof Settings]: Declaration<Settings[Key]> } = {
  host: {
    variable: 'OPSFLEET_HOST',
    fallback: '127.0.0.1',
    meaning: 'Address to listen on. `0.0.0.0` opens it to the network: put TLS in front of it.',
    parse: text => text ?? '127.0.0.1',
  },
  port: {
    variable: 'OPSFLEET_PORT',
    fallback: '7700',
    meaning: 'Port of the API and the dashboard. `0` takes any free one.',
    parse: (text, refuse) => integer(text ?? '7700', 0, 65_535, refuse),
  },
  publicUrl: {
    variable: 'OPSFLEET_PUBLIC_URL',
    fallback: 'http://host:port',
    meaning:
      'The address people use, when a proxy stands in front. With `https` the session cookie is `Secure`.',
    parse: (text, refuse) => (text === undefined ? null : publicUrl(text, refuse)),
  },
  dataDir: {
    variable: 'OPSFLEET_DATA_DIR',
    fallback: '`/var/lib/opsfleet` as root, else `$XDG_DATA_HOME/opsfleet`',
    meaning:
      'The embedded database, the generated keys, the local agent and results that wait for a database live here.',
    parse: text => resolve(text ?? ''),
  },
  databaseUrl: {
    variable: 'DATABASE_URL',
    fallback: 'embedded PostgreSQL',
    meaning:
      'A PostgreSQL 15 or later, e.g. `postgres://user:password@host/database`. The role must own the database.',
    parse: (text, refuse) => {
      if (text === undefined) return null;
      if (!/^postgres(ql)?:\/\//.test(text)) refuse('must start with postgres://');
      if (URL.canParse(withHost(text))) return text;
      return refuse('must be an address; write # / ? and @ in a password as %23 %2F %3F and %40');
    },
  },
  databasePoolSize: {
    variable: 'OPSFLEET_DATABASE_POOL',
    fallback: '4',
    meaning: 'Connections of this process to the database at most, beside one that listens.',
    parse: (text, refuse) => integer(text ?? '4', 2, 1_000, refuse),
  },
  sharedBuffersMib: {
    variable: 'OPSFLEET_DATABASE_MEMORY',
    fallback: '64',
    meaning:
      'MiB that the embedded PostgreSQL keeps of its tables and indexes in memory. For 100,000 servers: 512.',
    parse: (text, refuse) => integer(text ?? '64', 16, 65_536, refuse),
  },
  hugePages: {
    variable: 'OPSFLEET_DATABASE_HUGE_PAGES',
    fallback: 'off',
    meaning:
      'Whether that memory lies in huge pages, of which the kernel must have enough (`vm.nr_hugepages`): `off`, `try` or `on`.',
    parse: (text, refuse) => oneOf(text ?? 'off', ['off', 'try', 'on'], refuse),
  },
  role: {
    variable: 'OPSFLEET_ROLE',
    fallback: 'all',
    meaning: '`api` answers requests, `worker` polls, `all` does both.',
    parse: (text, refuse) => oneOf(text ?? 'all', ['all', 'api', 'worker'], refuse),
  },
  adminToken: {
    variable: 'OPSFLEET_ADMIN_TOKEN',
    fallback: 'generated into the data directory',
    meaning: 'An API token (32 characters or more) that administers the organization `default`.',
    parse: (text, refuse) => {
      if (text === undefined) return null;
      if (text.length < 32 || text.length > 512) refuse('must be 32 to 512 characters long');
      return /^[\x21-\x7e]+$/.test(text) ? text : refuse('must be printable ASCII without spaces');
    },
  },
  masterKey: {
    variable: 'OPSFLEET_MASTER_KEY',
    fallback: 'generated into the data directory',
    meaning:
      '32 bytes, base64 or hex, that wrap every stored secret. Several, comma separated: the first encrypts, all decrypt.',
    parse: text => text ?? null,
  },
  masterKeyFile: {
    variable: 'OPSFLEET_MASTER_KEY_FILE',
    fallback: 'none',
    meaning: 'A file with the same content, readable by its owner alone.',
    parse: text => (text === undefined ? null : resolve(text)),
  },
  localAgent: {
    variable: 'OPSFLEET_LOCAL_AGENT',
    fallback: 'true',
    meaning: 'Whether to run an agent for this machine and watch it (role `all` only).',
    parse: (text, refuse) => oneOf(text ?? 'true', ['true', 'false'], refuse) === 'true',
  },
  egressAllow: {
    variable: 'OPSFLEET_EGRESS_ALLOW',
    fallback: 'none',
    meaning:
      'CIDRs, comma separated, that may be polled although they are loopback or link-local, and over plain http.',
    parse: (text, refuse) => cidrs(text ?? '', refuse),
  },
  references: {
    variable: 'OPSFLEET_REFERENCES',
    fallback: 'none',
    meaning:
      'http(s) addresses or `host:port`, comma separated, 10 at most, that answer whenever the network of the workers works. While none does, no server is called down.',
    parse: (text, refuse) => references(text ?? '', refuse),
  },
  healthIntervalMs: {
    variable: 'FLEET_HEALTH_INTERVAL',
    fallback: '30',
    meaning: 'Seconds between two health checks of a server; fractions allowed.',
    parse: (text, refuse) => seconds(text ?? '30', refuse),
  },
  metricsIntervalMs: {
    variable: 'FLEET_METRICS_INTERVAL',
    fallback: '60',
    meaning: 'Seconds between two metrics collections of a server; fractions allowed.',
    parse: (text, refuse) => seconds(text ?? '60', refuse),
  },
  spoolLimitBytes: {
    variable: 'OPSFLEET_SPOOL_LIMIT',
    fallback: '1024',
    meaning:
      'MiB of the data directory that results of one worker may wait on while the database is away. Beyond it, newer ones wait in memory.',
    parse: (text, refuse) => integer(text ?? '1024', 1, 1_048_576, refuse) * 1024 * 1024,
  },
  partitionInterval: {
    variable: 'OPSFLEET_PARTITION_INTERVAL',
    fallback: 'month',
    meaning:
      'How much time one partition of the history holds: `month`, `week` or `day`. With more than a few thousand servers: `day`. The same in every process.',
    parse: (text, refuse) => oneOf(text ?? 'month', partitionIntervals, refuse),
  },
  retention: {
    variable: 'OPSFLEET_RETENTION',
    fallback: `\`${formatRetention(defaultRetention)}\``,
    meaning:
      'For how many days history is kept: checks, metrics, the sums of both by the length of their period, and events. What is not named keeps its default. The same in every process.',
    parse: (text, refuse) => (text === undefined ? defaultRetention : parseRetention(text, refuse)),
  },
  archive: {
    variable: 'OPSFLEET_ARCHIVE_DIR',
    fallback: 'as it was last set',
    meaning:
      'A directory to which history is written before it goes. Set it in one process of an installation; `none` ends archiving.',
    parse: (text, refuse) => {
      if (text === undefined || text === 'none') return text ?? 'unchanged';
      return isAbsolute(text) ? { directory: text } : refuse('must be an absolute path, or none');
    },
  },
  rateLimitPerMinute: {
    variable: 'OPSFLEET_RATE_LIMIT',
    fallback: '1200',
    meaning: 'API requests a minute for one token or session. `0` sets no limit.',
    parse: (text, refuse) => integer(text ?? '1200', 0, 10_000_000, refuse),
  },
  logLevel: {
    variable: 'OPSFLEET_LOG_LEVEL',
    fallback: 'warn',
    meaning: `\`${logLevels.join('`, `')}\`: JSON lines on standard error.`,
    parse: (text, refuse) => oneOf(text ?? 'warn', logLevels, refuse),
  },
};

/** Parses the environment. Refuses with a StartupError that names the setting and what it may be. */
export function readSettings(environment: Environment, uid: number): Settings {
  const values: Record<string, unknown> = {};
  for (const [key, declaration] of Object.entries(declarations)) {
    const text = environment[declaration.variable]?.trim() || undefined;
    values[key] = declaration.parse(text, why => {
      throw new StartupError(`${declaration.variable} ${why}`);
    });
  }
  const settings = values as Settings;
  if (!environment['OPSFLEET_DATA_DIR']?.trim()) {
    const xdgDataHome = environment['XDG_DATA_HOME'];
    settings.dataDir = defaultDataDir({
      uid,
      home: homedir(),
      ...(xdgDataHome !== undefined && isAbsolute(xdgDataHome) ? { xdgDataHome } : {}),
    });
  }
  return settings;
}

/** The settings of this process: the only reader of its environment. */
export function processSettings(): Settings {
  return readSettings(process.env, process.getuid?.() ?? -1);
}

/** libpq leaves the host empty where a socket directory follows as `?host=`; a URL may not. */
export const withHost = (databaseUrl: string): string => databaseUrl.replace('@/', '@localhost/');

type Refuse = (why: string) => never;

function integer(text: string, min: number, max: number, refuse: Refuse): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < min || value > max)
    refuse(`must be a whole number from ${min} to ${max}`);
  return value;
}

function seconds(text: string, refuse: Refuse): number {
  const value = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text) || value < 0.1 || value > 86_400)
    refuse('must be seconds from 0.1 to 86400');
  return Math.round(value * 1000);
}

function oneOf<const T extends string>(text: string, allowed: readonly T[], refuse: Refuse): T {
  return allowed.includes(text as T) ? (text as T) : refuse(`must be one of ${allowed.join(', ')}`);
}

function cidrs(text: string, refuse: Refuse): string[] {
  const parts = text.split(',').map(part => part.trim());
  for (const part of parts.filter(Boolean)) {
    if (parseCidr(part) === null)
      refuse(`must be CIDRs like 10.0.0.0/8, and ${JSON.stringify(part)} is none`);
  }
  return parts.filter(Boolean);
}

const maxReferences = 10;

function references(text: string, refuse: Refuse): Reference[] {
  const parts = [...new Set(text.split(',').map(part => part.trim()))].filter(Boolean);
  if (parts.length > maxReferences) refuse(`must name ${maxReferences} targets at most`);
  return parts.map(part => {
    const parsed = parseReference(part);
    return parsed.ok ? parsed.reference : refuse(`${parsed.detail}; ${JSON.stringify(part)} is refused`);
  });
}

function publicUrl(text: string, refuse: Refuse): string {
  const url = URL.parse(text);
  if (
    url === null ||
    !/^https?:$/.test(url.protocol) ||
    url.pathname !== '/' ||
    url.search !== '' ||
    url.hash !== ''
  ) {
    return refuse('must be an http(s) address without a path, like https://fleet.example.com');
  }
  return url.origin;
}
