import { setTimeout as sleep } from 'node:timers/promises';
import { type Database, sql } from '../../server/src/platform/db.ts';
import { withDatabase } from './fleet-data.ts';
import type { Scene } from './polled-fleet.ts';
import { pssBytes } from './proc.ts';
import type { SimulatorProcess } from './processes.ts';
import { KINDS, type Kind } from './simulator/request.ts';

/** What happened in one span of time. CPU in milliseconds, memory in bytes. */
export type Observation = {
  seconds: number;
  /** Checks that were answered with 200, by kind and together. */
  checks: Record<Kind, number> & { all: number };
  /** Checks that were answered and made in the span, as they are stored. */
  rows: number;
  /** Events that told of the health of servers that answer, made in the span. */
  changes: number;
  cpuMs: { pollers: number; api: number; postgres: number; simulators: number };
  /** The least and the most that the largest poller held, and the most of each of the others. */
  memory: {
    pollerMin: number;
    pollerMax: number;
    pollers: number;
    api: number;
    postgres: number;
    simulators: number;
  };
  /** By what the history tables and their indexes grew. */
  historyBytes: number;
  handshakes: { full: number; resumed: number };
  /** How the healthy servers saw it: sums of all simulators, and the worst of each percentile. */
  cadence: SeenCadence;
  simulatorStallMs: number;
};

export type SeenCadence = {
  judged: number;
  neverChecked: number;
  late: number;
  missed: number;
  overlaps: number;
  latenessMs: { p50: number; p90: number; p99: number; max: number };
};

/** Memory is read so often, and not more than every two seconds: the kernel walks all of a process's pages for it. */
const MOST_SAMPLES = 30;
const SAMPLE_MS = 2_000;
/** Results wait for a flush for a second, and PostgreSQL may be busy. */
const STORED_AFTER_MS = 3_000;

const HISTORY = ['server_health_checks', 'server_metrics_aggregated', 'events'];

/** Watches for so long. The judgement of the schedule begins anew with it. */
export function observe(scene: Scene, seconds: number): Promise<Observation> {
  return withDatabase(scene.controlPlane, async db => {
    await Promise.all(scene.simulators.map(simulator => simulator.reset()));
    const bytesBefore = await historyBytes(db);
    const before = await look(scene);
    const memory = await watchMemory(scene, seconds * 1000);
    const after = await look(scene);
    await sleep(STORED_AFTER_MS);
    const health = after.health - before.health;
    const metrics = after.metrics - before.metrics;
    return {
      seconds: (after.at.getTime() - before.at.getTime()) / 1000,
      checks: { health, metrics, all: health + metrics },
      rows: await rowsBetween(db, before.at, after.at),
      changes: await changesBetween(db, before.at, after.at),
      cpuMs: {
        pollers: after.pollersMs - before.pollersMs,
        api: after.apiMs - before.apiMs,
        postgres: after.postgresMs - before.postgresMs,
        simulators: after.simulatorsMs - before.simulatorsMs,
      },
      memory,
      historyBytes: (await historyBytes(db)) - bytesBefore,
      handshakes: {
        full: after.fullHandshakes - before.fullHandshakes,
        resumed: after.resumedHandshakes - before.resumedHandshakes,
      },
      cadence: after.cadence,
      simulatorStallMs: after.stallMs,
    };
  });
}

async function look({ controlPlane, workers, simulators }: Scene) {
  // All at the same moment, or what one part did while another was asked would be missing.
  const at = new Date();
  const [cpu, workersMs, stats, health, metrics] = await Promise.all([
    controlPlane.cpu(),
    Promise.all(workers.map(worker => worker.cpuMs())),
    Promise.all(simulators.map(simulator => simulator.stats())),
    Promise.all(simulators.map(simulator => simulator.answered('health'))),
    Promise.all(simulators.map(simulator => simulator.answered('metrics'))),
  ]);
  return {
    at,
    pollersMs: sum(workersMs),
    apiMs: cpu.ownMs,
    postgresMs: cpu.postgresMs,
    simulatorsMs: sum(stats.map(each => each.cpuMs)),
    health: sum(health.flat()),
    metrics: sum(metrics.flat()),
    fullHandshakes: sum(stats.map(each => each.handshakes?.full ?? 0)),
    resumedHandshakes: sum(stats.map(each => each.handshakes?.resumed ?? 0)),
    cadence: seenBy(stats),
    stallMs: Math.max(...stats.map(each => each.loopDelayMaxMs)),
  };
}

/** What healthy servers saw, over both kinds of check. */
export function seenBy(
  stats: readonly Pick<Awaited<ReturnType<SimulatorProcess['stats']>>, 'cadence'>[],
): SeenCadence {
  const all = stats.flatMap(({ cadence }) => KINDS.flatMap(kind => cadence.healthy?.[kind] ?? []));
  const total = (key: 'checks' | 'neverChecked' | 'late' | 'missed' | 'overlaps'): number =>
    sum(all.map(cadence => cadence[key]));
  const worst = (key: 'p50' | 'p90' | 'p99' | 'max'): number =>
    Math.max(0, ...all.map(cadence => cadence.latenessMs[key]));
  return {
    judged: total('checks'),
    neverChecked: total('neverChecked'),
    late: total('late'),
    missed: total('missed'),
    overlaps: total('overlaps'),
    latenessMs: { p50: worst('p50'), p90: worst('p90'), p99: worst('p99'), max: worst('max') },
  };
}

async function watchMemory(scene: Scene, ms: number): Promise<Observation['memory']> {
  const { controlPlane, workers, simulators } = scene;
  const most = {
    pollerMin: Number.POSITIVE_INFINITY,
    pollerMax: 0,
    pollers: 0,
    api: 0,
    postgres: 0,
    simulators: 0,
  };
  const sampleMs = Math.max(SAMPLE_MS, ms / MOST_SAMPLES);
  const endMs = performance.now() + ms;
  for (let leftMs = ms; leftMs > 0; leftMs = endMs - performance.now()) {
    await sleep(Math.min(sampleMs, leftMs));
    const { own, postgres } = await controlPlane.residentBytes();
    const pollers = await Promise.all(workers.map(worker => worker.residentBytes()));
    const simulated = await Promise.all(simulators.map(({ pid }) => pssBytes(pid)));
    most.pollerMin = Math.min(most.pollerMin, Math.max(...pollers));
    most.pollerMax = Math.max(most.pollerMax, ...pollers);
    most.pollers = Math.max(most.pollers, sum(pollers));
    most.api = Math.max(most.api, own);
    most.postgres = Math.max(most.postgres, postgres);
    most.simulators = Math.max(most.simulators, sum(simulated));
  }
  return most;
}

async function rowsBetween(db: Database, from: Date, to: Date): Promise<number> {
  const { count } = await db.system.one(sql<{ count: number }>`
    select ((select count(*) from server_health_checks where timestamp >= ${from} and timestamp < ${to})
          + (select count(*) from server_metrics_aggregated where timestamp >= ${from} and timestamp < ${to}))::int as count`);
  return count;
}

/** Of servers that answer: a black hole is found to be one while a short bench measures. */
async function changesBetween(db: Database, from: Date, to: Date): Promise<number> {
  const { count } = await db.system.one(sql<{ count: number }>`
    select count(*)::int as count from events e
    where type = 'server.health_changed' and created_at >= ${from} and created_at < ${to}
      and exists (
        select from server_health_checks c
        where c.organization_id = e.organization_id and c.server_id = e.subject_id and c.status = 'healthy'
          and c.timestamp >= ${from} and c.timestamp < ${to})`);
  return count;
}

async function historyBytes(db: Database): Promise<number> {
  const { bytes } = await db.system.one(sql<{ bytes: number }>`
    select sum(pg_total_relation_size(tree.relid))::float8 as bytes
    from unnest(${HISTORY}::text[]) as name, pg_partition_tree(name::regclass) as tree where tree.isleaf`);
  return bytes;
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
