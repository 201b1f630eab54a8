import type { HealthCheck } from '@opsfleet/sdk';

/** What several checks in a row found alike. Times as the API gives them. */
export type Stretch = {
  status: HealthCheck['status'];
  reason: string;
  message: string | null;
  from: string;
  to: string;
  checks: number;
};

/** The checks as stretches of one finding each. Checks and stretches come newest first. */
export function stretchesOf(checks: readonly HealthCheck[]): Stretch[] {
  const stretches: Stretch[] = [];
  for (const { status, reason, timestamp, error_message: message } of checks) {
    const newer = stretches.at(-1);
    if (newer?.status === status && newer.reason === reason) {
      newer.from = timestamp;
      newer.checks += 1;
    } else {
      stretches.push({ status, reason, message, from: timestamp, to: timestamp, checks: 1 });
    }
  }
  return stretches;
}
