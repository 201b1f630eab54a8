import type { GroupId, installation, OrganizationId, ServerId, WorkerId } from '../ids.ts';

export const healthStatuses = ['healthy', 'degraded', 'critical', 'unreachable', 'unknown'] as const;
export type HealthStatus = (typeof healthStatuses)[number];

/** Every event there is: plain facts and ids, so that a reader needs no second look. */
export type EventFacts =
  | { type: 'server.registered'; subject: ServerId; data: { name: string } }
  | { type: 'server.updated'; subject: ServerId; data: { fields: string[] } }
  | { type: 'server.deleted'; subject: ServerId; data: { name: string } }
  | { type: 'server.check_requested'; subject: ServerId; data: { kinds: ('health' | 'metrics')[] } }
  /** One row for a whole fleet: `subject` is the job, and its row names the servers. */
  | { type: 'fleet.check_requested'; subject: string; data: { servers: number } }
  | {
      type: 'server.health_changed';
      subject: ServerId;
      /** `flapping` is there where the server is: the change is a fact, and may not be worth waking anybody. */
      data: { from: HealthStatus; to: HealthStatus; reason: string; name: string; flapping?: true };
    }
  /** It changes between success and failure all the time; `percent` of its last results is change. */
  | {
      type: 'server.flapping_started' | 'server.flapping_stopped';
      subject: ServerId;
      data: { name: string; percent: number };
    }
  | { type: 'group.created'; subject: GroupId; data: { name: string } }
  | { type: 'group.updated'; subject: GroupId; data: { name: string } }
  | { type: 'group.deleted'; subject: GroupId; data: { name: string } }
  /** Fixed members only: who matches the criteria changes with the servers, and those have events of their own. */
  | { type: 'group.members_changed'; subject: GroupId; data: { added: ServerId[]; removed: ServerId[] } }
  /** For how many days its history is told from now on, by kind; what is not named, as the installation keeps it. */
  | {
      type: 'organization.retention_changed';
      subject: OrganizationId;
      data: { days: Readonly<Record<string, number>> };
    }
  /** Nobody of it is known any more from here on. What it had goes afterwards, its servers each with an event of its own. */
  | { type: 'organization.deleted'; subject: OrganizationId; data: { name: string } }
  /** Slots are free, or somebody wants some: every worker should see to its share now. */
  | { type: 'workers.changed'; subject: WorkerId; data: { change: 'joined' | 'left' | 'gave_back' } }
  /** `subject` asks the other workers what they find at servers that do not answer it. */
  | { type: 'witness.asked'; subject: WorkerId; data: { questions: number } }
  /** Something is wrong with the installation, however many workers see it; `since` as an RFC 3339 instant. */
  | {
      type: 'condition.began';
      subject: typeof installation;
      data: { condition: string; since: string; detail: string };
    }
  | { type: 'condition.ended'; subject: typeof installation; data: { condition: string; since: string } };

export type EventType = EventFacts['type'];

/** An event as it was stored. `position` orders it among all others and resumes a stream. */
export type StoredEvent = EventFacts & {
  position: Position;
  organizationId: OrganizationId;
  at: Date;
};

/** Where in the feed: transaction, then row. See migrations/0001 for why an id alone would not do. */
export type Position = { xid: bigint; id: number };

/** `<xid>-<id>`: the id of a server-sent event. */
export const formatPosition = (position: Position): string => `${position.xid}-${position.id}`;

/** The position a client resumes from, or null when no such position can exist. */
export function parsePosition(text: string): Position | null {
  const match = /^(\d{1,19})-(\d{1,15})$/.exec(text);
  return match === null ? null : { xid: BigInt(match[1]!), id: Number(match[2]) };
}

export function comparePositions(a: Position, b: Position): number {
  if (a.xid !== b.xid) return a.xid < b.xid ? -1 : 1;
  return a.id - b.id;
}
