import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { tempDir } from '../test/temp-dir.ts';
import { type Environment, readSettings, settingNames } from './config.ts';
import { StartupError } from './errors.ts';

const token = '0123456789abcdef0123456789abcdef';

const read = (environment: Environment) =>
  readSettings({ OPSFLEET_AGENT_TOKEN: token, ...environment }, 1000);

function refusal(environment: Environment): string {
  try {
    read(environment);
  } catch (error) {
    if (error instanceof StartupError) return error.message;
    throw error;
  }
  throw new Error('the settings were accepted');
}

function file(content: string, mode = 0o600): string {
  const path = join(tempDir(), 'file');
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

test('a token is all that is required', () => {
  expect(readSettings({ OPSFLEET_AGENT_TOKEN: token }, 0)).toEqual({
    token,
    host: '0.0.0.0',
    port: 7710,
    tls: { mode: 'auto' },
    dataDir: '/var/lib/opsfleet-agent',
    services: 'auto',
    database: 'auto',
    redis: 'auto',
    redisPassword: null,
    llm: null,
    exitWithParent: false,
  });
});

test('everything that can be set', () => {
  const settings = readSettings(
    {
      OPSFLEET_AGENT_TOKEN_FILE: file(`${token}\n`),
      OPSFLEET_AGENT_HOST: '10.0.0.5',
      OPSFLEET_AGENT_PORT: '0',
      OPSFLEET_AGENT_TLS_CERT: '/etc/agent.crt',
      OPSFLEET_AGENT_TLS_KEY: '/etc/agent.key',
      OPSFLEET_AGENT_DATA_DIR: '/srv/agent',
      OPSFLEET_AGENT_SERVICES: 'nginx, worker@3.service',
      OPSFLEET_AGENT_DATABASE: '[::1]:5433',
      OPSFLEET_AGENT_REDIS: '/run/redis.sock',
      OPSFLEET_AGENT_REDIS_PASSWORD_FILE: file('secret'),
      OPSFLEET_AGENT_LLM_URL: 'http://127.0.0.1:9100/usage',
      OPSFLEET_AGENT_EXIT_WITH_PARENT: 'true',
    },
    0,
  );
  expect(settings).toEqual({
    token,
    host: '10.0.0.5',
    port: 0,
    tls: { mode: 'files', certPath: '/etc/agent.crt', keyPath: '/etc/agent.key' },
    dataDir: '/srv/agent',
    services: ['nginx.service', 'worker@3.service'],
    database: { host: '::1', port: 5433 },
    redis: { path: '/run/redis.sock' },
    redisPassword: 'secret',
    llm: { url: 'http://127.0.0.1:9100/usage' },
    exitWithParent: true,
  });
});

test('plain http needs a loopback address or an explicit word', () => {
  expect(read({ OPSFLEET_AGENT_HOST: '127.0.0.1' }).tls).toEqual({ mode: 'off' });
  expect(read({ OPSFLEET_AGENT_HOST: '::1' }).tls).toEqual({ mode: 'off' });
  expect(read({ OPSFLEET_AGENT_HOST: '127.0.0.1', OPSFLEET_AGENT_TLS: 'auto' }).tls).toEqual({
    mode: 'auto',
  });
  expect(read({ OPSFLEET_AGENT_HOST: '192.0.2.1' }).tls).toEqual({ mode: 'auto' });
  expect(read({ OPSFLEET_AGENT_TLS: 'off' }).tls).toEqual({ mode: 'off' });
});

test('users other than root keep their data in their home', () => {
  expect(read({ XDG_DATA_HOME: '/home/alice/data' }).dataDir).toBe('/home/alice/data/opsfleet-agent');
  expect(read({ XDG_DATA_HOME: 'relative' }).dataDir).toMatch(/^\/.*\/\.local\/share\/opsfleet-agent$/);
});

test('a file can hold the same settings, and the environment wins', () => {
  const config = file(
    '{"token": "fedcba9876543210fedcba9876543210", "port": 7000, "host": "::1", "services": ["a", "b"]}',
  );
  const settings = readSettings({ OPSFLEET_AGENT_CONFIG: config, OPSFLEET_AGENT_PORT: '7001' }, 0);
  expect(settings).toMatchObject({
    token: 'fedcba9876543210fedcba9876543210',
    port: 7001,
    host: '::1',
    services: ['a.service', 'b.service'],
  });
});

test.each<[string, Environment]>([
  ['OPSFLEET_AGENT_TOKEN or OPSFLEET_AGENT_TOKEN_FILE is required', { OPSFLEET_AGENT_TOKEN: ' ' }],
  ['OPSFLEET_AGENT_TOKEN must be 32 to 512 characters long', { OPSFLEET_AGENT_TOKEN: 'short' }],
  ['OPSFLEET_AGENT_TOKEN must be printable ASCII', { OPSFLEET_AGENT_TOKEN: `${token} ${token}` }],
  ['exclude each other', { OPSFLEET_AGENT_TOKEN_FILE: '/etc/token' }],
  ['OPSFLEET_AGENT_PORT must be a whole number from 0 to 65535', { OPSFLEET_AGENT_PORT: '65536' }],
  ['OPSFLEET_AGENT_PORT must be a whole number', { OPSFLEET_AGENT_PORT: '0x50' }],
  ['OPSFLEET_AGENT_TLS must be one of auto, files, off', { OPSFLEET_AGENT_TLS: 'on' }],
  ['OPSFLEET_AGENT_TLS_CERT is required', { OPSFLEET_AGENT_TLS: 'files' }],
  ['OPSFLEET_AGENT_TLS_KEY is required', { OPSFLEET_AGENT_TLS_CERT: '/etc/agent.crt' }],
  ['OPSFLEET_AGENT_TLS is off', { OPSFLEET_AGENT_TLS: 'off', OPSFLEET_AGENT_TLS_KEY: '/etc/agent.key' }],
  ['OPSFLEET_AGENT_DATA_DIR must be an absolute path', { OPSFLEET_AGENT_DATA_DIR: 'data' }],
  ['OPSFLEET_AGENT_SERVICES must be unit names', { OPSFLEET_AGENT_SERVICES: 'nginx,--system' }],
  ['OPSFLEET_AGENT_SERVICES must be unit names', { OPSFLEET_AGENT_SERVICES: '*.service' }],
  ['OPSFLEET_AGENT_SERVICES must name 1 to 500 units', { OPSFLEET_AGENT_SERVICES: ',' }],
  ['OPSFLEET_AGENT_SERVICES must name 1 to 500 units', { OPSFLEET_AGENT_SERVICES: 'a,'.repeat(501) }],
  ['OPSFLEET_AGENT_DATABASE must be auto, off, host:port', { OPSFLEET_AGENT_DATABASE: 'localhost' }],
  ['OPSFLEET_AGENT_DATABASE must be auto, off, host:port', { OPSFLEET_AGENT_DATABASE: 'localhost:0' }],
  ['OPSFLEET_AGENT_REDIS must be auto, off, host:port', { OPSFLEET_AGENT_REDIS: 'redis://localhost:6379' }],
  [
    'OPSFLEET_AGENT_LLM_URL must be an http URL on a loopback',
    { OPSFLEET_AGENT_LLM_URL: 'http://example.com/' },
  ],
  [
    'OPSFLEET_AGENT_LLM_URL must be an http URL on a loopback',
    { OPSFLEET_AGENT_LLM_URL: 'file:///etc/passwd' },
  ],
  [
    'exclude each other',
    { OPSFLEET_AGENT_LLM_URL: 'http://127.0.0.1/', OPSFLEET_AGENT_LLM_FILE: '/usage.json' },
  ],
  ['OPSFLEET_AGENT_EXIT_WITH_PARENT must be one of true, false', { OPSFLEET_AGENT_EXIT_WITH_PARENT: '1' }],
  [
    'OPSFLEET_AGENT_CONFIG: the file /nowhere.json cannot be read',
    { OPSFLEET_AGENT_CONFIG: '/nowhere.json' },
  ],
  [
    'OPSFLEET_AGENT_REDIS_PASSWORD_FILE: the file /nowhere cannot be read',
    { OPSFLEET_AGENT_REDIS_PASSWORD_FILE: '/nowhere' },
  ],
  [
    'OPSFLEET_AGENT_REDIS_PASSWORD_FILE: the file /dev/null is not an ordinary file',
    { OPSFLEET_AGENT_REDIS_PASSWORD_FILE: '/dev/null' },
  ],
])('refused: %s (%j)', (message, environment) => {
  expect(refusal(environment)).toContain(message);
});

test.each([
  ['cannot be read as JSON', '{'],
  ['must hold one JSON object', '[]'],
  ['has an unknown setting "colour"', '{"colour": "blue"}'],
  ['has an unknown setting "__proto__"', '{"__proto__": "x"}'],
  ['must give services as a text', '{"services": [1]}'],
  ['must give port as a text', '{"port": null}'],
  ['is larger than 65536 bytes', JSON.stringify({ host: 'x'.repeat(70_000) })],
])('a file that %s is refused', (message, content) => {
  expect(refusal({ OPSFLEET_AGENT_CONFIG: file(content) })).toContain(message);
});

test('a secret that every user may read is none', () => {
  const config = file(JSON.stringify({ token }), 0o644);
  expect(refusal({ OPSFLEET_AGENT_CONFIG: config })).toContain('may be opened by every user');
  const tokenFile = file(token, 0o604);
  expect(refusal({ OPSFLEET_AGENT_TOKEN: undefined, OPSFLEET_AGENT_TOKEN_FILE: tokenFile })).toContain(
    tokenFile,
  );
  expect(read({ OPSFLEET_AGENT_CONFIG: file('{"port": 1}', 0o644) }).port).toBe(1);
});

test('a secret file has a limit, and no refusal repeats a secret', () => {
  const long = refusal({
    OPSFLEET_AGENT_TOKEN: undefined,
    OPSFLEET_AGENT_TOKEN_FILE: file('x'.repeat(5_000)),
  });
  expect(long).toContain('larger than 4096 bytes');
  expect(refusal({ OPSFLEET_AGENT_TOKEN: 'hunter2' })).not.toContain('hunter2');
});

test('the README explains exactly these settings', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  const explained = [...readme.matchAll(/^\| `OPSFLEET_AGENT_(\w+)` \|/gm)].map(([, name]) => name);
  expect(explained).toEqual([...settingNames, 'CONFIG']);
});
