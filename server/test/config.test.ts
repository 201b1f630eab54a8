import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { declarations, readSettings } from '../src/config.ts';
import { defaultRetention } from '../src/retention/retention.ts';

const read = (environment: Record<string, string>, uid = 1000) =>
  readSettings({ XDG_DATA_HOME: '/data', ...environment }, uid);

describe('the table of settings in the README', () => {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
  const plain = (cell: string): string => cell.replaceAll('`', '').trim();
  const rows = [...readme.matchAll(/^\| *`([A-Z][A-Z_]+)` *\|([^|]*)\|/gm)].map(([, name, fallback]) => ({
    name: name!,
    fallback: plain(fallback!),
  }));

  it('has every setting with its default, and no other', () => {
    const declared = Object.values(declarations).map(({ variable, fallback }) => ({
      name: variable,
      fallback: plain(fallback),
    }));
    expect(rows.toSorted((a, b) => (a.name < b.name ? -1 : 1))).toEqual(
      declared.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    );
  });
});

describe('reading settings', () => {
  it('takes the documented defaults where the environment says nothing', () => {
    expect(read({})).toEqual({
      host: '127.0.0.1',
      port: 7700,
      publicUrl: null,
      dataDir: '/data/opsfleet',
      databaseUrl: null,
      databasePoolSize: 4,
      sharedBuffersMib: 64,
      hugePages: 'off',
      role: 'all',
      adminToken: null,
      masterKey: null,
      masterKeyFile: null,
      localAgent: true,
      egressAllow: [],
      references: [],
      healthIntervalMs: 30_000,
      metricsIntervalMs: 60_000,
      spoolLimitBytes: 1024 * 1024 * 1024,
      partitionInterval: 'month',
      retention: defaultRetention,
      archive: 'unchanged',
      rateLimitPerMinute: 1_200,
      logLevel: 'warn',
    });
  });

  it('reads how history is kept', () => {
    const kept = read({ OPSFLEET_RETENTION: 'events=30', OPSFLEET_ARCHIVE_DIR: '/archive' });
    expect(kept).toMatchObject({
      retention: { ...defaultRetention, events: 30 },
      archive: { directory: '/archive' },
    });
    expect(read({ OPSFLEET_ARCHIVE_DIR: 'none' }).archive).toBe('none');
  });

  it('takes an empty value for none', () => {
    const empty = Object.fromEntries(Object.values(declarations).map(({ variable }) => [variable, ' ']));
    expect(read(empty)).toEqual(read({}));
  });

  it('keeps its data where the one who starts it may write', () => {
    expect(readSettings({}, 0).dataDir).toBe('/var/lib/opsfleet');
    expect(read({ XDG_DATA_HOME: 'relative' }).dataDir).toMatch(/\/\.local\/share\/opsfleet$/);
    expect(read({ OPSFLEET_DATA_DIR: '/elsewhere' }, 0).dataDir).toBe('/elsewhere');
  });

  it('takes seconds with fractions', () => {
    expect(read({ FLEET_HEALTH_INTERVAL: '0.5' }).healthIntervalMs).toBe(500);
  });

  it('takes a list with spaces around its commas', () => {
    expect(read({ OPSFLEET_EGRESS_ALLOW: ' 127.0.0.0/8 , ::1/128,' }).egressAllow).toEqual([
      '127.0.0.0/8',
      '::1/128',
    ]);
  });

  it('takes references anywhere, by http or by a mere connection', () => {
    const text = '127.0.0.1:22, [2001:db8::1]:53, http://gateway.internal/, https://example.com/up?x=1';
    expect(
      read({ OPSFLEET_REFERENCES: text }).references.map(({ target, url, isHttp }) => [
        target,
        isHttp,
        url.hostname,
        url.port,
      ]),
    ).toEqual([
      ['127.0.0.1:22', false, '127.0.0.1', 22],
      ['[2001:db8::1]:53', false, '2001:db8::1', 53],
      ['http://gateway.internal/', true, 'gateway.internal', 80],
      ['https://example.com/up?x=1', true, 'example.com', 443],
    ]);
  });

  it('takes the origin of a public address', () => {
    expect(read({ OPSFLEET_PUBLIC_URL: 'https://Fleet.example.com:443/' }).publicUrl).toBe(
      'https://fleet.example.com',
    );
  });

  it.each([
    ['OPSFLEET_PORT', '65536', 'must be a whole number from 0 to 65535'],
    ['OPSFLEET_PORT', '1e3', 'must be a whole number from 0 to 65535'],
    ['OPSFLEET_DATABASE_POOL', '1', 'must be a whole number from 2 to 1000'],
    ['OPSFLEET_DATABASE_MEMORY', '15', 'must be a whole number from 16 to 65536'],
    ['OPSFLEET_DATABASE_HUGE_PAGES', 'true', 'must be one of off, try, on'],
    ['OPSFLEET_SPOOL_LIMIT', '0', 'must be a whole number from 1 to 1048576'],
    ['OPSFLEET_RATE_LIMIT', '-1', 'must be a whole number from 0 to 10000000'],
    ['FLEET_HEALTH_INTERVAL', '0', 'must be seconds from 0.1 to 86400'],
    ['FLEET_METRICS_INTERVAL', '1m', 'must be seconds from 0.1 to 86400'],
    ['OPSFLEET_ROLE', 'master', 'must be one of all, api, worker'],
    ['OPSFLEET_LOCAL_AGENT', 'yes', 'must be one of true, false'],
    ['OPSFLEET_LOG_LEVEL', 'loud', 'must be one of trace, debug, info, warn, error, fatal'],
    ['OPSFLEET_EGRESS_ALLOW', '127.0.0.1', 'must be CIDRs like 10.0.0.0/8, and "127.0.0.1" is none'],
    ['OPSFLEET_RETENTION', 'checks=0', 'must keep checks for a whole number of days from 3 to 36500'],
    ['OPSFLEET_ARCHIVE_DIR', 'archive', 'must be an absolute path, or none'],
    ['OPSFLEET_REFERENCES', 'gateway', 'must be a host and a port, like 192.0.2.1:53; "gateway" is refused'],
    ['OPSFLEET_REFERENCES', '192.0.2.1:53,gateway:0', 'must not use port 0; "gateway:0" is refused'],
    ['OPSFLEET_REFERENCES', '192.0.2.1:65536', 'must be a host and a port'],
    ['OPSFLEET_REFERENCES', 'https://u:p@example.com', 'must not contain a user name or password'],
    ['OPSFLEET_REFERENCES', 'ftp://example.com', 'must start with https:// and a host'],
    [
      'OPSFLEET_REFERENCES',
      Array.from({ length: 11 }, (_, n) => `192.0.2.${n}:53`).join(),
      'must name 10 targets at most',
    ],
    ['OPSFLEET_PUBLIC_URL', 'https://example.com/fleet', 'must be an http(s) address without a path'],
    ['OPSFLEET_PUBLIC_URL', 'ftp://example.com', 'must be an http(s) address without a path'],
    ['OPSFLEET_ADMIN_TOKEN', 'x'.repeat(31), 'must be 32 to 512 characters long'],
    ['OPSFLEET_ADMIN_TOKEN', `${'x'.repeat(32)} y`, 'must be printable ASCII without spaces'],
    ['DATABASE_URL', 'mysql://host/database', 'must start with postgres://'],
    ['DATABASE_URL', 'postgres://user:pa#ss@host:port/database', 'must be an address'],
  ])('refuses %s=%s by its name', (variable, value, message) => {
    expect(() => read({ [variable]: value })).toThrow(`${variable} ${message}`);
  });

  it.each(['OPSFLEET_ADMIN_TOKEN', 'DATABASE_URL'])(
    'does not repeat the value of %s, which is a secret',
    variable => {
      const value = `postgres://user:p\u00e4ss word@host:port/${'x'.repeat(32)}`;
      const refusal = (() => {
        try {
          return read({ [variable]: value });
        } catch (error) {
          return error;
        }
      })();
      expect(refusal).toBeInstanceOf(Error);
      expect(String(refusal)).not.toContain('ss word');
    },
  );
});

it('a database may be named by its socket directory, as libpq writes it', () => {
  const url = 'postgres://opsfleet@/fleet?host=/run/postgresql&port=5433';
  expect(readSettings({ DATABASE_URL: url }, 0).databaseUrl).toBe(url);
});
