import type { Observation } from '../observe.ts';
import type { CapacityOptions } from './options.ts';

/** What a fleet cost this machine, and what the machine could carry. Also the JSON that is printed. */
export type Capacity = {
  fleet: Omit<CapacityOptions, 'seconds' | 'json'>;
  /** How long was measured. */
  seconds: number;
  checksPerSecond: number;
  /** Processor time of the polling process and of PostgreSQL for each check, storing it included. */
  cpuPerCheckUs: { polling: number; postgres: number };
  /** How much later than one interval after its predecessor a check reached its server. */
  latenessMs: { p50: number; p90: number; p99: number; max: number };
  /** Servers that were never checked, and checks that came more than two intervals after the one before. */
  neverChecked: number;
  missed: number;
  rowsPerSecond: number;
  /** Of the history and its indexes, without what retention drops. */
  databaseBytesPerDay: number;
  memoryBytes: { polling: number; api: number; postgres: number };
  headroom: {
    /** How many servers at these intervals take the whole of one core, polling and storing. */
    serversPerCore: number;
    arithmetic: string;
  };
};

const DAY_SECONDS = 86_400;

/** Works out what was observed. Throws a RangeError when nothing was checked: there is nothing to divide by. */
export function capacityOf(options: CapacityOptions, seen: Observation): Capacity {
  const { checks, cpuMs, seconds, memory, cadence } = seen;
  if (checks.all === 0) throw new RangeError('no server was checked while it was measured');
  const { servers, healthSeconds, metricsSeconds, tls } = options;
  const polling = (1000 * cpuMs.pollers) / checks.all;
  const postgres = (1000 * cpuMs.postgres) / checks.all;
  return {
    fleet: { servers, healthSeconds, metricsSeconds, tls },
    seconds,
    checksPerSecond: checks.all / seconds,
    cpuPerCheckUs: { polling, postgres },
    latenessMs: cadence.latenessMs,
    neverChecked: cadence.neverChecked,
    missed: cadence.missed,
    rowsPerSecond: seen.rows / seconds,
    databaseBytesPerDay: (seen.historyBytes * DAY_SECONDS) / seconds,
    memoryBytes: { polling: memory.pollers, api: memory.api, postgres: memory.postgres },
    headroom: headroomOf({ polling, postgres }, options),
  };
}

/** One core has 1,000,000 µs a second; a server takes its checks a second times what a check costs. */
function headroomOf(
  { polling, postgres }: Capacity['cpuPerCheckUs'],
  { healthSeconds, metricsSeconds }: CapacityOptions,
): Capacity['headroom'] {
  const usPerServer = (polling + postgres) * (1 / healthSeconds + 1 / metricsSeconds);
  return {
    // The kernel counts in steps of 10 ms: a check that seemed free says nothing of the machine.
    serversPerCore: usPerServer === 0 ? 0 : Math.floor(1e6 / usPerServer),
    arithmetic:
      `1,000,000 µs ÷ ((${whole(polling)} + ${whole(postgres)}) µs × ` +
      `(1/${healthSeconds} + 1/${metricsSeconds}) checks/s)`,
  };
}

/** The table that people read. */
export function formatCapacity(capacity: Capacity): string {
  const { fleet, cpuPerCheckUs, latenessMs, memoryBytes, headroom } = capacity;
  const megabytes = (bytes: number): string => `${whole(bytes / 1e6)} MB`;
  const rows: readonly (readonly [string, string])[] = [
    ['checks', `${decimal(capacity.checksPerSecond)} a second`],
    [
      'CPU per check',
      `polling ${whole(cpuPerCheckUs.polling)} µs, PostgreSQL ${whole(cpuPerCheckUs.postgres)} µs`,
    ],
    [
      'lateness',
      `p50 ${whole(latenessMs.p50)} ms, p90 ${whole(latenessMs.p90)} ms, p99 ${whole(latenessMs.p99)} ms, ` +
        `worst ${whole(latenessMs.max)} ms`,
    ],
    ['missed', `${capacity.missed} checks, ${capacity.neverChecked} servers never checked`],
    ['rows stored', `${decimal(capacity.rowsPerSecond)} a second`],
    ['database', `grows by ${decimal(capacity.databaseBytesPerDay / 1e9)} GB a day, before retention`],
    [
      'memory',
      `polling ${megabytes(memoryBytes.polling)}, API ${megabytes(memoryBytes.api)}, ` +
        `PostgreSQL ${megabytes(memoryBytes.postgres)}`,
    ],
    ['headroom', `${whole(headroom.serversPerCore)} servers for each core of this machine`],
    ['', headroom.arithmetic],
  ];
  const title =
    `${whole(fleet.servers)} simulated servers over ${fleet.tls ? 'https' : 'http'}, health every ` +
    `${fleet.healthSeconds} s, metrics every ${fleet.metricsSeconds} s, measured for ${whole(capacity.seconds)} s`;
  const width = Math.max(...rows.map(([name]) => name.length));
  return [title, '', ...rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`)].join('\n');
}

const whole = (value: number): string => Math.round(value).toLocaleString('en');
const decimal = (value: number): string => value.toLocaleString('en', { maximumSignificantDigits: 3 });
