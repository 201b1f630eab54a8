import type { OrganizationId, ServerId } from '../ids.ts';
import type { SystemTx } from '../platform/db.ts';

/** The periods that history is summed up to and stored, the shortest first: each from the one before it. */
export const rollupPeriods = ['5m', '15m', '1h', '1d'] as const;
export type RollupPeriod = (typeof rollupPeriods)[number];

export const rollupPeriodMs: Readonly<Record<RollupPeriod, number>> = {
  '5m': 300_000,
  '15m': 900_000,
  '1h': 3_600_000,
  '1d': 86_400_000,
};

/** What is summed up: each kind has tables, progress and late rows of its own. */
export type RollupKind = 'health' | 'metrics';

/** Where the period of an instant begins: at a multiple of its length since 1970, so that days are those of UTC. */
export const periodStart = (instant: Date, period: RollupPeriod): Date => {
  const lengthMs = rollupPeriodMs[period];
  return new Date(Math.floor(instant.getTime() / lengthMs) * lengthMs);
};

/** Some servers of one organization over some time. Both ends are multiples of the period. */
export type RollupRange = {
  organizationId: OrganizationId;
  serverIds: readonly ServerId[];
  from: Date;
  to: Date;
};

/** One period of one server. */
export type PeriodOf = { serverId: ServerId; timestamp: Date };

/** How one kind is summed up. */
export type Rollup = {
  kind: RollupKind;
  /** How much of what was collected before a period has a part in it. */
  lookbackMs: number;
  /** Sums up every period of the range, and replaces what was stored of it. Returns how many rows changed. */
  rollUp(tx: SystemTx, period: RollupPeriod, range: RollupRange): Promise<number>;
  /** Other periods of the shortest length that what lies in these has a part in. */
  touchedBy(tx: SystemTx, organizationId: OrganizationId, changed: readonly PeriodOf[]): Promise<PeriodOf[]>;
};
