import { createHash } from 'node:crypto';
import {
  type CompiledQuery,
  DummyDriver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type RawBuilder,
  sql,
} from 'kysely';
import pg from 'pg';
import type { OrganizationId } from '../ids.ts';
import { AppError } from './errors.ts';
import type { Log } from './log.ts';

export { sql };
export type Sql<Row> = RawBuilder<Row>;

/** Something statements can be run on: a database handle or an open transaction. */
export type Queryable = {
  many<Row>(query: Sql<Row>): Promise<Row[]>;
  /** The only row, or null. More than one row is a bug and throws. */
  maybeOne<Row>(query: Sql<Row>): Promise<Row | null>;
  one<Row>(query: Sql<Row>): Promise<Row>;
  /** How many rows the statement touched. */
  execute(query: Sql<unknown>): Promise<number>;
};

/**
 * Statements on behalf of one organization. Row security shows them that organization alone, and every
 * statement names `organizationId` in its own predicate besides: the first is the net under the second.
 */
export type TenantTx = Queryable & { readonly organizationId: OrganizationId };
export type TenantDb = TenantTx & { transaction<T>(work: (tx: TenantTx) => Promise<T>): Promise<T> };

/** Statements of the system itself (polling, upkeep, sign-in), which cross organizations. */
export type SystemTx = Queryable & { readonly system: true };
export type SystemDb = SystemTx & { transaction<T>(work: (tx: SystemTx) => Promise<T>): Promise<T> };

export type Database = {
  tenant(organizationId: OrganizationId): TenantDb;
  system: SystemDb;
  /** A connection of its own, outside the pool, for LISTEN and for session locks. The caller ends it. */
  dedicated(): Promise<pg.Client>;
  /** Connections in use, idle, and callers waiting for one. */
  usage(): { total: number; idle: number; waiting: number };
  close(): Promise<void>;
};

export type DatabaseOptions = {
  connection: pg.ClientConfig;
  /** Act as this role instead of the one that logs in. */
  role?: string | null;
  poolSize: number;
  statementTimeoutMs: number;
  log: Log;
};

// numeric stays a string (money), bigint becomes a number or refuses, json stays parsed.
const types = new pg.TypeOverrides();
types.setTypeParser(pg.types.builtins.INT8, text => {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`bigint ${text} does not fit a JavaScript number`);
  return value;
});

// Only used to compile sql`…` into text and parameters; it never connects.
const compiler = new Kysely<Record<string, never>>({
  dialect: {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: db => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  },
});

/** Names of prepared statements. Texts are few because values are always parameters; the cap is the net. */
const preparedNames = new Map<string, string>();
const maxPreparedNames = 500;

function preparedName(text: string): string | undefined {
  const known = preparedNames.get(text);
  if (known !== undefined) return known;
  if (preparedNames.size >= maxPreparedNames) return undefined;
  const name = createHash('sha1').update(text).digest('base64url');
  preparedNames.set(text, name);
  return name;
}

const everything = '*';
/** What `opsfleet.organization` is set to on a pooled connection, so that it is sent only when it changes. */
const actingFor = new WeakMap<pg.ClientBase, string>();

/** Opens the pool. Connections are made on first use; `connect` failures surface as AppError `unavailable`. */
export function openDatabase(options: DatabaseOptions): Database {
  const asRole = options.role ? ` -c role=${options.role}` : '';
  const config: pg.PoolConfig = {
    ...options.connection,
    types,
    pipeline: true,
    max: options.poolSize,
    connectionTimeoutMillis: 2_000,
    idleTimeoutMillis: 60_000,
    keepAlive: true,
    options: `-c statement_timeout=${options.statementTimeoutMs} -c lock_timeout=2000 -c timezone=UTC -c datestyle=ISO${asRole}`,
  };
  const pool = new pg.Pool(config);
  // Without a listener, an idle connection that the server ends would end this process.
  pool.on('error', error => options.log.warn({ err: error }, 'database connection lost'));
  // The pool listens to a connection only while it is idle. One that is lost in use, between two statements,
  // would end this process too; whoever uses it learns of it by the next statement.
  pool.on('connect', client => {
    client.on('error', error => options.log.debug({ err: error }, 'database connection lost while in use'));
  });

  const system: SystemDb = {
    system: true,
    ...statements(pool, everything),
    transaction: work => transaction(pool, everything, tx => work({ system: true, ...tx })),
  };
  return {
    system,
    tenant: organizationId => ({
      organizationId,
      ...statements(pool, organizationId),
      transaction: work => transaction(pool, organizationId, tx => work({ organizationId, ...tx })),
    }),
    async dedicated() {
      const client = new pg.Client({
        ...options.connection,
        keepAlive: true,
        options: `-c timezone=UTC -c datestyle=ISO${asRole}`,
      });
      client.on('error', error => options.log.warn({ err: error }, 'dedicated database connection lost'));
      await client.connect();
      return client;
    },
    usage: () => ({ total: pool.totalCount, idle: pool.idleCount, waiting: pool.waitingCount }),
    close: () => pool.end(),
  };
}

async function withClient<T>(
  pool: pg.Pool,
  who: string,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  const client = await pool.connect().catch((error: unknown) => {
    throw translate(error);
  });
  let broken = false;
  try {
    if (actingFor.get(client) !== who) {
      actingFor.delete(client);
      await client.query('select set_config($1, $2, false)', ['opsfleet.organization', who]);
      actingFor.set(client, who);
    }
    return await work(client);
  } catch (error) {
    broken = isConnectionFailure(error);
    throw translate(error);
  } finally {
    client.release(broken);
  }
}

function statements(pool: pg.Pool, who: string): Queryable {
  return queryable(query => withClient(pool, who, client => client.query(query)));
}

async function transaction<T>(pool: pg.Pool, who: string, work: (tx: Queryable) => Promise<T>): Promise<T> {
  return withClient(pool, who, async client => {
    await client.query('begin');
    try {
      const result = await work(queryable(query => client.query(query)));
      await client.query('commit');
      return result;
    } catch (error) {
      // A dead connection rolls back by itself; the first error is the one worth reporting.
      await client.query('rollback').catch(() => undefined);
      throw error;
    }
  });
}

type Run = (query: pg.QueryConfig) => Promise<pg.QueryResult>;

function queryable(run: Run): Queryable {
  const query = (statement: Sql<unknown>): Promise<pg.QueryResult> => {
    const compiled: CompiledQuery = statement.compile(compiler);
    const name = preparedName(compiled.sql);
    const values = compiled.parameters as unknown[];
    return run(name === undefined ? { text: compiled.sql, values } : { name, text: compiled.sql, values });
  };
  const many = async <Row>(statement: Sql<Row>): Promise<Row[]> => (await query(statement)).rows as Row[];
  const maybeOne = async <Row>(statement: Sql<Row>): Promise<Row | null> => {
    const rows = await many(statement);
    if (rows.length > 1) throw new Error(`expected at most one row, got ${rows.length}`);
    return rows[0] ?? null;
  };
  return {
    many,
    maybeOne,
    async one(statement) {
      const row = await maybeOne(statement);
      if (row === null) throw new Error('expected one row, got none');
      return row;
    },
    execute: async statement => (await query(statement)).rowCount ?? 0,
  };
}

/** The SQLSTATE of a PostgreSQL error, or null for anything else. */
export function sqlState(error: unknown): string | null {
  const cause = error instanceof AppError ? error.cause : error;
  return cause instanceof pg.DatabaseError ? (cause.code ?? null) : null;
}

/** The name of the violated constraint, or null. */
export function violatedConstraint(error: unknown): string | null {
  const cause = error instanceof AppError ? error.cause : error;
  return cause instanceof pg.DatabaseError ? (cause.constraint ?? null) : null;
}

// https://www.postgresql.org/docs/current/errcodes-appendix.html: connection exceptions, shutdown and
// start-up, read-only after a failover, out of resources, statement or lock time-out, deadlock.
const passing = /^(08|53|57P0[1-5]$|57014$|55P03$|25006$|40P01$|40001$)/;

/** Whether the failure is the database's state and not the statement's fault: worth a retry later. */
export function isPassingFailure(error: unknown): boolean {
  if (error instanceof AppError) return error.code === 'unavailable';
  const state = sqlState(error);
  return state === null ? isConnectionFailure(error) : passing.test(state);
}

/**
 * Whether the values are at fault, so that the same statement works without them. Any other failure, such as a
 * missing right, table or column, would meet every statement, and is no reason to give anything up.
 * https://www.postgresql.org/docs/current/errcodes-appendix.html: data exceptions, integrity constraints, program limits.
 */
export function isFaultOfValues(error: unknown): boolean {
  const state = sqlState(error);
  return state === null ? !isPassingFailure(error) : /^(22|23|54)/.test(state);
}

function isConnectionFailure(error: unknown): boolean {
  if (error instanceof pg.DatabaseError) return /^(08|57P0[1-5]$|25006$)/.test(error.code ?? '');
  if (!(error instanceof Error)) return false;
  const code = (error as NodeJS.ErrnoException).code ?? '';
  return (
    /^(ECONN|EPIPE|ENOENT$|ETIMEDOUT|EHOST|ENET|EAI_)/.test(code) ||
    /Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error|not queryable/.test(
      error.message,
    )
  );
}

function translate(error: unknown): unknown {
  if (error instanceof AppError || !isPassingFailure(error)) return error;
  return new AppError('unavailable', 'The database cannot be reached right now.', {
    cause: error,
    retryAfterSeconds: 5,
  });
}
