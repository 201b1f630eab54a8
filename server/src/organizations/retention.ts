import { invalidField } from '../platform/http/errors.ts';
import { daysBefore, outOfOrder, type Retention } from '../retention/retention.ts';

/** The history that an organization may have told for a shorter time. Events have other readers than its people. */
export const historyNames = ['checks', 'metrics', '5m', '15m', '1h', '1d'] as const;
export type HistoryName = (typeof historyNames)[number];

/** For how many days it wants to be told of each; what it leaves out, for as long as the installation keeps it. */
export type OwnRetention = Readonly<Partial<Record<HistoryName, number>>>;

/** How far back some history goes. Both are midnight UTC. */
export type Horizon = {
  /** From here on it is kept for the organization. */
  keptFrom: Date;
  /** Nothing of before is told, as the organization chose. Null: whatever is there, also of an archive brought back. */
  readFrom: Date | null;
};
export type Horizons = Readonly<Record<HistoryName, Horizon>>;

/** The number of days for which each is kept: those of its own, unless the installation keeps less. */
export const retentionWithin = (limits: Retention, own: OwnRetention): Record<HistoryName, number> =>
  byName(name => Math.min(limits[name], own[name] ?? limits[name]));

export function horizonsOf(limits: Retention, own: OwnRetention, now: Date): Horizons {
  const days = retentionWithin(limits, own);
  return byName(name => {
    const keptFrom = daysBefore(now, days[name]);
    return { keptFrom, readFrom: own[name] === undefined ? null : keptFrom };
  });
}

/** What of a range is told; null is open. */
export const toldOf = <From extends Date | null, To extends Date | null>(
  { from, to }: { from: From; to: To },
  { readFrom }: Pick<Horizon, 'readFrom'>,
): { from: From | Date; to: To } => ({
  from: readFrom !== null && (from === null || readFrom > from) ? readFrom : from,
  to,
});

/** Refuses one that keeps something for longer than the installation does, or sums for less time than what is in them. */
export function checkOwnRetention(own: OwnRetention, limits: Retention): void {
  for (const name of historyNames) {
    if ((own[name] ?? 0) > limits[name])
      throw invalidField(`/${name}`, `must be at most ${limits[name]}, for which the installation keeps it`);
  }
  const wrong = outOfOrder(retentionWithin(limits, own));
  if (wrong !== null) throw invalidField(`/${wrong.name}`, wrong.why);
}

const byName = <T>(valueOf: (name: HistoryName) => T): Record<HistoryName, T> =>
  Object.fromEntries(historyNames.map(name => [name, valueOf(name)])) as Record<HistoryName, T>;
