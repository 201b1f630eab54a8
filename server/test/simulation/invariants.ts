import { healthIntervalMs as intervalOf } from '../../src/health/breaker.ts';
import type { Accounts } from './accounts.ts';
import type { Fault } from './nemesis.ts';
import { isWell, type Poll, wallMs } from './network.ts';
import { unwitnessed } from './unwitnessed.ts';
import { wrongVerdicts } from './verdicts.ts';
import { healthIntervalMs, metricsIntervalMs, type World } from './world.ts';

const storedAfterMs = 5_000;
const drainMs = 2_000;

/** A sentence for every promise that was broken, once all workers have ended and every spool should be empty. */
export function broken(
  world: World,
  accounts: Accounts,
  options: { storm: boolean; judgedMs: number; faults: readonly Fault[] },
): string[] {
  return [
    ...accounts.broken,
    ...leftOnDisk(world),
    ...notWaitedFor(world),
    ...wrongVerdicts(world),
    ...unwitnessed(world, options.faults),
    ...wrongConditions(world),
    ...(options.storm ? [] : [...late(world, options.judgedMs), ...withoutMetrics(world, options.judgedMs)]),
  ];
}

function leftOnDisk({ machines }: World): string[] {
  return machines.flatMap(({ name, files }) =>
    files().map(({ path, bytes }) => `${name} has ${bytes} bytes left in ${path} in the end`),
  );
}

/** Who is told to end waits for the answers that come within two seconds; who asked for a testimony does without. */
function notWaitedFor({ network, workers }: World): string[] {
  const stopped = new Map(
    workers.flatMap(({ process, end, stoppingMs }) =>
      end?.how === 'stopped' ? [[process, stoppingMs!] as const] : [],
    ),
  );
  return network.polls.flatMap(({ server, kind, by, heardMs, answeredMs, isTestimony }) => {
    const untilMs = (stopped.get(by) ?? Number.NEGATIVE_INFINITY) + drainMs;
    return !isTestimony && heardMs === null && answeredMs < untilMs
      ? [`${by.name} ended and did not wait for the ${kind} of ${server.origin} at ${answeredMs} ms`]
      : [];
  });
}

/** Each condition is told when it begins and when it ends, in turn. */
function wrongConditions({ database }: World): string[] {
  const open = new Set<string>();
  return database.tables.events.flatMap(event => {
    if (event.type !== 'condition.began' && event.type !== 'condition.ended') return [];
    const { condition } = event.data;
    const isNews = open.has(condition) === (event.type === 'condition.ended');
    if (event.type === 'condition.began') open.add(condition);
    else open.delete(condition);
    return isNews ? [] : [`${event.type} of ${condition} was told out of turn at ${event.at.toISOString()}`];
  });
}

/** Left alone for long enough, we know the truth about everybody, and nothing is wrong with us. */
export function wrongInTheEnd({ database, network, running }: World): string[] {
  const { slots, servers, conditions } = database.tables;
  const owned = slots.filter(({ owner }) => owner !== null).length;
  const wrong = network.servers.flatMap(server => {
    const { name, state } = servers.get(server.id)!;
    const condition = network.conditionOf(server);
    return (state.status === 'healthy') === isWell(condition)
      ? []
      : [`${name} is ${condition} in the end, and is called ${state.status} (${state.reason})`];
  });
  return [
    ...wrong,
    ...(owned === slots.length ? [] : [`only ${owned} slots are polled in the end`]),
    ...(running().length === 0 ? ['no worker runs in the end'] : []),
    ...Object.keys(conditions()).map(condition => `${condition} holds in the end`),
  ];
}

/**
 * No check starts more than two of its server's intervals after the one before, whatever single fault there was:
 * none is excused. Faults that come together are, and so is the end, when all workers are stopped.
 */
function late({ network, database }: World, judgedMs: number): string[] {
  const checks = network.polls.filter(({ kind, askedMs }) => kind === 'health' && askedMs < judgedMs);
  return network.servers.flatMap(server => {
    const own = checks.filter(poll => poll.server === server);
    return [...own, null].flatMap((poll, index) => {
      const before = own[index - 1];
      const gapMs = (poll?.askedMs ?? judgedMs) - (before?.askedMs ?? 0);
      if (gapMs <= 2 * healthIntervalMs || gapMs <= 2 * intervalAfter(database, before)) return [];
      const until = `${poll?.askedMs ?? judgedMs} ms, last asked by ${before?.by.name ?? 'nobody'}`;
      return [`${server.origin} was left alone for ${gapMs} ms until ${until}`];
    });
  });
}

/** For as long as a server that has been called down may be spared. */
const sparedMs = 6 * 60_000;

/** The same of the metrics of servers that were well all the time, and long before. */
function withoutMetrics({ network }: World, judgedMs: number): string[] {
  const polls = network.polls.filter(({ kind, askedMs }) => kind === 'metrics' && askedMs < judgedMs);
  return network.servers.flatMap(server => {
    const own = polls.filter(poll => poll.server === server).map(({ askedMs }) => askedMs);
    return [...own, judgedMs].flatMap((untilMs, index) => {
      const fromMs = own[index - 1] ?? 0;
      const gapMs = untilMs - fromMs;
      if (gapMs <= 2 * metricsIntervalMs || !network.wasWell(server, fromMs - sparedMs, untilMs)) return [];
      return [`nobody asked ${server.origin} for metrics for ${gapMs} ms until ${untilMs} ms`];
    });
  });
}

/** How far apart the checks of a server are from this one on: one that is down is spared, by the wall's clock. */
function intervalAfter({ tables }: World['database'], poll: Poll | undefined): number {
  if (poll === undefined) return healthIntervalMs;
  const { id } = poll.server;
  const known = tables.applied.findLast(
    ({ write, atMs }) => write.id === id && atMs <= (poll.heardMs ?? poll.askedMs) + storedAfterMs,
  );
  if (known === undefined) return healthIntervalMs;
  return intervalOf(known.write.state, healthIntervalMs, new Date(wallMs(poll)), id);
}
