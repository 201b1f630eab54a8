import type { OrganizationId } from '../ids.ts';
import { type SystemTx, sql, type TenantTx } from '../platform/db.ts';
import { unnest } from '../platform/unnest.ts';
import type { EventFacts } from './event.ts';

/** Appends events of one organization inside the transaction of the change they tell of. */
export async function append(tx: TenantTx, at: Date, events: readonly EventFacts[]): Promise<void> {
  await insert(
    tx,
    at,
    events.map(event => ({ organizationId: tx.organizationId, event })),
  );
}

/** The same for the system's own changes, which may concern many organizations at once. */
export async function appendForAll(
  tx: SystemTx,
  at: Date,
  events: readonly { organizationId: OrganizationId; event: EventFacts }[],
): Promise<void> {
  await insert(tx, at, events);
}

async function insert(
  tx: TenantTx | SystemTx,
  at: Date,
  events: readonly { organizationId: OrganizationId; event: EventFacts }[],
): Promise<void> {
  if (events.length === 0) return;
  await tx.execute(sql`
    insert into events (created_at, organization_id, type, subject_id, data)
    select ${at}, e.organization_id, e.type, e.subject_id, e.data
    from ${unnest([
      ['uuid', events.map(({ organizationId }) => organizationId)],
      ['text', events.map(({ event }) => event.type)],
      ['uuid', events.map(({ event }) => event.subject)],
      ['jsonb', events.map(({ event }) => JSON.stringify(event.data))],
    ])} as e (organization_id, type, subject_id, data)`);
}
