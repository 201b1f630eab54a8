import type { Egress, EgressFailure, EgressReply, EgressRequest } from '../../src/platform/egress/client.ts';
import { createEgressPolicy } from '../../src/platform/egress/policy.ts';
import { metricsBody, wellBody } from '../fakes/managed-server.ts';
import type { Process } from './process.ts';
import type { Random } from './random.ts';
import type { Timeline } from './timeline.ts';

/** What a managed server does to whoever asks it. */
export const conditions = ['well', 'refuses', 'black_hole', 'slow', 'http_503', 'garbage', 'deep'] as const;
export type ServerCondition = (typeof conditions)[number];
export const isWell = (condition: ServerCondition): boolean => condition === 'well' || condition === 'slow';

export type ManagedServer = {
  readonly origin: string;
  /** What it did since when, the newest last. */
  readonly history: { sinceMs: number; condition: ServerCondition }[];
  /** When it was asked for its health, by whom; tries that never arrived are among them. */
  readonly asked: { atMs: number; by: string }[];
};

export type Network = {
  readonly servers: readonly ManagedServer[];
  change(server: ManagedServer, condition: ServerCondition): void;
  conditionOf(server: ManagedServer): ServerCondition;
  /** Whether it was well all the time from then until now. */
  wasWellSince(server: ManagedServer, sinceMs: number): boolean;
  egressOf(process: Process): Egress;
};

const connectTimeoutMs = 3_000;
const well = {
  health: Buffer.from(JSON.stringify(wellBody)),
  metrics: Buffer.from(JSON.stringify(metricsBody)),
};
const garbage = Buffer.from('<html>not what you asked for</html>');
const deep = Buffer.from('['.repeat(5_000));

export function createNetwork(timeline: Timeline, random: Random, origins: readonly string[]): Network {
  const servers: ManagedServer[] = origins.map(origin => ({
    origin,
    history: [{ sinceMs: 0, condition: 'well' }],
    asked: [],
  }));
  const byOrigin = new Map(servers.map(server => [server.origin, server]));
  const conditionOf = (server: ManagedServer): ServerCondition => server.history.at(-1)!.condition;

  const failure = (reason: EgressFailure['reason'], durationMs: number): EgressFailure => ({
    ok: false,
    reason,
    detail: reason,
    durationMs,
  });
  const reply = (status: number, body: Buffer, durationMs: number): EgressReply => ({
    ok: true,
    status,
    headers: { 'content-type': 'application/json' },
    body,
    durationMs,
    remoteAddress: '192.0.2.1',
  });

  function answer(server: ManagedServer, kind: 'health' | 'metrics'): EgressReply | EgressFailure {
    const quickMs = random.between(1, 20);
    switch (conditionOf(server)) {
      case 'well':
        return reply(200, well[kind], quickMs);
      case 'slow':
        return reply(200, well[kind], random.between(1_000, 4_000));
      case 'refuses':
        return failure('refused', quickMs);
      case 'black_hole':
        return failure('timeout', connectTimeoutMs);
      case 'http_503':
        return reply(503, garbage, quickMs);
      case 'garbage':
        return reply(200, garbage, quickMs);
      case 'deep':
        return reply(200, deep, quickMs);
    }
  }

  function get(process: Process, request: EgressRequest): Promise<EgressReply | EgressFailure> {
    const server = byOrigin.get(request.url.origin)!;
    const kind = request.url.path.includes('metrics') ? 'metrics' : 'health';
    if (request.url.path === '/health') server.asked.push({ atMs: timeline.nowMs(), by: process.name });
    const result = process.reaches.servers
      ? answer(server, kind)
      : failure(random.chance(0.5) ? 'unreachable' : 'timeout', random.between(1, connectTimeoutMs));
    return new Promise(resolve => {
      timeline.after(result.durationMs, () => process.run(() => resolve(result)));
    });
  }

  return {
    servers,
    conditionOf,
    change(server, condition) {
      server.history.push({ sinceMs: timeline.nowMs(), condition });
    },
    wasWellSince: (server, sinceMs) =>
      server.history.every(
        ({ condition }, index) =>
          isWell(condition) || (server.history[index + 1]?.sinceMs ?? Number.POSITIVE_INFINITY) <= sinceMs,
      ),
    egressOf: process => ({
      policy: createEgressPolicy({ purpose: 'poll', allow: ['0.0.0.0/0'] }),
      get: request => get(process, request),
      check: async () => null,
      stats: () => {
        throw new Error('the simulation counts nothing');
      },
      forget: () => undefined,
      close: async () => undefined,
    }),
  };
}
