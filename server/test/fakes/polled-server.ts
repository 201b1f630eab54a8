import { type HealthState, uncheckedState } from '../../src/health/evaluate.ts';
import type { OrganizationId, ServerId } from '../../src/ids.ts';
import type { PolledServer } from '../../src/polling/store.ts';

/** A server that was well at that time, as the poller loads it. */
export const polledServer = (at: Date, changes: Partial<PolledServer> = {}): PolledServer => ({
  organizationId: '019e0000-0000-7000-8000-000000000000' as OrganizationId,
  id: '019e0000-0000-7000-8000-000000000001' as ServerId,
  slot: 1,
  name: 'web-1',
  apiUrl: 'https://web-1.example.com',
  region: null,
  adapter: 'ops-center',
  intervalMs: { health: null, metrics: null },
  state: wellSince(at),
  metricsAttemptedAt: at,
  ...changes,
});

/** The state of a server that has answered once. */
const wellSince = (at: Date): HealthState => ({
  ...uncheckedState(at),
  status: 'healthy',
  reason: 'ok',
  lastCheckedAt: at,
  lastSeenAt: at,
  consecutiveSuccesses: 1,
});
