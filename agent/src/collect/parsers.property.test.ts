import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { fixture } from '../../test/fixtures.ts';
import { readReply as readPostgresReply } from '../check/postgres.ts';
import { readReply as readRedisReply } from '../check/redis.ts';
import { cpuPercent, parseCpuTimes } from './cpu.ts';
import { localMounts, parseMounts, usedPercent } from './disk.ts';
import { parseMemoryPercent } from './memory.ts';
import { parseInterfaces } from './network.ts';
import { countLoaded, countNamed, parseUnits } from './services.ts';
import { countAccounts, parseSessions, parseUtmp } from './users.ts';

/** Arbitrary text, and real text with pieces replaced by arbitrary ones: that gets past the first check. */
function mangled(name: string): fc.Arbitrary<string> {
  const real = fixture(name);
  const piece = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('0', '-1', '1e999', 'NaN', '9'.repeat(30), '\n', ' ', ':', '='),
  );
  const spliced = fc
    .tuple(fc.nat(real.length), fc.nat(40), piece)
    .map(([at, cut, text]) => real.slice(0, at) + text + real.slice(at + cut));
  return fc.oneof(fc.string({ unit: 'binary' }), spliced);
}

/** The value, or undefined for text that the parser refuses with an Error. */
function parsed<Value>(parse: () => Value): Value | undefined {
  try {
    return parse();
  } catch (error) {
    expect(error).toBeInstanceOf(Error);
    expect((error as Error).message).toMatch(/^\/proc\//);
    return undefined;
  }
}

const isPercent = (value: number | undefined): boolean => value === undefined || (value >= 0 && value <= 100);
const isCount = (value: number): boolean => Number.isInteger(value) && value >= 0;

test('processor time: a share between 0 and 100, or none', () => {
  const times = mangled('stat-virtual-host-with-guests.txt').map(text => parsed(() => parseCpuTimes(text)));
  fc.assert(
    fc.property(times, times, (before, after) => {
      if (before !== undefined && after !== undefined)
        expect(isPercent(cpuPercent(before, after))).toBe(true);
    }),
  );
});

test('memory: a share between 0 and 100, or a refusal', () => {
  fc.assert(
    fc.property(mangled('meminfo-linux-2.6.32.txt'), text => {
      expect(isPercent(parsed(() => parseMemoryPercent(text)))).toBe(true);
    }),
  );
});

test('mounts: absolute paths, each source once', () => {
  fc.assert(
    fc.property(mangled('mounts-debian-12.txt'), text => {
      const mounts = localMounts(parseMounts(text));
      expect(mounts.every(mount => mount.mountPoint.startsWith('/'))).toBe(true);
      expect(new Set(mounts.map(mount => mount.source)).size).toBe(mounts.length);
    }),
  );
});

test('file system sizes: a share between 0 and 100, or none', () => {
  const size = fc.oneof(fc.nat(), fc.double());
  fc.assert(
    fc.property(fc.record({ blocks: size, bfree: size, bavail: size }), sizes => {
      expect(isPercent(usedPercent(sizes))).toBe(true);
    }),
  );
});

test('network: finite counters that are not negative', () => {
  fc.assert(
    fc.property(mangled('net-dev-debian-12-docker.txt'), text => {
      for (const { rxBytes, txBytes } of parseInterfaces(text)) {
        expect(Number.isFinite(rxBytes) && rxBytes >= 0 && Number.isFinite(txBytes) && txBytes >= 0).toBe(
          true,
        );
      }
    }),
  );
});

test('services: no more active and failed ones than there are', () => {
  fc.assert(
    fc.property(mangled('systemctl-show-debian-12.txt'), text => {
      for (const { active, failed, total } of [countLoaded(parseUnits(text)), countNamed(parseUnits(text))]) {
        expect(isCount(active) && isCount(failed) && active + failed <= total).toBe(true);
      }
    }),
  );
});

test('users: counts, whatever the files hold', () => {
  const bytes = fc.uint8Array({ maxLength: 1200 }).map(array => Buffer.from(array));
  fc.assert(
    fc.property(
      mangled('passwd-debian-12.txt'),
      mangled('loginctl-systemd-257.txt'),
      bytes,
      (text, table, utmp) => {
        expect(isCount(countAccounts(text, text))).toBe(true);
        expect(isCount(parseSessions(table).size)).toBe(true);
        expect(parseUtmp(utmp, 384, () => true).size).toBeLessThanOrEqual(3);
      },
    ),
  );
});

test('replies of checked programs: a finding or a wish for more', () => {
  const bytes = fc
    .tuple(fc.constantFrom('', 'R', 'E\0\0\0', '-LOADING ', '+PONG', '$'), fc.uint8Array({ maxLength: 64 }))
    .map(([start, rest]) => Buffer.concat([Buffer.from(start), rest]));
  fc.assert(
    fc.property(bytes, reply => {
      for (const finding of [readPostgresReply(reply), readRedisReply(reply, 1)]) {
        if (finding !== undefined) expect(['ok', 'degraded', 'failed']).toContain(finding.status);
      }
    }),
  );
});
