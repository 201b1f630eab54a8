import { readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import type { Address } from './check/exchange.ts';
import { StartupError } from './errors.ts';
import { reasonOf } from './log.ts';
import { readSecretFile } from './secret-file.ts';
import type { TlsSettings } from './tls.ts';

/** What to look at: nothing, what can be found on this machine, or what was named. */
export type Watched<Named> = 'off' | 'auto' | Named;

/** Every setting, parsed and checked against the others. */
export type Settings = {
  token: string;
  host: string;
  port: number;
  tls: TlsSettings;
  dataDir: string;
  services: Watched<readonly string[]>;
  database: Watched<Address>;
  redis: Watched<Address>;
  redisPassword: string | null;
  llm: { url: string } | { path: string } | null;
  exitWithParent: boolean;
};

export type Environment = Readonly<Record<string, string | undefined>>;

/** The names without their prefix, as the README explains them. In a file they are in lower case. */
export const settingNames = [
  'TOKEN',
  'TOKEN_FILE',
  'HOST',
  'PORT',
  'TLS',
  'TLS_CERT',
  'TLS_KEY',
  'DATA_DIR',
  'SERVICES',
  'DATABASE',
  'REDIS',
  'REDIS_PASSWORD_FILE',
  'LLM_URL',
  'LLM_FILE',
  'EXIT_WITH_PARENT',
] as const;

type Name = (typeof settingNames)[number];
type Values = Readonly<Partial<Record<Name, string>>>;

/** One setting while it is read: its text, if it is set, and the way to refuse it. */
type Setting = { name: Name; text: string | undefined; refuse: (why: string) => never };
type Read = (name: Name) => Setting;

const prefix = 'OPSFLEET_AGENT_';
const maxSecretBytes = 4 * 1024;
const maxConfigBytes = 64 * 1024;
const maxUnits = 500;

/** The settings of this process: the only reader of its environment. */
export function processSettings(): Settings {
  return readSettings(process.env, process.getuid?.() ?? -1);
}

/**
 * Parses the environment and the file it names in OPSFLEET_AGENT_CONFIG; the environment wins.
 * Refuses with a StartupError that names the setting and what it may be.
 */
export function readSettings(environment: Environment, uid: number): Settings {
  const configPath = environment[`${prefix}CONFIG`]?.trim();
  const file = configPath ? readConfigFile(configPath) : {};
  const read: Read = name => ({
    name,
    text: environment[prefix + name]?.trim() || file[name] || undefined,
    refuse: why => {
      throw new StartupError(`${prefix}${name} ${why}`);
    },
  });
  const host = read('HOST').text ?? '0.0.0.0';
  return {
    token: token(read),
    host,
    port: port(read('PORT'), '7710'),
    tls: tls(read, host),
    dataDir: path(read('DATA_DIR')) ?? defaultDataDir(environment, uid),
    services: watched(read('SERVICES'), units),
    database: watched(read('DATABASE'), address),
    redis: watched(read('REDIS'), address),
    redisPassword: secret(read('REDIS_PASSWORD_FILE')) ?? null,
    llm: llm(read),
    exitWithParent: oneOf(read('EXIT_WITH_PARENT'), ['true', 'false']) === 'true',
  };
}

function token(read: Read): string {
  const direct = read('TOKEN');
  const inFile = read('TOKEN_FILE');
  if (direct.text !== undefined && inFile.text !== undefined) {
    direct.refuse(`and ${prefix}TOKEN_FILE exclude each other`);
  }
  const value = direct.text ?? secret(inFile) ?? direct.refuse(`or ${prefix}TOKEN_FILE is required`);
  const { refuse } = direct.text === undefined ? inFile : direct;
  if (value.length < 32 || value.length > 512) refuse('must be 32 to 512 characters long');
  if (!/^[\x21-\x7e]+$/.test(value)) refuse('must be printable ASCII without spaces');
  return value;
}

function tls(read: Read, host: string): TlsSettings {
  const certPath = path(read('TLS_CERT'));
  const keyPath = path(read('TLS_KEY'));
  const hasFiles = certPath !== undefined || keyPath !== undefined;
  const mode =
    oneOf(read('TLS'), ['auto', 'files', 'off']) ?? (hasFiles ? 'files' : isLoopback(host) ? 'off' : 'auto');
  if (mode === 'files') {
    return {
      mode,
      certPath: certPath ?? read('TLS_CERT').refuse(`is required for ${prefix}TLS=files`),
      keyPath: keyPath ?? read('TLS_KEY').refuse(`is required for ${prefix}TLS=files`),
    };
  }
  if (hasFiles) read('TLS').refuse(`is ${mode}: then ${prefix}TLS_CERT and ${prefix}TLS_KEY must not be set`);
  return { mode };
}

function llm(read: Read): Settings['llm'] {
  const url = read('LLM_URL');
  const file = path(read('LLM_FILE'));
  if (url.text === undefined) return file === undefined ? null : { path: file };
  if (file !== undefined) url.refuse(`and ${prefix}LLM_FILE exclude each other`);
  const parsed = URL.parse(url.text);
  if (parsed?.protocol !== 'http:' || !isLoopback(withoutBrackets(parsed.hostname))) {
    return url.refuse('must be an http URL on a loopback address');
  }
  return { url: parsed.href };
}

function readConfigFile(file: string): Values {
  const refuse = (why: string): never => {
    throw new StartupError(`${prefix}CONFIG: the file ${file} ${why}`);
  };
  let content: unknown;
  try {
    if (statSync(file).size > maxConfigBytes) refuse(`is larger than ${maxConfigBytes} bytes`);
    content = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    if (error instanceof StartupError) throw error;
    refuse(`cannot be read as JSON: ${reasonOf(error)}`);
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    return refuse('must hold one JSON object');
  }
  const values: Partial<Record<Name, string>> = {};
  for (const [key, value] of Object.entries(content)) {
    const name = settingNames.find(known => known.toLowerCase() === key);
    if (name === undefined) return refuse(`has an unknown setting ${JSON.stringify(key)}`);
    values[name] = textOf(value) ?? refuse(`must give ${key} as a text, number, boolean or list of texts`);
  }
  // A token makes the whole file a secret: opened once more, by the rules for secrets.
  if (values.TOKEN !== undefined) readSecretFile(`${prefix}CONFIG`, file, maxConfigBytes);
  return values;
}

function textOf(value: unknown): string | undefined {
  if (Array.isArray(value))
    return value.every(item => typeof item === 'string') ? value.join(',') : undefined;
  if (typeof value === 'string') return value.trim();
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : undefined;
}

function defaultDataDir(environment: Environment, uid: number): string {
  if (uid === 0) return '/var/lib/opsfleet-agent';
  const xdgDataHome = environment['XDG_DATA_HOME'];
  const dataHome = xdgDataHome && isAbsolute(xdgDataHome) ? xdgDataHome : join(homedir(), '.local/share');
  return join(dataHome, 'opsfleet-agent');
}

function watched<Named>(setting: Setting, parse: (text: string, setting: Setting) => Named): Watched<Named> {
  const { text = 'auto' } = setting;
  return text === 'auto' || text === 'off' ? text : parse(text, setting);
}

function path({ text, refuse }: Setting): string | undefined {
  return text === undefined || isAbsolute(text) ? text : refuse('must be an absolute path');
}

function secret(setting: Setting): string | undefined {
  const file = path(setting);
  return file === undefined ? undefined : readSecretFile(prefix + setting.name, file, maxSecretBytes);
}

function oneOf<const Word extends string>(
  { text, refuse }: Setting,
  words: readonly Word[],
): Word | undefined {
  if (text === undefined) return undefined;
  return words.find(word => word === text) ?? refuse(`must be one of ${words.join(', ')}`);
}

function port({ text, refuse }: Setting, fallback: string): number {
  return portNumber(text ?? fallback) ?? refuse('must be a whole number from 0 to 65535');
}

function portNumber(text: string): number | undefined {
  return /^\d{1,5}$/.test(text) && Number(text) <= 65_535 ? Number(text) : undefined;
}

function address(text: string, { refuse }: Setting): Address {
  if (isAbsolute(text)) return { path: text };
  const [, host = '', digits = ''] = /^(\[[0-9a-f:.]+\]|[^\s:/]+):(\d+)$/i.exec(text) ?? [];
  const port = portNumber(digits);
  if (host === '' || !port) {
    return refuse('must be auto, off, host:port (IPv6 in brackets) or the absolute path of a socket');
  }
  return { host: withoutBrackets(host), port };
}

function units(text: string, { refuse }: Setting): readonly string[] {
  const names = text
    .split(',')
    .map(name => name.trim())
    .filter(Boolean);
  if (names.length < 1 || names.length > maxUnits) refuse(`must name 1 to ${maxUnits} units`);
  return names.map(name => {
    // The characters systemd allows in the name of a unit; the first may not begin an option.
    if (!/^[\w@:.\\][\w@:.\\-]{0,254}$/.test(name)) {
      refuse(`must be unit names, comma separated, and ${JSON.stringify(name)} is none`);
    }
    return name.includes('.') ? name : `${name}.service`;
  });
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

function withoutBrackets(host: string): string {
  return host.replace(/^\[|\]$/g, '');
}
