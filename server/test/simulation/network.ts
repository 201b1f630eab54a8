import type { ServerId } from '../../src/ids.ts';
import type { Egress, EgressFailure, EgressReply, EgressRequest } from '../../src/platform/egress/client.ts';
import { createEgressPolicy } from '../../src/platform/egress/policy.ts';
import { metricsBody, wellBody } from '../fakes/managed-server.ts';
import { keyOf } from './ledger.ts';
import { createPartitions, type Partitions } from './partitions.ts';
import type { Process } from './process.ts';
import type { Random } from './random.ts';
import type { Timeline } from './timeline.ts';

/** What a managed server does to whoever asks it. */
export const conditions = ['well', 'refuses', 'black_hole', 'slow', 'http_503', 'garbage', 'deep'] as const;
export type ServerCondition = (typeof conditions)[number];
export const isWell = (condition: ServerCondition): boolean => condition === 'well' || condition === 'slow';

export type Kind = 'health' | 'metrics';

export type ManagedServer = {
  readonly id: ServerId;
  readonly origin: string;
  /** What it did since when, the newest last. */
  readonly history: { sinceMs: number; condition: ServerCondition }[];
  /** When checks of its health began, by whom; those that never reached it are among them. */
  readonly asked: { atMs: number; by: string }[];
};

/** One poll, as the network saw it: a few requests at most, the next where the last found something else there. */
export type Poll = {
  readonly server: ManagedServer;
  readonly kind: Kind;
  readonly by: Process;
  /** How its row of history is known. */
  readonly key: string;
  readonly askedMs: number;
  /** When the answer gets there. */
  answeredMs: number;
  /** When the process had the answer, whatever it was; null: it never did. */
  heardMs: number | null;
  found: 'well' | 'unusable' | 'nothing';
  /** It was the process that could not reach anybody. */
  wasBlind: boolean;
  /** It was the route from that process to that server. */
  wasCut: boolean;
  /** Made for another worker, whose result it may become. */
  readonly isTestimony: boolean;
};

/** When a poll began, by the clock on its process's wall. */
export const wallMs = ({ key }: Poll): number => Number(key.split(' ')[1]);

export type Network = {
  readonly servers: readonly ManagedServer[];
  /** In the order in which they began. */
  readonly polls: readonly Poll[];
  change(server: ManagedServer, condition: ServerCondition): void;
  conditionOf(server: ManagedServer): ServerCondition;
  /** Whether it was well all the time from then to then. */
  wasWell(server: ManagedServer, fromMs: number, toMs: number): boolean;
  /** Routes that lead nowhere. */
  readonly partitions: Partitions;
  egressOf(process: Process): Egress;
};

const connectTimeoutMs = 3_000;
const well = {
  health: Buffer.from(JSON.stringify(wellBody)),
  metrics: Buffer.from(JSON.stringify(metricsBody)),
};
const garbage = Buffer.from('<html>not what you asked for</html>');
const deep = Buffer.from('['.repeat(5_000));

export function createNetwork(
  timeline: Timeline,
  random: Random,
  known: readonly { id: ServerId; origin: string }[],
  isLookForAnother: (process: Process, id: ServerId) => boolean,
): Network {
  const servers: ManagedServer[] = known.map(({ id, origin }) => ({
    id,
    origin,
    history: [{ sinceMs: 0, condition: 'well' }],
    asked: [],
  }));
  const partitions = createPartitions(timeline, random);
  const byOrigin = new Map(servers.map(server => [server.origin, server]));
  const polls: Poll[] = [];
  /** The last poll of each process, server and kind, with the paths it has asked. */
  const last = new Map<string, { poll: Poll; paths: string[] }>();
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

  function answer(server: ManagedServer, kind: Kind): EgressReply | EgressFailure {
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

  /** The poll that a request belongs to: the next path of the last one, or a new one. */
  function pollOf(process: Process, server: ManagedServer, path: string): Poll {
    const kind = path.includes('metrics') ? 'metrics' : 'health';
    const place = `${process.name} ${server.id} ${kind}`;
    const nowMs = timeline.nowMs();
    const before = last.get(place);
    if (before?.poll.heardMs === nowMs && before.poll.found === 'unusable' && !before.paths.includes(path)) {
      before.paths.push(path);
      return before.poll;
    }
    const poll: Poll = {
      server,
      kind,
      by: process,
      key: keyOf({ serverId: server.id, at: process.clock.now() }),
      askedMs: nowMs,
      answeredMs: nowMs,
      heardMs: null,
      found: 'nothing',
      wasBlind: false,
      wasCut: false,
      isTestimony: kind === 'health' && isLookForAnother(process, server.id),
    };
    polls.push(poll);
    if (kind === 'health' && !poll.isTestimony) server.asked.push({ atMs: nowMs, by: process.name });
    last.set(place, { poll, paths: [path] });
    return poll;
  }

  function get(process: Process, request: EgressRequest): Promise<EgressReply | EgressFailure> {
    const server = byOrigin.get(request.url.origin)!;
    const poll = pollOf(process, server, request.url.path);
    poll.heardMs = null;
    poll.wasBlind ||= !process.reaches.servers;
    poll.wasCut ||= partitions.isCut(process, server.origin);
    const result =
      process.reaches.servers && !partitions.isCut(process, server.origin)
        ? answer(server, poll.kind)
        : failure(random.chance(0.5) ? 'unreachable' : 'timeout', random.between(1, connectTimeoutMs));
    poll.answeredMs = timeline.nowMs() + result.durationMs;
    return new Promise(resolve => {
      timeline.after(result.durationMs, () =>
        process.run(() => {
          poll.heardMs = timeline.nowMs();
          if (result.ok) poll.found = result.body === well[poll.kind] ? 'well' : 'unusable';
          resolve(result);
        }),
      );
    });
  }

  return {
    servers,
    polls,
    partitions,
    conditionOf,
    change(server, condition) {
      server.history.push({ sinceMs: timeline.nowMs(), condition });
    },
    wasWell: ({ history }, fromMs, toMs) =>
      history.every(
        ({ condition, sinceMs }, index) =>
          isWell(condition) ||
          sinceMs > toMs ||
          (history[index + 1]?.sinceMs ?? Number.POSITIVE_INFINITY) < fromMs,
      ),
    egressOf: process => ({
      policy: createEgressPolicy({ purpose: 'poll', allow: ['0.0.0.0/0'] }),
      get: request => get(process, request),
      check: async () => null,
      connect: async () => null,
      stats: () => {
        throw new Error('the simulation counts nothing');
      },
      forget: () => undefined,
      close: async () => undefined,
    }),
  };
}
