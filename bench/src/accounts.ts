import { type Database, sql } from '../../server/src/platform/db.ts';
import type { SimulatorProcess } from './processes.ts';
import { addressOf } from './simulator/identity.ts';
import { KINDS, type Kind } from './simulator/request.ts';

/** Checks that succeeded, as the servers counted them and as they are stored. */
export type Account = {
  answered: number;
  stored: number;
  /** Answered and not stored. */
  missing: number;
  /** Stored more often than answered. */
  surplus: number;
};

/** Compares server by server, so that one row too many here does not make up for one too few there. */
export function balance(answered: readonly number[], stored: readonly number[]): Account {
  const account: Account = { answered: 0, stored: 0, missing: 0, surplus: 0 };
  for (const [place, count] of answered.entries()) {
    const rows = stored[place] ?? 0;
    account.answered += count;
    account.stored += rows;
    account.missing += Math.max(0, count - rows);
    account.surplus += Math.max(0, rows - count);
  }
  return account;
}

/** Both kinds of check of the whole fleet since it was first polled. Nothing may be under way. */
export async function accountOf(db: Database, simulators: readonly SimulatorProcess[]): Promise<Account> {
  const answered: number[] = [];
  const stored: number[] = [];
  for (const kind of KINDS) {
    const rows = await storedByAddress(db, kind);
    for (const simulator of simulators) {
      const counts = await simulator.answered(kind);
      answered.push(...counts);
      stored.push(...counts.map((_, place) => rows.get(addressOf(simulator.first + place)) ?? 0));
    }
  }
  return balance(answered, stored);
}

async function storedByAddress(db: Database, kind: Kind): Promise<Map<string, number>> {
  const history =
    kind === 'health'
      ? sql`select server_id from server_health_checks where reason = 'ok'`
      : sql`select server_id from server_metrics_aggregated where period = '1m'`;
  const rows = await db.system.many(sql<{ hostname: string; count: number }>`
    select s.hostname, count(*)::int as count from (${history}) h join managed_servers s on s.id = h.server_id
    group by s.hostname`);
  return new Map(rows.map(({ hostname, count }) => [hostname, count]));
}

/** How many rows of history there are. */
export async function storedRows(db: Database): Promise<number> {
  const { count } = await db.system.one(sql<{ count: number }>`
    select ((select count(*) from server_health_checks) + (select count(*) from server_metrics_aggregated))::int as count`);
  return count;
}

/** Changes of a server's state that were told since then. In a healthy fleet each of them is false. */
export async function healthChanges(db: Database, since: Date): Promise<number> {
  const { count } = await db.system.one(sql<{ count: number }>`
    select count(*)::int as count from events where type = 'server.health_changed' and created_at >= ${since}`);
  return count;
}

/** Rows that somebody has seen, and so must never be lost. */
export class Acknowledged {
  readonly #db: Database;

  private constructor(db: Database) {
    this.#db = db;
  }

  static async create(db: Database): Promise<Acknowledged> {
    await db.system.execute(sql`
      create table bench_acknowledged (kind text, server_id uuid, timestamp timestamptz,
        primary key (kind, server_id, timestamp))`);
    return new Acknowledged(db);
  }

  /** Takes note of everything that is stored now. */
  async note(): Promise<void> {
    await this.#db.system.execute(sql`
      insert into bench_acknowledged ${seen} on conflict do nothing`);
  }

  /** How many were noted in all, and how many of them are not there any more. */
  async audit(): Promise<{ noted: number; lost: number }> {
    return this.#db.system.one(sql<{ noted: number; lost: number }>`
      select (select count(*)::int from bench_acknowledged) as noted,
        (select count(*)::int from (select kind, server_id, timestamp from bench_acknowledged except (${seen})) l) as lost`);
  }
}

const seen = sql`
  select 'health', server_id, timestamp from server_health_checks
  union all select 'metrics', server_id, timestamp from server_metrics_aggregated where period = '1m'`;
