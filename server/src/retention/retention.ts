import type { PartitionedTable } from './partitions.ts';

/** What is kept for a time of its own. Sums of checks and of metrics are kept alike. */
export const retentionNames = ['checks', 'metrics', '5m', '15m', '1h', '1d', 'events'] as const;
export type RetentionName = (typeof retentionNames)[number];

/** For how many days each is kept. */
export type Retention = Readonly<Record<RetentionName, number>>;

/** Hours for 13 months, so that a year can be compared with the one before; days for five years. */
export const defaultRetention: Retention = {
  checks: 30,
  metrics: 30,
  '5m': 90,
  '15m': 180,
  '1h': 400,
  '1d': 1_830,
  events: 400,
};

const nameOf: Readonly<Record<PartitionedTable, RetentionName>> = {
  server_health_checks: 'checks',
  server_health_5m: '5m',
  server_health_15m: '15m',
  server_health_1h: '1h',
  server_health_1d: '1d',
  server_metrics_aggregated: 'metrics',
  server_metrics_5m: '5m',
  server_metrics_15m: '15m',
  server_metrics_1h: '1h',
  server_metrics_1d: '1d',
  events: 'events',
};

const dayMs = 86_400_000;
/** A day is summed up when it is over, and what comes late is late by hours. */
export const fewestDays = 3;
const mostDays = 36_500;

export const retentionDays = (table: PartitionedTable, retention: Retention): number =>
  retention[nameOf[table]];

/** Rows of before that are no longer kept. */
export const keptFrom = (table: PartitionedTable, now: Date, retention: Retention): Date =>
  daysBefore(now, retentionDays(table, retention));

/** So many whole days before an instant, and the one that has begun: partitions and sums of days begin at midnight UTC. */
export const daysBefore = (now: Date, days: number): Date =>
  new Date((Math.floor(now.getTime() / dayMs) - days) * dayMs);

/** As `formatRetention` writes it; what is not named is kept as it usually is. Refuses with what it may be. */
export function parseRetention(text: string, refuse: (why: string) => never): Retention {
  const retention: Record<RetentionName, number> = { ...defaultRetention };
  const named = new Set<string>();
  for (const part of text.split(',').map(each => each.trim())) {
    const [name, days, ...more] = part.split('=').map(each => each.trim());
    if (!isName(name) || days === undefined || more.length > 0)
      refuse(`must be names and days such as checks=30,1h=400; the names are ${retentionNames.join(', ')}`);
    if (named.has(name)) refuse(`names ${name} twice`);
    if (!/^\d{1,6}$/.test(days) || Number(days) < fewestDays || Number(days) > mostDays)
      refuse(`must keep ${name} for a whole number of days from ${fewestDays} to ${mostDays}`);
    named.add(name);
    retention[name] = Number(days);
  }
  const wrong = outOfOrder(retention);
  if (wrong !== null) refuse(wrong.why);
  return retention;
}

/**
 * Sums are made from what is shorter, again where some of it comes late: they stay at least as long. The first that would
 * not, and why it must; null where all do.
 */
export function outOfOrder(
  retention: Omit<Retention, 'events'>,
): { name: Exclude<RetentionName, 'events'>; why: string } | null {
  const sources = [
    ['checks', '5m'],
    ['metrics', '5m'],
    ['5m', '15m'],
    ['15m', '1h'],
    ['1h', '1d'],
  ] as const;
  for (const [shorter, longer] of sources) {
    if (retention[longer] < retention[shorter])
      return {
        name: longer,
        why: `must keep ${longer} (${retention[longer]} days) for at least as long as ${shorter} (${retention[shorter]} days), from which it is summed up`,
      };
  }
  return null;
}

const isName = (name: string | undefined): name is RetentionName =>
  retentionNames.some(known => known === name);

export const formatRetention = (retention: Retention): string =>
  retentionNames.map(name => `${name}=${retention[name]}`).join(',');
