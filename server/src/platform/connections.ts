import { randomInt } from 'node:crypto';
import pg from 'pg';
import { type Clock, systemClock } from './clock.ts';
import { asAnswer, isConnectionFailure, sqlState, unavailable } from './database-failure.ts';
import { AppError } from './errors.ts';
import type { Log } from './log.ts';
import { bytesRead, createWatch, lookAt, sever, type Watched } from './silence.ts';
import { createTurns } from './turns.ts';

export type ConnectionOptions = {
  connection: pg.ClientConfig;
  /** Act as this role instead of the one that logs in. */
  role?: string | null;
  poolSize: number;
  statementTimeoutMs: number;
  log: Log;
  clock?: Clock;
};

/** Runs one statement. */
export type Run = (query: pg.QueryConfig) => Promise<pg.QueryResult>;

/** How a transaction begins that acts for whom the connection was lent. */
export type Begin = {
  text: string;
  /** Whether it acts for nobody outside of one, so that a single statement needs one too. */
  isNeeded: boolean;
};

/** Connections to one PostgreSQL that takes writes. */
export type Connections = {
  /**
   * Lends a pooled connection that acts for `who`. Rejects with AppError `unavailable`, naming why, where the
   * database cannot be had or does not take what it is given for now.
   */
  use<T>(who: string, work: (run: Run, begin: Begin) => Promise<T>): Promise<T>;
  dedicated(): Promise<pg.Client>;
  usage(): { total: number; idle: number; waiting: number };
  close(): Promise<void>;
};

const connectTimeoutMs = 1_500;
const dedicatedTimeoutMs = 5_000;
const firstRetryMs = 100;
/** too_many_connections, https://www.postgresql.org/docs/current/errcodes-appendix.html */
const noneLeft = '53300';
const idleTimeoutMs = 60_000;

// numeric stays a string (money), bigint becomes a number or refuses, json stays parsed.
const types = new pg.TypeOverrides();
types.setTypeParser(pg.types.builtins.INT8, text => {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`bigint ${text} does not fit a JavaScript number`);
  return value;
});

/**
 * `opsfleet.organization` of a pooled connection as it is set now, so that it is sent only when it changes. Where the
 * database has Citus, it is set for nobody: row security is looked at by other servers, and these learn only what is set
 * within a transaction.
 */
type Session = { who: string | null; hasCitus: boolean; watched: Watched };

const nobody = '';

// Where the database has no Citus, the last one is a setting that nobody reads.
const sessionOptions = '-c timezone=UTC -c datestyle=ISO -c citus.propagate_set_commands=local';

/** Opens the pool. Connections are made on first use. */
export function createConnections(options: ConnectionOptions): Connections {
  const { log, clock = systemClock } = options;
  const asRole = options.role ? ` -c role=${options.role}` : '';
  const pool = createPool(options, asRole);
  const turns = createTurns(options.poolSize, clock);
  const watch = createWatch({
    clock,
    log,
    look: () => lookAt(options.connection, clock),
    onAway: () => turns.refuseAll(unavailable(null)),
  });
  /** Connections in use. */
  let lent = 0;
  const sessions = new WeakMap<pg.ClientBase, Session>();

  function sessionOf(client: pg.PoolClient): Session {
    const known = sessions.get(client);
    if (known !== undefined) return known;
    const session = {
      who: null,
      hasCitus: false,
      watched: { pid: null, bytesRead: () => bytesRead(client), sever: () => sever(client) },
    };
    sessions.set(client, session);
    return session;
  }

  async function become(session: Session, who: string, run: Run): Promise<void> {
    session.who = null;
    const { rows } = await run({
      text: `select set_config('opsfleet.organization', case when citus.found then $1 else $2 end, false),
        citus.found as "hasCitus", pg_is_in_recovery() as standby, pg_backend_pid() as pid
        from (select to_regclass('pg_catalog.pg_dist_partition') is not null as found) as citus`,
      values: [nobody, who],
    });
    const { standby, pid, hasCitus } = rows[0] as { standby: boolean; pid: number; hasCitus: boolean };
    // After a failover the old primary may come back as a standby, at the address that we know.
    if (standby) throw new StandbyError();
    session.watched.pid = pid;
    session.hasCitus = hasCitus;
    session.who = hasCitus ? nobody : who;
  }

  return {
    async use(who, work) {
      await turns.take();
      let client: pg.PoolClient | null = null;
      let broken = false;
      try {
        client = await connect(pool, clock).catch((error: unknown) => {
          // Where only new ones cannot be had, those that we have still go from hand to hand.
          if (sqlState(error) !== noneLeft || lent + pool.idleCount === 0) turns.refuseAll(error);
          throw error;
        });
        lent += 1;
        const session = sessionOf(client);
        const run: Run = query => watch.over(session.watched, client!.query(query));
        if (session.who !== (session.hasCitus ? nobody : who)) await become(session, who, run);
        return await work(run, session.hasCitus ? actingFor(who) : { text: 'begin', isNeeded: false });
      } catch (error) {
        broken = error instanceof StandbyError || isConnectionFailure(error);
        throw asAnswer(error);
      } finally {
        if (client !== null) lent -= 1;
        client?.release(broken);
        turns.give();
      }
    },
    async dedicated() {
      const client = new pg.Client({
        ...options.connection,
        connectionTimeoutMillis: dedicatedTimeoutMs,
        keepAlive: true,
        options: `${sessionOptions}${asRole}`,
      });
      client.on('error', error => log.warn({ err: error }, 'dedicated database connection lost'));
      await client.connect();
      return client;
    },
    usage: () => ({ total: pool.totalCount, idle: pool.idleCount, waiting: turns.waiting() }),
    close: () => pool.end(),
  };
}

const actingFor = (who: string): Begin => ({
  text: `begin; set local opsfleet.organization to ${pg.escapeLiteral(who)}`,
  isNeeded: true,
});

function createPool(options: ConnectionOptions, asRole: string): pg.Pool {
  const pool = new pg.Pool({
    ...options.connection,
    types,
    pipeline: true,
    max: options.poolSize,
    connectionTimeoutMillis: connectTimeoutMs,
    idleTimeoutMillis: idleTimeoutMs,
    keepAlive: true,
    options: `-c statement_timeout=${options.statementTimeoutMs} -c lock_timeout=${lockTimeoutMs} ${sessionOptions}${asRole}`,
  });
  // Without a listener, an idle connection that the server ends would end this process.
  pool.on('error', error => options.log.warn({ err: error }, 'database connection lost'));
  // The pool listens to a connection only while it is idle. One that is lost in use, between two statements,
  // would end this process too; whoever uses it learns of it by the next statement.
  pool.on('connect', client => {
    client.on('error', error => options.log.debug({ err: error }, 'database connection lost while in use'));
  });
  return pool;
}

// Less than the two seconds that a caller waits, and longer than any lock that we take ourselves.
const lockTimeoutMs = 1_500;

/**
 * A connection from the pool. Where the database has none left, which a storm of starting processes causes and
 * which passes, it is asked again until the time is up, after a random part of a growing pause: everybody who
 * was refused at once must not come back at once.
 */
async function connect(pool: pg.Pool, clock: Clock): Promise<pg.PoolClient> {
  const endMs = clock.monotonicMs() + connectTimeoutMs;
  for (let pauseMs = firstRetryMs; ; pauseMs *= 2) {
    try {
      return await pool.connect();
    } catch (error) {
      const leftMs = endMs - clock.monotonicMs();
      // Whatever it says to one who knocks, wrong password included, is no fault of the statement.
      if (sqlState(error) !== noneLeft || leftMs <= 0) throw unavailable(error);
      await clock.sleep(Math.min(randomInt(pauseMs), leftMs));
    }
  }
}

class StandbyError extends AppError {
  constructor() {
    super('unavailable', 'The database takes no writes: it is a standby.', { retryAfterSeconds: 5 });
  }
}
