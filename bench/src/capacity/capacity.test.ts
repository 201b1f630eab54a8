import { describe, expect, it } from 'vitest';
import type { Observation } from '../observe.ts';
import { capacityOf, formatCapacity } from './capacity.ts';

const OPTIONS = {
  servers: 2_000,
  seconds: 60,
  healthSeconds: 30,
  metricsSeconds: 60,
  tls: true,
  json: false,
};

const SEEN: Observation = {
  seconds: 60,
  checks: { health: 4_000, metrics: 2_000, all: 6_000 },
  changes: 0,
  rows: 5_940,
  cpuMs: { pollers: 600, api: 50, postgres: 150, simulators: 90 },
  memory: {
    pollerMin: 90e6,
    pollerMax: 101e6,
    pollers: 101e6,
    api: 80e6,
    postgres: 60e6,
    simulators: 70e6,
  },
  historyBytes: 1_200_000,
  handshakes: { full: 0, resumed: 0 },
  cadence: {
    judged: 6_000,
    neverChecked: 0,
    late: 3,
    missed: 1,
    overlaps: 0,
    latenessMs: { p50: 4, p90: 20, p99: 90, max: 2_340 },
  },
  simulatorStallMs: 5,
};

describe('capacityOf', () => {
  it('divides what was spent by what was checked, and a core by what a server takes of it', () => {
    const capacity = capacityOf(OPTIONS, SEEN);
    expect(capacity).toMatchObject({
      fleet: { servers: 2_000, healthSeconds: 30, metricsSeconds: 60, tls: true },
      checksPerSecond: 100,
      cpuPerCheckUs: { polling: 100, postgres: 25 },
      rowsPerSecond: 99,
      databaseBytesPerDay: 1_728_000_000,
      missed: 1,
    });
    // 125 µs for each check, 0.05 checks a second.
    expect(capacity.headroom).toEqual({
      serversPerCore: 160_000,
      arithmetic: '1,000,000 µs ÷ ((100 + 25) µs × (1/30 + 1/60) checks/s)',
    });
  });

  it('has nothing to say where nobody was checked', () => {
    const nothing = { ...SEEN, checks: { health: 0, metrics: 0, all: 0 } };
    expect(() => capacityOf(OPTIONS, nothing)).toThrow('no server was checked');
  });
});

describe('formatCapacity', () => {
  it('prints a line for each fact', () => {
    expect(formatCapacity(capacityOf(OPTIONS, SEEN))).toBe(
      `2,000 simulated servers over https, health every 30 s, metrics every 60 s, measured for 60 s

checks         100 a second
CPU per check  polling 100 µs, PostgreSQL 25 µs
lateness       p50 4 ms, p90 20 ms, p99 90 ms, worst 2,340 ms
missed         1 checks, 0 servers never checked
rows stored    99 a second
database       grows by 1.73 GB a day, before retention
memory         polling 101 MB, API 80 MB, PostgreSQL 60 MB
headroom       160,000 servers for each core of this machine
               1,000,000 µs ÷ ((100 + 25) µs × (1/30 + 1/60) checks/s)`,
    );
  });
});
