import type { EgressReason, UnaskedReason } from '../platform/egress/fault.ts';

/** One part of a server as it reported it. */
export type Component = { healthy: boolean; critical: boolean; status: string; message?: string };

/** Why a check failed although we asked: a name that stays, for people and for programs. */
export type FailureReason =
  | Exclude<EgressReason, UnaskedReason>
  | 'auth_failed'
  | 'not_found'
  | 'bad_payload'
  | `http_${number}`;

/**
 * Why there was no check at all: nothing the server did. `observer_fault`: many servers that have nothing to do
 * with each other failed at once, so what failed is on our side.
 */
export type NotCheckedReason = UnaskedReason | 'token_unreadable' | 'observer_fault';

/** What one check found. A failed probe is a value like any other. */
export type CheckOutcome =
  | {
      kind: 'answered';
      status: 'healthy' | 'degraded' | 'critical';
      reason: 'ok' | 'component_failed' | 'reported_degraded' | 'reported_critical';
      detail: string | null;
      components: Readonly<Record<string, Component>>;
      version: string | null;
    }
  /** `reached`: some answer came, only not a usable one. */
  | { kind: 'failed'; reason: FailureReason; detail: string; reached: boolean }
  | { kind: 'not_checked'; reason: NotCheckedReason; detail: string };

export type CheckResult = { outcome: CheckOutcome; at: Date; durationMs: number };
